"""The language suite on runtimes that speak the Lambda Runtime API: the Bash recipe of tests/fixtures/runtimes, which shows how a
language is added, and, if `WARREN_TEST_RUST_BOOTSTRAP` names it, the built function of tests/fixtures/functions/rust.
"""

import json
import os
import shutil

import pytest
from host import ARN, FUNCTIONS, ROOT, request_id
from runtime_api import ApiHost

BASH_RUNTIME = ROOT / "tests" / "fixtures" / "runtimes" / "bash" / "runtime" / "bootstrap.sh"
RUST_FUNCTION = os.environ.get("WARREN_TEST_RUST_BOOTSTRAP")

needs_bash = pytest.mark.skipif(not (shutil.which("jq") and shutil.which("curl")), reason="needs jq and curl")
needs_rust = pytest.mark.skipif(not RUST_FUNCTION, reason="WARREN_TEST_RUST_BOOTSTRAP is not set")


def start(handler):
    return ApiHost(
        ["/bin/bash", str(BASH_RUNTIME)], FUNCTIONS / "bash", handler, "AWS_Lambda_bash5", {"LC_ALL": "C.UTF-8"}
    )


def start_rust():
    return ApiHost([RUST_FUNCTION], FUNCTIONS, "bootstrap", "AWS_Lambda_provided.al2023")


@pytest.fixture(params=[pytest.param("bash", marks=needs_bash), pytest.param("rust", marks=needs_rust)])
def language(request):
    return request.param


@pytest.fixture
def suite(language):
    with start("app.handler") if language == "bash" else start_rust() as host:
        yield host


def test_context(suite):
    # The Rust client wants all of these or none.
    names = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")
    client = {"client": {name: "c" for name in names}, "custom": {"key": "value"}}
    answer = suite.call(
        {"do": "context"},
        Client_Context=json.dumps(client),
        Cognito_Identity='{"cognitoIdentityId":"id","cognitoIdentityPoolId":"pool"}',
    ).json()
    assert 0 < answer.pop("remaining_ms") <= 3000
    assert answer.pop("deadline_ms") > 1_700_000_000_000
    assert str(answer.pop("memory_mb")) == "128"
    assert answer.pop("client_context")["custom"] == {"key": "value"}
    assert answer == {
        "function_name": "suite",
        "function_version": "$LATEST",
        "log_group": "/aws/lambda/suite",
        "log_stream": "2026/01/01/[$LATEST]0123456789abcdef",
        "request_id": request_id(1),
        "arn": ARN,
        "identity": {"id": "id", "pool": "pool"},
        "trace_id": "Root=1-00000000-000000000000000000000000",
    }
    again = suite.call({"do": "context"}).json()
    assert (again["client_context"], again["identity"]) == (None, None)


def test_raised_error(suite, language):
    error = suite.call({"do": "raise", "message": 'no "ü"'}).json()
    assert (error["errorType"], error["errorMessage"]) == ("Refused", 'no "ü"')
    if language == "bash":
        assert [line.split(" (")[0] for line in error["stackTrace"]] == [
            "  at refuse_with",
            "  at refuse",
            "  at handler",
        ]
    assert suite.call({"do": "count"}).json()["count"] == 1


def test_large_event_and_answer(suite):
    event = {"do": "echo", "x": ""}
    event["x"] = "y" * (6_291_456 - len(json.dumps(event)))
    assert suite.call(event).json() == event
    assert len(suite.call({"do": "large", "bytes": 6_291_556}).payload) == 6_291_556


def test_unicode(suite):
    text = 'Grüße, 世界 🦀 \u2028 \x00 "quoted" \\ \t\n'
    assert suite.call({"do": "unicode", "text": text}).json() == {
        "text": text,
        "bytes": len(text.encode()),
        "own": "Grüße, 世界 🦀",
    }


def test_output_on_both_streams(suite):
    assert suite.call({"do": "print", "out": "auf ü", "err": "daneben"}).json() is None
    suite.send({"do": "exit", "code": 7})
    assert suite.exit_code() == 7
    assert suite.output == {1: "auf ü\n".encode(), 2: b"daneben\n"}


def test_one_process_serves_many_calls(suite):
    answers = [suite.call({"do": "count"}).json() for _ in range(200)]
    assert [answer["count"] for answer in answers] == list(range(1, 201))
    assert len({answer["boot"] for answer in answers}) == 1


def test_sleep_memory_fill_and_environment(suite):
    assert suite.call({"do": "sleep", "ms": 5}).json() == {"slept_ms": 5}
    assert suite.call({"do": "memory", "mb": 5}).json() == {"allocated_mb": 5}
    assert suite.call({"do": "fill", "mb": 2}).json() == {"written_mb": 2, "error": None}
    assert suite.call({"do": "env"}).json()["AWS_LAMBDA_FUNCTION_NAME"] == "suite"


@needs_bash
def test_handler_in_a_folder():
    with start("lib/app.handler") as host:
        assert host.call({}).json() == "from a folder"


@needs_bash
def test_status_is_an_error():
    with start("lib/app.failing") as host:
        error = host.call({}).json()
        assert error == {"errorType": "ExitStatus", "errorMessage": "failing returned status 2", "stackTrace": []}


@needs_bash
@pytest.mark.parametrize(
    "handler,error_type,message",
    [
        ("absent.handler", "Runtime.ImportModuleError", "Unable to import module 'absent': "),
        ("broken_import.handler", "Runtime.ImportModuleError", "Unable to import module 'broken_import': "),
        ("app.absent", "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'app'"),
        ("app", "Runtime.MalformedHandlerName", "Bad handler 'app'"),
        ("syntax_error.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'syntax_error': "),
        ("fails_at_import.handler", "NoDatabase", "no database"),
    ],
)
def test_functions_that_cannot_be_loaded(handler, error_type, message):
    with start(handler) as host:
        error = host.init_error()
        assert error["errorType"] == error_type
        assert error["errorMessage"].startswith(message)
        assert host.exit_code() == 1


@needs_bash
def test_exit_during_init():
    with start("exits_at_import.handler") as host:
        assert host.exit_code() == 3
