"""One suite for every language, with the handlers of tests/fixtures/functions: what works in one works in all.

Bash is no built-in language, and AWS's own runtime interface clients are none: their recipes are copied into the data folder, and that must be all
that it takes.
"""

import base64
import json
import re
import time

import pytest

import languages
from calls import answer_of, call
from functions import fresh_name
from host_view import sandboxes
from otherwise import assert_small
from server import ACCOUNT, REGION, Warren

LARGEST_EVENT = 6_291_456
LARGEST_ANSWER = 6_291_556
TIMEOUT_S = 60
CLIENT_CONTEXT = {
    "client": {
        "installation_id": "i",
        "app_title": "title",
        "app_version_name": "v",
        "app_version_code": "7",
        "app_package_name": "p",
    },
    "custom": {"key": "value ü"},
    "env": {},
}
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"

# What a caller reads when a function can't be loaded: handler, error type, words of the message.
LOAD_FAILURES = {
    "python": [
        ("broken_import.handler", "Runtime.ImportModuleError", "No module named 'no_such_module'"),
        ("absent.handler", "Runtime.ImportModuleError", "Unable to import module 'absent'"),
        ("app.absent", "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'app'"),
        ("exits_at_import.handler", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
    ],
    "nodejs": [
        ("broken_import.handler", "Runtime.ImportModuleError", "Cannot find module 'no-such-package'"),
        ("absent.handler", "Runtime.ImportModuleError", "Cannot find module 'absent'"),
        ("index.absent", "Runtime.HandlerNotFound", "index.absent is undefined or not exported"),
        ("exits_at_import.handler", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
    ],
    "bash": [
        ("broken_import.handler", "Runtime.ImportModuleError", "Unable to import module 'broken_import'"),
        ("absent.handler", "Runtime.ImportModuleError", "Unable to import module 'absent'"),
        ("app.absent", "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'app'"),
        ("exits_at_import.handler", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
    ],
}
# A program of one's own has no handler to be looked for: it is there and starts, or not.
BROKEN_PROGRAMS = [
    ({"other": b"#!/bin/sh\n"}, "Runtime exited with error: exit status 127"),
    ({"bootstrap": b"#!/bin/sh\nexit 3\n"}, "Runtime exited with error: exit status 3"),
]


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    """A server to which languages were added."""
    with languages.server(tmp_path_factory.mktemp("languages") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def client(warren):
    """A client whose answers are not held against botocore's model, which knows no runtime `bash5`."""
    return warren.client(checked=False)


@pytest.fixture(scope="module", params=languages.ALL, ids=str)
def language(request):
    if reason := request.param.missing():
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="module")
def suite(client, language):
    """The suite's function in this language, with Lambda's least memory."""
    return languages.deploy_suite(client, language, Timeout=TIMEOUT_S)


def arn(name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def add_trace(request, **_):
    """Handler for botocore's `before-sign` event: a service that calls a function for somebody passes its trace on."""
    request.headers["X-Amzn-Trace-Id"] = TRACE


def test_a_recipe_is_all_that_a_language_needs(client):
    with pytest.raises(client.exceptions.InvalidParameterValueException) as refusal:
        languages.deploy_suite(client, languages.PYTHON, Runtime="bash4")
    assert languages.BASH.runtime in str(refusal.value), "it is listed beside the built-in ones"


def test_context(warren, suite):
    client = warren.client(checked=False)
    client.meta.events.register("before-sign.lambda.Invoke", add_trace)
    encoded = base64.b64encode(json.dumps(CLIENT_CONTEXT).encode()).decode()
    before = time.time() * 1000
    done = call(client, suite, {"do": "context"}, Qualifier="$LATEST", ClientContext=encoded)
    context = done.json()
    after = time.time() * 1000
    assert 0 < context["remaining_ms"] <= TIMEOUT_S * 1000
    assert before + TIMEOUT_S * 1000 - 50 <= context["deadline_ms"] <= after + TIMEOUT_S * 1000 + 50
    assert (context["function_name"], context["function_version"]) == (suite, "$LATEST")
    assert int(context["memory_mb"]) == 128
    assert context["log_group"] == f"/aws/lambda/{suite}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]+", context["log_stream"])
    assert context["request_id"] == done.request_id
    assert context["arn"] == arn(suite) + ":$LATEST", "as the caller qualified it"
    assert context["trace_id"] == TRACE
    assert context["client_context"]["custom"] == CLIENT_CONTEXT["custom"]
    # Clients differ in how they spell the names of these fields.
    assert set(context["client_context"]["client"].values()) == set(CLIENT_CONTEXT["client"].values())
    assert context["identity"] is None


def test_context_of_a_caller_that_says_nothing(client, suite):
    context = answer_of(client, suite, {"do": "context"})
    assert context["arn"] == arn(suite)
    assert context["client_context"] is None
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}(;.*)?", context["trace_id"])


def test_raised_error(client, language, suite):
    done = call(client, suite, {"do": "raise", "message": "not today ü"})
    assert done.error == "Unhandled"
    error = done.json()
    assert (error["errorType"], error["errorMessage"]) == ("Refused", "not today ü")
    if language.stack is not None:
        frames = error.get("stackTrace") or error["trace"]
        assert any(language.stack in frame for frame in frames), frames
    assert "Status" not in done.log, "the function answered, with an error"


def test_functions_that_cannot_be_loaded(client, language):
    if language.family == "rust":
        cases = [
            ({"Code": {"ZipFile": languages.zip_of_files(files)}}, "Runtime.ExitError", words)
            for files, words in BROKEN_PROGRAMS
        ]
    else:
        cases = [({"Handler": handler}, *failure) for handler, *failure in LOAD_FAILURES[language.family]]
    for change, error_type, words in cases:
        name = languages.deploy_suite(client, language, fresh_name("broken"), Timeout=TIMEOUT_S, **change)
        # The second call meets what the first one left.
        for _ in range(2):
            done = call(client, name)
            assert done.error == "Unhandled"
            assert done.json()["errorType"] == error_type, (change, done)
            assert words in done.json()["errorMessage"], (change, done)
        client.delete_function(FunctionName=name)


def test_largest_event(client, suite):
    event = {"do": "echo", "x": ""}
    event["x"] = "y" * (LARGEST_EVENT - len(json.dumps(event)))
    assert answer_of(client, suite, event) == event


def test_largest_answer(client, suite):
    done = call(client, suite, {"do": "large", "bytes": LARGEST_ANSWER})
    assert done.error is None and len(done.payload) == LARGEST_ANSWER
    assert done.payload[:1] == done.payload[-1:] == b'"' and set(done.payload[1:-1]) == {ord("x")}


def test_answer_that_is_too_large(client, suite):
    done = call(client, suite, {"do": "large", "bytes": LARGEST_ANSWER + 1})
    assert done.error == "Unhandled"
    assert done.json()["errorType"] == "Function.ResponseSizeTooLarge"
    assert str(LARGEST_ANSWER) in done.json()["errorMessage"]
    assert answer_of(client, suite, {"do": "echo", "next": 1}) == {"do": "echo", "next": 1}


def test_unicode(client, suite):
    text = 'Grüße, 世界 🦀 \u2028 "quoted" \\ \t\n'
    answer = answer_of(client, suite, {"do": "unicode", "text": text})
    assert answer == {"text": text, "bytes": len(text.encode()), "own": "Grüße, 世界 🦀"}


def test_process_exit(client, suite):
    before = answer_of(client, suite, {"do": "count"})["boot"]
    for code, words in (
        (7, "Runtime exited with error: exit status 7"),
        (0, "Runtime exited without providing a reason"),
    ):
        done = call(client, suite, {"do": "exit", "code": code})
        assert done.error == "Unhandled"
        assert done.json() == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {done.request_id} Error: {words}",
        }
        assert "Runtime.ExitError" in done.log
    after = answer_of(client, suite, {"do": "count"})
    assert after["count"] == 1 and after["boot"] != before


def test_output_on_both_streams(client, suite):
    done = call(client, suite, {"do": "print", "out": "auf ü", "err": "daneben 🦀"})
    assert done.json() is None
    lines = done.log.splitlines()
    assert lines[0] == f"START RequestId: {done.request_id} Version: $LATEST"
    assert sorted(lines[1:-2]) == ["auf ü", "daneben 🦀"]
    assert lines[-2] == f"END RequestId: {done.request_id}"
    assert re.match(
        rf"REPORT RequestId: {done.request_id}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\t"
        r"Memory Size: 128 MB\tMax Memory Used: \d+ MB\t",
        lines[-1],
    )


def test_one_instance_serves_many_calls(client, suite):
    answers = [answer_of(client, suite, {"do": "count"}) for _ in range(200)]
    assert len({answer["boot"] for answer in answers}) == 1
    first = answers[0]["count"]
    assert [answer["count"] for answer in answers] == list(range(first, first + 200))


def test_agent_stays_small(client, warren, suite):
    """After all that went through it: the largest events and answers, too."""
    answer_of(client, suite, {"do": "echo"})
    found = sandboxes(warren, suite)
    assert found
    for container in found:
        assert_small(container)
