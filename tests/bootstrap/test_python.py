"""What only the Python runtime has."""

import json
import re

import pytest
from host import RESPONSE


def init_error(python, handler, **environment):
    with python.start(handler, **environment) as host:
        error = host.init_error()
        assert host.exit_code() == 1
        return error, host.output[1].decode()


@pytest.mark.parametrize(
    "handler,error_type,message",
    [
        (
            "broken_import.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'broken_import': No module named 'no_such_module'",
        ),
        ("absent.handler", "Runtime.ImportModuleError", "Unable to import module 'absent': No module named 'absent'"),
        (
            "pkg/absent.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'pkg/absent': No module named 'pkg.absent'",
        ),
        ("app.absent", "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'app'"),
        (
            "app",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        ("sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        (
            "syntax_error.handler",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'syntax_error': expected ':' (syntax_error.py, line 1)",
        ),
    ],
)
def test_functions_that_cannot_be_loaded(python, handler, error_type, message):
    error, output = init_error(python, handler)
    assert (error["errorType"], error["errorMessage"]) == (error_type, message)
    assert error["requestId"] == ""
    assert output.startswith(f"[ERROR] {error_type}: {message}\nTraceback (most recent call last):\n")
    if error_type == "Runtime.UserCodeSyntaxError":
        assert re.fullmatch(
            r'  File ".*/syntax_error.py" Line 1\n    def handler\(event, context\)\n', error["stackTrace"][0]
        )
    else:
        assert error["stackTrace"] == []


def test_function_that_raises_while_it_is_loaded(python):
    error, output = init_error(python, "fails_at_import.handler")
    assert (error["errorType"], error["errorMessage"]) == ("RuntimeError", "no database")
    assert error["stackTrace"][-1].endswith('in connect\n    raise RuntimeError("no database")\n')
    assert "warren_runtime" not in "".join(error["stackTrace"])
    # No-break spaces, as on Lambda.
    assert '\n\u00a0\u00a0\u00a0\u00a0raise RuntimeError("no database")\n' in output


@pytest.mark.parametrize("handler", ["pkg/sub.handler", "pkg.sub.handler"])
def test_handlers_in_folders(python, handler):
    with python.start(handler) as host:
        assert host.ready().call({}).json() == "from a package"


@pytest.mark.parametrize(
    "result,payload",
    [
        ("none", "null"),
        ("text", '"é"'),
        ("tuple", "[1, 2]"),
        ("bytes inside", '{"a": "text", "key": 1}'),
        ("named tuple", '[{"x": 1, "y": 2.50}]'),
        ("decimal", '{"price": 1.10, "none": NaN}'),
        ("ordered", '{"b": 1, "a": 1}'),
        ("keys", '{"2": "int", "null": "none", "true": "bool", "1.5": "float"}'),
        ("special floats", "[Infinity, -Infinity]"),
    ],
)
def test_results(python, result, payload):
    with python.start("results.handler") as host:
        assert host.ready().call({"result": result}).payload.decode() == payload


def test_result_of_bytes_is_the_answer_itself(python):
    with python.start("results.handler") as host:
        assert host.ready().call({"result": "bytes"}).payload == b"raw \xff"


def test_older_runtimes_escape_what_is_not_ascii(python):
    with python.start("results.handler", execution_env="AWS_Lambda_python3.11") as host:
        assert host.ready().call({"result": "text"}).payload == b'"\\u00e9"'


@pytest.mark.parametrize(
    "handler,result,message",
    [
        ("handler", "object", "Object of type Thing is not JSON serializable"),
        ("handler", "set", "Object of type set is not JSON serializable"),
        ("handler", "endless", "Circular reference detected"),
        (
            "handler",
            "half a pair",
            "'utf-8' codec can't encode character '\\ud83d' in position 1: surrogates not allowed",
        ),
        ("coroutine", None, "Object of type coroutine is not JSON serializable"),
    ],
)
def test_results_that_cannot_be_written(python, handler, result, message):
    with python.start(f"results.{handler}") as host:
        answer = host.ready().call({"result": result})
        assert not answer.ok
        error = answer.json()
        assert error["errorType"] == "Runtime.MarshalError"
        assert error["errorMessage"] == f"Unable to marshal response: {message}"
        assert error["stackTrace"] == []


def test_event_that_is_not_json(python):
    with python.suite() as host:
        error = host.call(b"{").json()
        assert error["errorType"] == "Runtime.UnmarshalError"
        assert error["errorMessage"].startswith("Unable to unmarshal input: ")


def test_client_context_that_is_not_json(python):
    with python.suite() as host:
        assert host.call({"do": "context"}, client="{").json()["errorType"] == "Runtime.LambdaContextUnmarshalError"


@pytest.mark.parametrize(
    "what,error_type,message",
    [
        ("unprintable", "Unprintable", "<unprintable Unprintable object>"),
        ("half a pair", "ValueError", "\ud83d"),
        ("lines", "ValueError", "first\nsecond"),
        ("chained", "RuntimeError", "outer"),
    ],
)
def test_awkward_errors(python, what, error_type, message):
    with python.start("raising.handler") as host:
        answer = host.ready().call({"what": what})
        assert (answer.json()["errorType"], answer.json()["errorMessage"]) == (error_type, message)
        assert len(answer.json()["stackTrace"]) == 1
        assert host.call({"what": "nothing"}).ok


def test_error_with_a_very_long_message(python, tmp_path):
    (tmp_path / "app.py").write_text("def handler(event, context):\n    raise ValueError('\\0' * 2_000_000)\n")
    with python.start("app.handler", task_root=tmp_path) as host:
        answer = host.ready().call({})
        assert answer.json()["errorMessage"] == "\0" * 131_072


def test_exit_without_a_reason(python):
    with python.start("raising.handler") as host:
        host.ready().send({"what": "exit 0"})
        assert host.exit_code() == 0


def test_log_entries(python):
    with python.start("logging_app.handler") as host:
        answer = host.ready().call({})
        lines = host.printed(answer.mark, 1).splitlines()
        time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
        request = "00000000-0000-4000-8000-000000000001"
        assert re.fullmatch(rf"\[INFO\]\t{time}\t{request}\tan entry", lines[0])
        # The format ends with a line break of its own, which a traceback follows after another.
        rest = [line for line in lines[1:] if line]
        assert rest[0] == "from the context"
        assert re.fullmatch(rf"\[ERROR\]\t{time}\t{request}\tit failed", rest[1])
        assert rest[2] == "Traceback (most recent call last):"
        assert rest[-1] == "KeyError: 'lost'"


def test_log_entries_in_json(python):
    with python.start("logging_app.handler", AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="WARN") as host:
        answer = host.ready().call({})
        entries = [json.loads(line) for line in host.printed(answer.mark, 1).splitlines() if line.startswith("{")]
        assert [entry["message"] for entry in entries] == ["an entry", "it failed"]
        assert entries[1]["level"] == "ERROR"
        assert entries[1]["errorType"] == "KeyError"
        assert entries[1]["requestId"] == "00000000-0000-4000-8000-000000000001"


def test_marks_count_every_form_of_output(python):
    with python.start("logging_app.output_forms") as host:
        host.ready()
        for call in range(1, 4):
            answer = host.call({})
            assert answer.json() == 16
            assert answer.mark == 16 * call
        host.printed(48)
        assert host.output[1] == b"textbytesab\n" * 3


def test_marks_never_promise_too_much(python):
    """Output past Python is seen only while it is in the pipe."""
    with python.start("logging_app.past_python") as host:
        host.ready()
        for call in range(1, 20):
            answer = host.call({})
            assert answer.mark <= 11 * call
        host.printed(11 * 19)


def test_marks_see_what_is_still_in_the_pipe(python, tmp_path):
    """Nobody reads the output until the answer has come."""
    (tmp_path / "app.py").write_text(
        "import os, sys\ndef handler(event, context):\n    os.write(1, b'past')\n    print('own', file=sys.stderr)\n"
    )
    with python.start("app.handler", task_root=tmp_path, reading=False) as host:
        host.ready()
        assert host.call({}).mark == 8
        assert host.call({}).mark == 16
        host.start_reading()
        host.printed(16)


def test_replaced_stream_is_flushed(python):
    with python.start("logging_app.replaced_stream") as host:
        host.ready().call({})
        assert host.printed(23) == "held back until flushed\n"


def test_functions_files_go_before_the_runtimes(python, tmp_path):
    """A function may have files with the names of modules that the runtime uses itself."""
    (tmp_path / "app.py").write_text(
        "import bootstrap, stream\ndef handler(event, context):\n    return [bootstrap.NAME, stream.NAME]\n"
    )
    (tmp_path / "bootstrap.py").write_text("NAME = 'mine'\n")
    (tmp_path / "stream.py").write_text("NAME = 'also mine'\n")
    with python.start("app.handler", task_root=tmp_path) as host:
        answer = host.ready().call({})
        assert answer.kind == RESPONSE and answer.json() == ["mine", "also mine"]


def test_context_can_be_copied_and_shown(python, tmp_path):
    (tmp_path / "app.py").write_text(
        "import copy\ndef handler(event, context):\n    copy.deepcopy(context)\n    return [repr(context), sorted(vars(context))]\n"
    )
    with python.start("app.handler", task_root=tmp_path) as host:
        text, names = host.ready().call({}).json()
        assert text.startswith("LambdaContext([aws_request_id=00000000-0000-4000-8000-000000000001,log_group_name=")
        assert "identity=CognitoIdentity([cognito_identity_id=None,cognito_identity_pool_id=None])" in text
        assert "memory_limit_in_mb" in names
