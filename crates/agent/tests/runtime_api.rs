//! The agent with a runtime on the Lambda Runtime API.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sandbox;

use sandbox::{Calls, Sandbox};
use serde_json::json;
use warren_protocol::{Exited, FrameKind, Interface};

/// A sandbox with a ready runtime, or the end of the test where there can be none.
macro_rules! start {
    () => {
        match start() {
            Some(started) => started,
            None => return,
        }
    };
}

fn start() -> Option<(Sandbox, Calls)> {
    let mut sandbox = Sandbox::start()?;
    let calls = sandbox.ready(Interface::RuntimeApi);
    Some((sandbox, calls))
}

#[test]
fn events_and_answers_are_relayed() {
    let (sandbox, mut calls) = start!();
    let answer = calls.run(
        "r-7",
        "answer = {name: value for name, value in headers.items() if name != 'content-length'}",
    );
    let expected = json!({
        "content-type": "application/json",
        "lambda-runtime-aws-request-id": "r-7",
        "lambda-runtime-deadline-ms": "1900000000000",
        "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "lambda-runtime-trace-id": "Root=1-2-3",
        "lambda-runtime-client-context": "{\"custom\":1}",
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(calls.call("").text(), "{}", "an empty event");
    assert_eq!(calls.call("[1]").text(), "[1]");
    for size in [1024 * 1024 - 300, 1024 * 1024, 6 * 1024 * 1024] {
        let big = vec![b'7'; size];
        let answer = calls.call(&big);
        assert!(answer.body == big && !answer.is_error);
    }
    let (now, most) = sandbox.resident_kib();
    println!("resident KiB after 6 MiB both ways: {now}, most {most}");
    assert!(most < 3 * 1024, "{most}");
}

#[test]
fn output_comes_before_the_answer() {
    let (mut sandbox, mut calls) = start!();
    let mut mark = 0;
    for _ in 0..20 {
        let answer = calls.run(
            "r-1",
            "import os; os.write(1, b'o' * 1000); os.write(2, b'e' * 500); answer = 1",
        );
        mark += 1500;
        assert_eq!(answer.mark, mark);
    }
    let logs = sandbox.logs(mark);
    assert_eq!((logs.stdout.len(), logs.stderr.len()), (20_000, 10_000));
    let answer = calls.run("r-1", "import os; os.write(1, b'x'); client.fail(id, b'{\"errorType\":\"E\",\"errorMessage\":\"m\"}')");
    assert_eq!((answer.is_error, answer.mark), (true, mark + 1));
    assert_eq!(answer.body, br#"{"errorType":"E","errorMessage":"m"}"#);
}

#[test]
fn the_states_are_those_of_lambda() {
    let Some(mut sandbox) = Sandbox::start() else {
        return;
    };
    let mut claim = Sandbox::python(Interface::RuntimeApi);
    claim.environment.insert(
        "INIT".to_owned(),
        "print(Client().respond('r-0', b'{}')[2].decode(), flush=True)".to_owned(),
    );
    let mut calls = sandbox.run(&claim);
    calls.ready();
    let answer = calls.run(
        "r-1",
        "def told(answer):
    return [answer[0], answer[2].decode()]
other = Client()
log = [
    told(other.request('GET', API + 'invocation/next')),
    told(other.request('POST', API + 'init/error', b'{}')),
    told(other.respond('r-0', b'1')),
    told(other.request('PUT', '/2020-08-15/logs', b'{}')),
    told(other.request('PUT', '/2022-07-01/telemetry', b'{}')),
    told(other.request('GET', '/2018-06-01/nothing'))[0],
    told(other.request('GET', API + 'init/error'))[0],
    other.request('POST', API + 'invocation/next')[1].get('allow'),
    told(other.request('GET', API + 'restore/next'))[0],
    told(other.request('POST', API + 'restore/error', b'{}'))[0],
    told(other.request('POST', '/2020-01-01/extension/register', b'{}', ['Lambda-Extension-Name: x']))[0],
    told(other.request('GET', '/2020-01-01/extension/event/next'))[0],
]
log.append(told(client.respond(id, b'first')))
log.append(told(other.respond(id, b'second')))
log.append(told(other.fail(id, b'{}')))
import builtins
builtins.log = log",
    );
    assert_eq!(answer.text(), "first");
    let not_now = |from: &str, to: &str| {
        let message = format!(
            "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"
        );
        json!([
            403,
            json!({"errorMessage": message, "errorType": "InvalidStateTransition"}).to_string()
        ])
    };
    let wrong_id = r#"{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}"#;
    let expected = json!([
        not_now("Running", "Ready"),
        not_now("Running", "InitError"),
        [400, wrong_id],
        [
            202,
            r#"{"errorMessage":"Logs API is not supported","errorType":"Logs.NotSupported"}"#
        ],
        [
            202,
            r#"{"errorMessage":"Telemetry API is not supported","errorType":"Telemetry.NotSupported"}"#
        ],
        404,
        405,
        "GET",
        403,
        403,
        403,
        403,
        [202, r#"{"status":"OK"}"#],
        not_now("RuntimeResponseSentState", "InvocationResponse"),
        not_now("RuntimeResponseSentState", "InvocationErrorResponse"),
    ]);
    assert_eq!(calls.run("r-2", "answer = log").json(), expected);
    // A finished id, from another connection.
    let answer = calls.run("r-3", "answer = Client().respond('r-1', b'late')[0]");
    assert_eq!(answer.json(), 400);
    assert_eq!(
        sandbox.logs(wrong_id.len() as u32 + 1).stdout.trim(),
        wrong_id
    );
}

#[test]
fn a_failed_init_is_told() {
    let Some(mut sandbox) = Sandbox::start() else {
        return;
    };
    let mut claim = Sandbox::python(Interface::RuntimeApi);
    let source = "client = Client()
print('importing', flush=True)
status, _, body = client.request('POST', API + 'init/error', b'{\"errorType\":\"Runtime.ImportModuleError\",\"errorMessage\":\"no app\"}')
sys.exit(status - 200)";
    claim
        .environment
        .insert("INIT".to_owned(), source.to_owned());
    let mut calls = sandbox.run(&claim);
    let error = calls.init_error();
    assert_eq!(
        (error.error_type.as_str(), error.error_message.as_str()),
        ("Runtime.ImportModuleError", "no app")
    );
    let (exited, logs) = sandbox.exited();
    assert_eq!(
        (exited, logs.stdout.as_str()),
        (Exited::Code(2), "importing\n")
    );
}

#[test]
fn a_runtime_that_waits_to_be_restored_goes_on() {
    let Some(mut sandbox) = Sandbox::start() else {
        return;
    };
    let mut claim = Sandbox::python(Interface::RuntimeApi);
    let wait = "client = Client()
status, _, body = client.request('GET', API + 'restore/next')
print(status, body, flush=True)";
    claim.environment.insert("INIT".to_owned(), wait.to_owned());
    let mut calls = sandbox.run(&claim);
    calls.ready();
    assert_eq!(sandbox.logs(8).stdout, "200 b''\n");
    assert_eq!(calls.call("[3]").text(), "[3]");
    sandbox.command_empty(FrameKind::Kill);
    assert_eq!(sandbox.exited().0, Exited::Signal(9));

    // A hook that fails after the restore ends Init.
    let source = format!(
        "{wait}
status = client.request('POST', API + 'restore/error', b'{{\"errorType\":\"Runtime.AfterRestoreError\",\"errorMessage\":\"hook\"}}')[0]
sys.exit(status - 200)"
    );
    claim.environment.insert("INIT".to_owned(), source);
    let mut calls = sandbox.run(&claim);
    assert_eq!(calls.init_error().error_type, "Runtime.AfterRestoreError");
    assert_eq!(sandbox.exited().0, Exited::Code(2));
}

#[test]
fn a_runtime_waits_for_its_restore_through_a_suspension() {
    let Some(mut sandbox) = Sandbox::start() else {
        return;
    };
    let mut claim = Sandbox::python(Interface::RuntimeApi);
    claim.snapshot = true;
    let wait = "client = Client()
status, _, body = client.request('GET', API + 'restore/next')
print(status, body, flush=True)";
    claim.environment.insert("INIT".to_owned(), wait.to_owned());
    let mut calls = sandbox.run(&claim);
    calls.ready();
    sandbox.suspend();
    assert_eq!(calls.stream.next_frame(), None, "the agent lets it go");
    sandbox.resume();
    let mut calls = sandbox.calls();
    calls.ready();
    assert_eq!(sandbox.logs(8).stdout, "200 b''\n");
    assert_eq!(calls.call("[3]").text(), "[3]");
    sandbox.command_empty(FrameKind::Kill);
    assert_eq!(sandbox.exited().0, Exited::Signal(9));

    // One that ends while it waits is told like any other.
    claim.environment.insert(
        "INIT".to_owned(),
        "import threading
threading.Thread(target=Client().request, args=('GET', API + 'restore/next'), daemon=True).start()
time.sleep(0.3)
os._exit(5)"
            .to_owned(),
    );
    let mut calls = sandbox.run(&claim);
    calls.ready();
    assert_eq!(sandbox.exited().0, Exited::Code(5));
}

#[test]
fn a_client_that_knows_of_no_snapshots_is_told_of() {
    let Some(mut sandbox) = Sandbox::start() else {
        return;
    };
    let mut claim = Sandbox::python(Interface::RuntimeApi);
    claim.snapshot = true;
    let mut calls = sandbox.run(&claim);
    assert_eq!(calls.init_error().error_type, "Runtime.NotRestorable");
}

#[test]
fn answers_have_a_limit() {
    let (_sandbox, mut calls) = start!();
    let too_large = "Response payload size exceeded maximum allowed payload size (6291556 bytes).";
    let told = r#"{"errorMessage":"Exceeded maximum allowed payload size (6291556 bytes).","errorType":"RequestEntityTooLarge"}"#;
    let answer = calls.run(
        "r-1",
        "import builtins; builtins.told = client.respond(id, b'x' * 6291557)",
    );
    assert_eq!(
        (
            answer.error().error_type.as_str(),
            answer.error().error_message.as_str()
        ),
        ("Function.ResponseSizeTooLarge", too_large)
    );
    assert_eq!(
        calls
            .run("r-2", "answer = [told[0], told[2].decode()]")
            .json(),
        json!([413, told])
    );

    // The same without saying so beforehand, and just within the limit.
    let chunked = |size| {
        format!(
            "client.send(f'POST {{API}}invocation/{{id}}/response HTTP/1.1\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n'.encode())
rest = {size}
while rest:
    part = min(rest, 100000)
    client.send(b'%x\\r\\n' % part + b'y' * part + b'\\r\\n')
    rest -= part
client.send(b'0\\r\\n\\r\\n')
import builtins
builtins.told = client.answer()"
        )
    };
    let answer = calls.run("r-3", &chunked(6_291_557));
    assert_eq!(answer.error().error_type, "Function.ResponseSizeTooLarge");
    assert_eq!(calls.run("r-4", "answer = told[0]").json(), 413);
    let answer = calls.run("r-5", &chunked(6_291_556));
    assert_eq!((answer.is_error, answer.body.len()), (false, 6_291_556));
    assert_eq!(calls.run("r-6", "answer = told[0]").json(), 202);

    // Errors have one too.
    let answer = calls.run("r-7", "import builtins; builtins.told = client.fail(id, b'x' * 1048577, ['Lambda-Runtime-Function-Error-Type: Big'])");
    assert_eq!(answer.error().error_type, "Big");
    assert_eq!(calls.run("r-8", "answer = told[0]").json(), 413);
}

#[test]
fn streamed_answers_go_out_as_they_come() {
    let (_sandbox, mut calls) = start!();
    let head = "client.send(f'POST {API}invocation/{id}/response HTTP/1.1\\r\\nLambda-Runtime-Function-Response-Mode: streaming\\r\\nTransfer-Encoding: chunked\\r\\nTrailer: Lambda-Runtime-Function-Error-Type\\r\\n\\r\\n'.encode())\n";
    let answer = calls.run(
        "r-1",
        &format!(
            "import time\n{head}
for i in range(3):
    client.send(b'2\\r\\nab\\r\\n')
    time.sleep(0.2)
client.send(b'0\\r\\n\\r\\n')
client.answer()"
        ),
    );
    assert_eq!(answer.text(), "ababab");
    assert_eq!(calls.pieces, 4);
    let answer = calls.run(
        "r-2",
        &format!(
            "import base64\n{head}
body = base64.b64encode(b'{{\"errorType\":\"Late\",\"errorMessage\":\"half-way\"}}').decode()
client.send(b'2\\r\\nab\\r\\n0\\r\\nLambda-Runtime-Function-Error-Type: Late\\r\\n')
client.send(f'Lambda-Runtime-Function-Error-Body: {{body}}\\r\\n\\r\\n'.encode())
client.answer()"
        ),
    );
    assert_eq!(
        (
            answer.error().error_type.as_str(),
            answer.error().error_message.as_str()
        ),
        ("Late", "half-way")
    );
    let answer = calls.run(
        "r-3",
        "client.respond(id, b'', ['Lambda-Runtime-Function-Response-Mode: other'])",
    );
    assert_eq!(
        answer.error().error_type,
        "Runtime.InvalidResponseModeHeader"
    );
}

#[test]
fn garbage_harms_only_its_connection() {
    let (mut sandbox, mut calls) = start!();
    let answer = calls.run(
        "r-1",
        "import os, random, socket
random.seed(7)
for i in range(200):
    other = Client()
    try:
        other.send(random.choice([
            os.urandom(random.randrange(1, 5000)),
            b'GET ' + b'x' * 20000,
            b'POST ' + API.encode() + b'invocation/r-1/response HTTP/1.1\\r\\nContent-Length: -5\\r\\n\\r\\n',
            b'POST ' + API.encode() + b'invocation/r-0/response HTTP/1.1\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nzz\\r\\n',
            b'GET / HTTP/1.1\\r\\n' + b'a: b\\r\\n' * 50,
            b'\\r\\n' * 500,
        ]))
        other.socket.shutdown(socket.SHUT_WR)
        while other.socket.recv(4096):
            pass
    except OSError:
        pass
    other.socket.close()
held = [Client() for i in range(40)]
answer = 'alive'",
    );
    assert_eq!(answer.json(), "alive");
    assert_eq!(calls.call("[2]").text(), "[2]");
    assert!(
        sandbox.resident_kib().1 < 3 * 1024,
        "{:?}",
        sandbox.resident_kib()
    );
    // An answer that breaks off half-way is an error, and the next call goes well.
    let answer = calls.run(
        "r-3",
        "import socket
while True:
    # The places of the connections held before are free again.
    try:
        other = Client()
        if other.request('PUT', '/2020-08-15/logs')[0] == 202:
            break
    except OSError:
        pass
other.send(f'POST {API}invocation/{id}/response HTTP/1.1\\r\\nContent-Length: 10\\r\\n\\r\\nabc'.encode())
other.socket.shutdown(socket.SHUT_WR)
other.answer()",
    );
    assert_eq!(answer.error().error_type, "Runtime.TruncatedResponse");
    assert_eq!(calls.call("[4]").text(), "[4]");
    sandbox.command_empty(FrameKind::Kill);
    assert_eq!(sandbox.exited().0, Exited::Signal(9));
}

#[test]
fn a_lost_connection_loses_no_event() {
    let (mut sandbox, mut calls) = start!();
    // The first connection asks for the next call and goes away; the second one gets it.
    let answer = calls.run(
        "r-1",
        "client.respond(id, b'1')
other = Client()
other.send(f'GET {API}invocation/next HTTP/1.1\\r\\n\\r\\n'.encode())
import time
time.sleep(0.1)
other.file.close()
other.socket.close()
time.sleep(0.1)
print('gone', flush=True)",
    );
    assert_eq!(answer.text(), "1");
    assert_eq!(sandbox.logs(5).stdout, "gone\n");
    assert_eq!(calls.call("[5]").text(), "[5]");
}

#[test]
fn clients_may_wait_for_continue() {
    let (_sandbox, mut calls) = start!();
    let answer = calls.run(
        "r-1",
        "client.send(f'POST {API}invocation/{id}/response HTTP/1.1\\r\\nExpect: 100-continue\\r\\nContent-Length: 3\\r\\n\\r\\n'.encode())
import builtins
builtins.first = client.answer()[0]
client.send(b'abc')
builtins.second = client.answer()[0]",
    );
    assert_eq!(answer.text(), "abc");
    assert_eq!(
        calls.run("r-2", "answer = [first, second]").json(),
        json!([100, 202])
    );
    // A refusal comes without the body being asked for.
    let answer = calls.run(
        "r-3",
        "other = Client()
other.send(f'POST {API}invocation/nope/response HTTP/1.1\\r\\nExpect: 100-continue\\r\\nContent-Length: 3\\r\\n\\r\\n'.encode())
answer = other.answer()[0]",
    );
    assert_eq!(answer.json(), 400);
}

#[test]
fn the_next_runtime_has_the_api_too() {
    let (mut sandbox, mut calls) = start!();
    calls.begin(
        "r-1",
        json!({"run": "import os; os._exit(4)"})
            .to_string()
            .as_bytes(),
    );
    assert_eq!(sandbox.exited().0, Exited::Code(4));
    assert_eq!(calls.stream.next_frame(), None);
    let mut calls = sandbox.ready(Interface::RuntimeApi);
    assert_eq!(calls.call("[6]").text(), "[6]");
}

#[test]
fn the_host_closing_the_call_stream_ends_the_runtime() {
    let (mut sandbox, calls) = start!();
    drop(calls);
    assert_eq!(sandbox.exited().0, Exited::Signal(9));
}
