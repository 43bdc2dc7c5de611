"""The language suite (tests/fixtures/functions/README.md) on every runtime, without sandboxes."""

import json
import re
import time

from host import ARN, request_id

LIMIT_IN = 6_291_456
LIMIT_OUT = 6_291_556
# Around the sizes at which the runtimes change buffers or frames.
BUFFER, FRAME = 65_536, 1_048_576
EDGES = (
    21_839,
    21_841,
    BUFFER - 17,
    BUFFER - 16,
    BUFFER - 15,
    BUFFER,
    BUFFER + 1,
    FRAME - 1,
    FRAME,
    FRAME + 1,
    2 * FRAME,
)


def test_echo(runtime):
    with runtime.suite() as host:
        event = {"do": "echo", "nested": {"list": [1, 2.5, None, True, "text"]}}
        assert host.call(event).json() == event


def test_context(runtime):
    with runtime.suite() as host:
        before = time.time() * 1000
        answer = host.call({"do": "context"}, deadline=int(before) + 5000).json()
        assert 4000 < answer.pop("remaining_ms") <= 5000
        assert abs(answer.pop("deadline_ms") - before - 5000) < 10
        trace = answer.pop("trace_id")
        assert trace.startswith("Root=1-")
        assert answer == {
            "function_name": "suite",
            "function_version": "$LATEST",
            "memory_mb": "128",
            "log_group": "/aws/lambda/suite",
            "log_stream": "2026/01/01/[$LATEST]0123456789abcdef",
            "request_id": request_id(1),
            "arn": ARN,
            "client_context": None,
            "identity": None,
        }
        # Each call has its own.
        again = host.call({"do": "context"}).json()
        assert again["request_id"] == request_id(2)
        assert again["trace_id"] != trace


def test_context_of_a_mobile_client(runtime):
    client = {
        "client": {"installation_id": "i", "app_title": "t"},
        "custom": {"key": "value"},
        "env": {"locale": "de"},
    }
    identity = {"cognitoIdentityId": "id", "cognitoIdentityPoolId": "pool"}
    with runtime.suite() as host:
        answer = host.call({"do": "context"}, client=json.dumps(client), identity=json.dumps(identity)).json()
    assert answer["client_context"]["custom"] == {"key": "value"}
    assert answer["client_context"]["env"] == {"locale": "de"}
    assert answer["client_context"]["client"]["installation_id"] == "i"
    assert answer["identity"] == {"id": "id", "pool": "pool"}


def test_raised_error(runtime):
    with runtime.suite() as host:
        answer = host.call({"do": "raise", "message": "no ü"})
        assert not answer.ok
        error = answer.json()
        assert error["errorType"] == "Refused"
        assert error["errorMessage"] == "no ü"
        if runtime.family == "python":
            assert error["requestId"] == request_id(1)
            last = error["stackTrace"][-1]
            assert re.fullmatch(r'  File ".*/app.py", line \d+, in refuse_with\n    raise Refused\(message\)\n', last)
            assert "in handler" in error["stackTrace"][0]
        else:
            assert set(error) == {"errorType", "errorMessage", "trace"}
            assert error["trace"][0] == "Refused: no ü"
            assert re.match(r"    at refuse \(.*index.js:\d+:\d+\)", error["trace"][1])
        assert "no ü" in host.printed(answer.mark)
        # The process goes on.
        assert host.call({"do": "count"}).json()["count"] == 1


def test_largest_event_and_answer(runtime):
    with runtime.suite() as host:
        event = {"do": "echo", "x": ""}
        event["x"] = "y" * (LIMIT_IN - len(json.dumps(event)))
        answer = host.call(event)
        assert answer.json() == event
        answer = host.call({"do": "large", "bytes": LIMIT_OUT})
        assert answer.ok and len(answer.payload) == LIMIT_OUT and answer.frames == 7


def test_answer_too_large(runtime):
    with runtime.suite() as host:
        answer = host.call({"do": "large", "bytes": LIMIT_OUT + 1})
        assert not answer.ok
        assert answer.json() == {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        }
        assert host.call({"do": "count"}).ok


def test_answers_at_the_edges_of_frames(runtime):
    with runtime.suite() as host:
        for size in EDGES:
            answer = host.call({"do": "large", "bytes": size})
            assert len(answer.payload) == size
            assert answer.frames == (size + 1_048_575) // 1_048_576


def test_exit(runtime):
    with runtime.suite() as host:
        host.send({"do": "exit", "code": 7})
        assert host.exit_code() == 7


def test_output_on_both_streams(runtime):
    with runtime.suite() as host:
        answer = host.call({"do": "print", "out": "auf ü", "err": "daneben"})
        assert answer.payload == b"null"
        host.printed(answer.mark)
        assert host.output == {1: "auf ü\n".encode(), 2: b"daneben\n"}
        assert answer.mark == len("auf ü\n".encode()) + len("daneben\n")


def test_one_process_serves_many_calls(runtime):
    with runtime.suite() as host:
        answers = [host.call({"do": "count"}).json() for _ in range(200)]
        assert [a["count"] for a in answers] == list(range(1, 201))
        assert len({a["boot"] for a in answers}) == 1


def test_sleep_memory_and_fill(runtime):
    with runtime.suite() as host:
        assert host.call({"do": "sleep", "ms": 5}).json() == {"slept_ms": 5}
        assert host.call({"do": "memory", "mb": 5}).json() == {"allocated_mb": 5}
        assert host.call({"do": "fill", "mb": 2}).json() == {"written_mb": 2, "error": None}


def test_environment(runtime):
    with runtime.suite() as host:
        answer = host.call({"do": "env"}).json()
        assert answer["AWS_EXECUTION_ENV"] == runtime.execution_env
        assert answer["_X_AMZN_TRACE_ID"].startswith("Root=1-")


def test_trace_is_unset_when_absent(runtime):
    with runtime.suite() as host:
        assert host.call({"do": "context"}).json()["trace_id"]
        answer = host.call({"do": "context"}, without=["trace"])
        assert answer.json().get("trace_id") is None


def test_unicode(runtime):
    with runtime.suite() as host:
        text = 'Grüße, 世界 🦀 \u2028 \x00 "quoted" \\ \t\n'
        answer = host.call({"do": "unicode", "text": text})
        assert answer.json() == {"text": text, "bytes": len(text.encode()), "own": "Grüße, 世界 🦀"}
        assert "世界 🦀".encode() in answer.payload


def test_empty_event(runtime):
    """An empty payload is an empty event; the suite's handler then misses its field."""
    with runtime.suite() as host:
        assert host.call(b"").json()["errorType"] in ("KeyError", "TypeError")


def test_end_of_the_host(runtime):
    with runtime.suite() as host:
        host.call({"do": "count"})
        host.socket.close()
        assert host.exit_code() == 0
        assert host.output == {1: b"", 2: b""}


def test_exit_during_init(runtime):
    with runtime.start("exits_at_import.handler") as host:
        assert host.exit_code() == 3


def test_children_do_not_inherit_the_call_stream(runtime, tmp_path):
    source = {
        "python": (
            "app.py",
            "import subprocess\n"
            "def handler(event, context):\n"
            "    command = ['readlink', '/proc/self/fd/3']\n"
            "    return subprocess.run(command, close_fds=False, capture_output=True).returncode\n",
        ),
        "nodejs": (
            "app.js",
            "exports.handler = async () => require('child_process').spawnSync('readlink', ['/proc/self/fd/3']).status;",
        ),
    }[runtime.family]
    (tmp_path / source[0]).write_text(source[1])
    with runtime.start("app.handler", task_root=tmp_path) as host:
        assert host.ready().call({}).json() == 1
