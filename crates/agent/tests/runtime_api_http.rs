//! How the agent's Runtime API speaks HTTP: what clients of any age and habit may do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sandbox;

use sandbox::{Calls, Sandbox};
use serde_json::json;
use warren_protocol::Interface;

fn start() -> Option<(Sandbox, Calls)> {
    let mut sandbox = Sandbox::start()?;
    let calls = sandbox.ready(Interface::RuntimeApi);
    Some((sandbox, calls))
}

#[test]
fn one_connection_serves_many_requests() {
    let Some((_sandbox, mut calls)) = start() else {
        return;
    };
    // The runtime keeps its connection over calls; a new one for each request works too, and says when it ends.
    let answer = calls.run(
        "r-1",
        "answers = []
for _ in range(50):
    other = Client()
    status, headers, _ = other.request('PUT', '/2020-08-15/logs', b'{}', ['Connection: close'])
    answers.append([status, headers.get('connection'), other.file.read() == b''])
answer = [len(answers), all(one == [202, 'close', True] for one in answers)]",
    );
    assert_eq!(answer.json(), json!([50, true]));
}

#[test]
fn requests_may_follow_each_other_unasked() {
    let Some((_sandbox, mut calls)) = start() else {
        return;
    };
    // Answer and next request in one write.
    let answer = calls.run(
        "r-1",
        "body = b'[\\\"piped\\\"]'
post = f'POST {API}invocation/{id}/response HTTP/1.1\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n'.encode() + body
client.send(post + f'PUT /2020-08-15/logs HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}GET {API}invocation/next HTTP/1.1\\r\\n\\r\\n'.encode())
import builtins
builtins.told = [client.answer()[0], client.answer()[0]]
status, headers, body = client.answer()
client.respond(headers['lambda-runtime-aws-request-id'], json.dumps(told + [status, body.decode()]).encode())",
    );
    assert_eq!(answer.text(), r#"["piped"]"#);
    let answer = calls.call("[7]");
    assert_eq!(answer.json(), json!([202, 202, 200, "[7]"]));
    assert_eq!(calls.call("[8]").text(), "[8]");
}

#[test]
fn http_1_0_is_served() {
    let Some((_sandbox, mut calls)) = start() else {
        return;
    };
    // The body ends with the connection where its length is not known, as there are no chunks.
    let next = "client.respond(id, b'1')
other = Client()
other.send(f'GET http://127.0.0.1:9001{API}invocation/next HTTP/1.0\\r\\nConnection: keep-alive\\r\\n\\r\\n'.encode())
head, _, body = other.file.read().partition(b'\\r\\n\\r\\n')
head = head.decode().lower()
other = Client()
own = head.split('request-id: ')[1].split('\\r\\n')[0]
told = json.dumps(['chunked' in head, 'connection: close' in head, len(body)]).encode()
other.send(f'POST {API}invocation/{own}/response HTTP/1.0\\r\\nContent-Length: {len(told)}\\r\\n\\r\\n'.encode() + told)
print(other.file.read().decode().split('\\r\\n')[0], flush=True)";
    for size in [10, 3 * 1024 * 1024] {
        assert_eq!(calls.run("r-1", next).text(), "1");
        let answer = calls.call(vec![b'7'; size]);
        assert_eq!(answer.json(), json!([false, true, size]));
    }
    assert_eq!(calls.run("r-1", next).text(), "1");
    assert_eq!(
        calls.call("").json(),
        json!([false, true, 2]),
        "an empty event"
    );
}

#[test]
fn an_error_object_of_the_largest_size_is_passed_on() {
    let Some((sandbox, mut calls)) = start() else {
        return;
    };
    let answer = calls.run(
        "r-1",
        "import builtins
error = json.dumps({'errorType': 'Big', 'errorMessage': 'x' * (1048576 - 40)}).encode()
builtins.told = [len(error), client.fail(id, error)[0]]",
    );
    assert!(
        answer.is_error && answer.body.len() == 1_048_576,
        "{}",
        answer.body.len()
    );
    assert_eq!(answer.error().error_type, "Big");
    assert_eq!(
        calls.run("r-2", "answer = told").json(),
        json!([1_048_576, 202])
    );
    let most = sandbox.resident_kib().1;
    assert!(most < 4 * 1024, "{most}");

    // Without a body, the header's type makes the error.
    let answer = calls.run(
        "r-3",
        "client.fail(id, b'', ['Lambda-Runtime-Function-Error-Type: Function.Why'])",
    );
    assert_eq!(answer.error().error_type, "Function.Why");
}
