//! Runtimes that flood, lie or hang on the Runtime API: a request is refused or the call fails, the agent stays small, and the next call is right.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sandbox;

use sandbox::{Calls, Sandbox};
use serde_json::json;
use warren_protocol::{Exited, FrameKind, Interface};

/// The agent's resident memory stays below this, whatever a runtime does: now, and when it held the largest error object.
const MEMORY_KIB: (u64, u64) = (3 * 1024, 4 * 1024);

fn start() -> Option<(Sandbox, Calls)> {
    let mut sandbox = Sandbox::start()?;
    let calls = sandbox.ready(Interface::RuntimeApi);
    Some((sandbox, calls))
}

fn assert_small(sandbox: &Sandbox) {
    let (now, most) = sandbox.resident_kib();
    println!("resident KiB: {now}, most {most}");
    assert!(now < MEMORY_KIB.0 && most < MEMORY_KIB.1, "{now}, {most}");
}

/// Python that sends a body of 1 GiB, until it is all sent or nobody takes it.
const FLOOD: &str = "def flood(path, chunked, headers=''):
    other = Client()
    framing = 'Transfer-Encoding: chunked' if chunked else f'Content-Length: {1 << 30}'
    other.send(f'POST {API}{path} HTTP/1.1\\r\\n{framing}\\r\\n{headers}\\r\\n'.encode())
    block = b'100000\\r\\n' + b'x' * (1 << 20) + b'\\r\\n' if chunked else b'x' * (1 << 20)
    sent = 0
    try:
        while sent < 1 << 30:
            other.send(block)
            sent += 1 << 20
        if chunked:
            other.send(b'0\\r\\n\\r\\n')
        other.answer()
    except OSError:
        pass
    other.file.close()
    other.socket.close()
    return sent >> 20
";

#[test]
fn a_gigabyte_is_not_taken() {
    let Some((sandbox, mut calls)) = start() else {
        return;
    };
    for chunked in ["True", "False"] {
        let answer = calls.run(
            "r-1",
            &format!("{FLOOD}\nimport builtins\nbuiltins.sent = flood(f'invocation/{{id}}/response', {chunked})"),
        );
        assert_eq!(answer.error().error_type, "Function.ResponseSizeTooLarge");
        // What is read only to be thrown away has a limit of 64 MiB, and the rest was on its way in the sockets' buffers.
        let sent = calls.run("r-2", "answer = sent").json();
        assert!(sent.as_u64().unwrap() < 200, "{sent} MiB");
        let answer = calls.run(
            "r-3",
            &format!("{FLOOD}\nflood(f'invocation/{{id}}/error', {chunked})"),
        );
        assert_eq!(answer.error().error_type, "Function.ResponseSizeTooLarge");
        // Where it is nobody's answer, nothing of it reaches the host.
        let answer = calls.run(
            "r-4",
            &format!("{FLOOD}\nanswer = [flood(path, {chunked}) < 200 for path in ('invocation/r-1/response', 'init/error', 'nothing')]"),
        );
        assert_eq!(answer.json(), json!([true, true, true]));
    }
    let streamed = format!(
        "{FLOOD}\nflood(f'invocation/{{id}}/response', True, 'Lambda-Runtime-Function-Response-Mode: streaming\\r\\n')"
    );
    let answer = calls.run("r-5", &streamed);
    assert_eq!(answer.error().error_type, "Function.ResponseSizeTooLarge");
    assert_eq!(calls.call("[1]").text(), "[1]");
    assert_small(&sandbox);
}

#[test]
fn connections_that_hang_cost_only_their_runtime() {
    let Some((mut sandbox, mut calls)) = start() else {
        return;
    };
    // Halves of heads and of bodies, byte by byte, on more connections than there are places.
    let answer = calls.run(
        "r-1",
        "held = []
for number in range(100):
    try:
        other = Client()
        other.send((f'POST {API}invocation/r-0/response HTTP/1.1\\r\\nContent-Length: 9\\r\\n\\r\\nabc' if number % 2 else f'GET {API}inv').encode())
        held.append(other)
    except OSError:
        pass
for _ in range(20):
    for other in held:
        try:
            other.send(b'x')
        except OSError:
            pass
import builtins
builtins.held = held
answer = 'alive'",
    );
    assert_eq!(answer.json(), "alive");
    assert_eq!(
        calls.call("[1]").text(),
        "[1]",
        "on the connection that it has"
    );
    assert_small(&sandbox);
    // It gives up its own connection too and finds no place: it hangs, until the host ends it.
    calls.begin(
        "r-2",
        json!({"run": "import time; client.file.close(); client.socket.close(); held.append(Client()); time.sleep(1000)"})
            .to_string()
            .as_bytes(),
    );
    sandbox.command_empty(FrameKind::Kill);
    assert_eq!(sandbox.exited().0, Exited::Signal(9));
    let mut calls = sandbox.ready(Interface::RuntimeApi);
    assert_eq!(
        calls.call("[2]").text(),
        "[2]",
        "the next runtime has all places"
    );
    assert_small(&sandbox);
}

#[test]
fn one_call_has_one_answer() {
    let Some((sandbox, mut calls)) = start() else {
        return;
    };
    for round in 0..10 {
        let answer = calls.run(
            &format!("r-{round}"),
            "import builtins, threading
statuses = []
def answer_as(number):
    other = Client()
    act = other.fail if number % 3 == 0 else other.respond
    body = json.dumps({'errorType': str(number), 'errorMessage': 'e' * 50000}).encode()
    statuses.append(act(id, body)[0])
threads = [threading.Thread(target=answer_as, args=(number,)) for number in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
builtins.statuses = statuses",
        );
        // Whole, and of one of them.
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["errorMessage"].as_str().unwrap().len(), 50_000);
        let number: u32 = body["errorType"].as_str().unwrap().parse().unwrap();
        assert_eq!(answer.is_error, number.is_multiple_of(3));
        let statuses = calls.run("r-x", "answer = sorted(statuses)").json();
        let mut expected = vec![202];
        expected.extend([403; 11]);
        assert_eq!(statuses, json!(expected));
    }
    assert_small(&sandbox);
}

#[test]
fn forged_and_finished_ids_answer_nothing() {
    let Some((sandbox, mut calls)) = start() else {
        return;
    };
    assert_eq!(calls.run("r-1", "answer = 1").text(), "1");
    let answer = calls.run(
        "r-2",
        "forged = ['r-1', 'r-3', '', '..', 'r-2%00', 'r-2 ', '%72-2', 'R-2', 'r-2' * 2000, '\\u00fc', 'r-2/x', '*']
answer = []
for one in forged:
    for act in ('response', 'error'):
        other = Client()
        other.send(f'POST {API}invocation/{one}/{act} HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}'.encode())
        answer.append(other.answer()[0])
        other.file.close()
        other.socket.close()",
    );
    let statuses = answer.json();
    for status in statuses.as_array().unwrap() {
        assert!([400, 404].contains(&status.as_u64().unwrap()), "{statuses}");
    }
    // Between two calls there is none to answer.
    let answer = calls.run(
        "r-3",
        "client.respond(id, b'3')
import builtins
builtins.told = [Client().respond(one, b'late')[0] for one in ('r-2', 'r-3', 'r-4')]",
    );
    assert_eq!(answer.text(), "3");
    assert_eq!(
        calls.run("r-4", "answer = told").json(),
        json!([400, 403, 400])
    );
    assert_small(&sandbox);
}

#[test]
fn one_event_goes_to_one_of_many_that_wait() {
    let Some((sandbox, mut calls)) = start() else {
        return;
    };
    for _ in 0..10 {
        let answer = calls.run(
            "r-1",
            "client.respond(id, b'1')
others = [Client() for _ in range(8)]
for other in others:
    other.send(f'GET {API}invocation/next HTTP/1.1\\r\\n\\r\\n'.encode())
told = [other.answer() for other in others]
statuses = sorted(one[0] for one in told)
for other, (status, headers, _) in zip(others, told):
    if status == 200:
        other.respond(headers['lambda-runtime-aws-request-id'], json.dumps(statuses).encode())
    other.file.close()
    other.socket.close()",
        );
        assert_eq!(answer.text(), "1");
        let mut expected = vec![200];
        expected.extend([403; 7]);
        assert_eq!(calls.call("[1]").json(), json!(expected));
    }
    assert_small(&sandbox);
}

#[test]
fn a_runtime_that_exits_over_a_refusal_takes_no_other_call() {
    let Some((mut sandbox, mut calls)) = start() else {
        return;
    };
    // AWS's own client for Python does so. The caller is told once the stream behind its error is closed too, so that no other call is sent into it.
    for source in [
        "client.respond(id, b'x' * 6291557); import os, time; time.sleep(0.2); os._exit(1)",
        "client.fail(id, b'x' * 1048577); import os; os._exit(1)",
        "client.respond(id, b'', ['Lambda-Runtime-Function-Response-Mode: other']); client.file.close(); client.socket.close(); import os, time; time.sleep(0.2); os._exit(1)",
    ] {
        let answer = calls.run("r-1", source);
        assert!(answer.is_error, "{source}");
        assert_eq!(calls.stream.next_frame(), None);
        assert_eq!(sandbox.exited().0, Exited::Code(1), "{source}");
        calls = sandbox.ready(Interface::RuntimeApi);
    }
    // One that does nothing for a while is no reason to let the caller wait.
    let answer = calls.run(
        "r-2",
        "client.respond(id, b'x' * 6291557); import time; time.sleep(3)",
    );
    assert_eq!(answer.error().error_type, "Function.ResponseSizeTooLarge");
    assert_eq!(calls.call("[1]").text(), "[1]");
}

#[test]
fn what_other_connections_do_tells_no_error_early() {
    let Some((mut sandbox, mut calls)) = start() else {
        return;
    };
    // The refusal is not read yet while another connection is busy; then the runtime exits over it.
    let answer = calls.run(
        "r-1",
        "import os, time
other = Client()
client.send(f'POST {API}invocation/{id}/response HTTP/1.1\\r\\nContent-Length: 7000000\\r\\n\\r\\n'.encode() + b'x' * 7000000)
client.answer()
for _ in range(20):
    other.request('PUT', '/2020-08-15/logs', b'{}')
    time.sleep(0.01)
print('bye', flush=True)
os._exit(3)",
    );
    assert_eq!(answer.error().error_type, "Function.ResponseSizeTooLarge");
    // Told with the end of the runtime: nothing can be sent to it any more.
    assert_eq!(answer.mark, 4, "behind the last output");
    assert_eq!(calls.stream.next_frame(), None);
    assert_eq!(sandbox.exited().0, Exited::Code(3));
    assert_eq!(sandbox.last_call, Some(1));
}

#[test]
fn an_exited_runtime_was_given_no_further_call() {
    let Some((mut sandbox, mut calls)) = start() else {
        return;
    };
    let answer = calls.run("r-1", "client.respond(id, b'1'); import os; os._exit(0)");
    assert_eq!(answer.text(), "1");
    calls.begin("r-2", b"[2]");
    assert_eq!(sandbox.exited().0, Exited::Code(0));
    assert_eq!(sandbox.last_call, Some(1));
    // One that ends with its call was given it.
    let mut calls = sandbox.ready(Interface::RuntimeApi);
    assert_eq!(calls.call("[1]").text(), "[1]");
    calls.begin("r-2", br#"{"run": "import os; os._exit(4)"}"#);
    assert_eq!(sandbox.exited().0, Exited::Code(4));
    assert_eq!(sandbox.last_call, Some(2));
}

#[test]
fn what_follows_broken_framing_is_no_request() {
    let Some((sandbox, mut calls)) = start() else {
        return;
    };
    let answer = calls.run(
        "r-1",
        "def told(head, rest):
    other = Client()
    other.send(f'POST {API}invocation/r-0/response HTTP/1.1\\r\\n{head}\\r\\n\\r\\n'.encode() + rest)
    statuses = []
    while True:
        status = other.answer()[0]
        if not status:
            return statuses
        statuses.append(status)
hidden = b'PUT /2020-08-15/logs HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}'
chunked = 'Transfer-Encoding: chunked'
padding = ' ' * 9000
more = b'y' * (2 << 20)
answer = [
    told(chunked, b'zz\\r\\n3\\r\\nabc\\r\\n0\\r\\n\\r\\n' + hidden),
    told(chunked, b'3\\r\\nabcd\\r\\n0\\r\\n\\r\\n' + hidden),
    told(f'Content-Length:{padding}{len(hidden)}', hidden),
    told(f'Transfer-Encoding:{padding}chunked', b'0\\r\\n\\r\\n' + hidden),
    told(f'Content-Length{padding}: 2', b'{}' + hidden),
    told('no colon', hidden),
    # The answer is read although bytes come that nobody reads.
    told(chunked, b'zz\\r\\n' + more),
    told('no colon', more),
]",
    );
    assert_eq!(
        answer.json(),
        json!([[400], [400], [431], [431], [431], [400], [400], [400]])
    );
    assert_eq!(calls.call("[1]").text(), "[1]");
    assert_small(&sandbox);
}

#[test]
fn a_flood_of_requests_is_no_flood_of_memory() {
    let Some((sandbox, mut calls)) = start() else {
        return;
    };
    let answer = calls.run(
        "r-1",
        "import threading
def flood():
    other = Client()
    for _ in range(100):
        # Pipelined and never read: their answers fill the socket, and the agent waits.
        try:
            other.socket.settimeout(0.05)
            other.send(b'PUT /2020-08-15/logs HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}' * 1000)
        except OSError:
            break
    other.file.close()
    other.socket.close()
threads = [threading.Thread(target=flood) for _ in range(14)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
answer = 'alive'",
    );
    assert_eq!(answer.json(), "alive");
    assert_eq!(calls.call("[1]").text(), "[1]");
    assert_small(&sandbox);
}
