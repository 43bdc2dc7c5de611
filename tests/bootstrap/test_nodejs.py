"""What only the JavaScript runtime has."""

import json
import re

import pytest
from conftest import NODES
from host import FUNCTIONS, request_id

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def called(node, handler, event=None, **environment):
    with node.start(handler, **environment) as host:
        return host.ready().call(event or {})


@pytest.mark.parametrize(
    "handler,error_type,message",
    [
        ("absent.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'absent'\nRequire stack:\n- "),
        (
            "broken_import.handler",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'no-such-package'\nRequire stack:\n- ",
        ),
        ("broken_import_esm.handler", "Error", "Cannot find package 'no-such-package' imported from "),
        ("index.absent", "Runtime.HandlerNotFound", "index.absent is undefined or not exported"),
        ("src/app.value", "Runtime.HandlerNotFound", "src/app.value is not a function"),
        ("index", "Runtime.MalformedHandlerName", "Bad handler"),
        ("../index.handler", "Runtime.MalformedHandlerName", "'../index.handler' is not a valid handler name."),
        ("syntax_error.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token"),
        ("fails_at_import.handler", "RangeError", "no database"),
    ],
)
def test_functions_that_cannot_be_loaded(node, handler, error_type, message):
    with node.start(handler) as host:
        error = host.init_error()
        assert host.exit_code() == 129
        assert error["errorType"] == error_type
        assert error["errorMessage"].startswith(message)
        assert error["trace"]
        if error_type == "Runtime.UserCodeSyntaxError":
            assert "syntax_error.js:1" in error["trace"][0]
        title = "Init Error" if node.major >= 24 else "Uncaught Exception"
        before = "-" if node.major >= 24 else "undefined"
        entry = re.match(rf"{TIME}\t{before}\tERROR\t{title} \t({{.*}})\n", host.output[1].decode())
        assert json.loads(entry[1])["errorType"] == error_type


@pytest.mark.parametrize(
    "handler,result",
    [
        ("src/app.handler", "from a folder"),
        ("src/app.ns.handler", "from a namespace"),
        ("common.handler", "common.cjs"),
        ("esm/index.handler", "index.js"),
    ],
)
def test_kinds_of_modules(node, handler, result):
    assert called(node, handler).json() == result


def test_es_module_that_awaits_at_the_top(node):
    assert called(node, "module.handler").json()["boot"] == "awaited at the top"


@pytest.mark.parametrize("handler", ["layered.handler", "layered_cjs.handler"])
def test_packages_of_node_path(node, handler, tmp_path):
    if handler == "layered_cjs.handler" and node.major < 22:
        pytest.skip("Node.js 20 has hooks for import only where the function itself is an ES module")
    package = tmp_path / "opt" / "nodejs" / "node_modules" / "from-a-layer"
    package.mkdir(parents=True)
    (package / "package.json").write_text(
        '{"type": "module", "exports": {"import": "./index.js", "require": "./index.cjs"}}'
    )
    (package / "index.js").write_text("export default 'a layer';")
    (package / "index.cjs").write_text("module.exports = 'a layer';")
    task = tmp_path / "task"
    task.mkdir()
    suffix = "cjs" if "cjs" in handler else "mjs"
    (task / f"{handler.split('.')[0]}.{suffix}").write_text((FUNCTIONS / "nodejs" / f"layered.{suffix}").read_text())
    path = f"{tmp_path}/elsewhere/node_modules:{package.parent}:{task}"
    assert called(node, handler, task_root=task, NODE_PATH=path).json() == ["a layer", "a layer"]


@pytest.fixture(params=[node for node in NODES if node.major < 24], ids=str)
def callback_node(request):
    return request.param


@pytest.mark.parametrize(
    "handler,result",
    [
        ("handler", {"value": 5}),
        ("waiting", ["timer"]),
        ("hurrying", []),
        ("later", 5),
        ("succeed", 5),
        ("done", 5),
        ("twice", "first"),
        ("returning", None),
        ("never", None),
    ],
)
def test_callbacks(callback_node, handler, result):
    with callback_node.start(f"callbacks.{handler}") as host:
        host.ready()
        for _ in range(3):
            assert host.call({"value": 5}).json() == result


@pytest.mark.parametrize(
    "handler,error_type,message",
    [
        ("failing", "TypeError", "not this way"),
        ("failingWithText", "string", "only text"),
        ("fail", "RangeError", "too far"),
        ("throwing", "EvalError", "at once"),
    ],
)
def test_callback_errors(callback_node, handler, error_type, message):
    with callback_node.start(f"callbacks.{handler}") as host:
        host.ready()
        for _ in range(2):
            answer = host.call({})
            assert not answer.ok
            assert (answer.json()["errorType"], answer.json()["errorMessage"]) == (error_type, message)


@pytest.fixture(params=[node for node in NODES if node.major >= 24], ids=str)
def modern_node(request):
    return request.param


def test_callback_handlers_are_refused(modern_node):
    with modern_node.start("callbacks.handler") as host:
        error = host.init_error()
        assert error["errorType"] == "Runtime.CallbackHandlerDeprecated"
        assert error["errorMessage"].startswith(
            "ERROR: AWS Lambda has removed support for callback-based function handlers"
        )


def test_returned_value_is_the_answer(modern_node):
    assert called(modern_node, "callbacks.returning").json() == "returned"
    assert called(modern_node, "callbacks.throwing").json()["errorType"] == "EvalError"


def test_promise_that_is_never_fulfilled_ends_the_process(modern_node):
    with modern_node.start("callbacks.never") as host:
        host.ready().send({})
        assert host.exit_code() == 0


def test_declared_version_goes_before_the_interpreters(node):
    """A tree that stands in for another version behaves as that version."""
    answer = called(node, "callbacks.returning", execution_env="AWS_Lambda_nodejs20.x")
    assert answer.payload == b"null"
    answer = called(node, "callbacks.returning", execution_env="AWS_Lambda_nodejs24.x")
    assert answer.payload == b'"returned"'


@pytest.mark.parametrize(
    "result,payload",
    [
        ("undefined", "null"),
        ("null", "null"),
        ("function", "null"),
        ("date", '"1970-01-01T00:00:00.000Z"'),
        ("half a pair", '"\\ud83d"'),
    ],
)
def test_results(node, result, payload):
    assert called(node, "results.handler", {"result": result}).payload.decode() == payload


@pytest.mark.parametrize(
    "result,error_type,message",
    [
        ("throw text", "string", "only text"),
        ("throw object", "Own", "made by hand"),
        ("long message", "Error", "x" * 131_072),
    ],
)
def test_thrown(node, result, error_type, message):
    answer = called(node, "results.handler", {"result": result})
    assert not answer.ok
    assert (answer.json()["errorType"], answer.json()["errorMessage"]) == (error_type, message)


def test_nothing_thrown_is_an_error_too(node):
    assert not called(node, "results.handler", {"result": "throw nothing"}).ok


def test_result_that_cannot_be_written(node):
    error = called(node, "results.handler", {"result": "bigint"}).json()
    assert error["errorType"] == ("Runtime.JSONStringifyError" if node.major >= 24 else "Error")
    assert error["errorMessage"] == "Unable to stringify response body"


def test_event_that_is_not_json(node):
    with node.suite() as host:
        assert host.call(b"{").json()["errorType"] == "SyntaxError"


def test_error_entry_in_the_log(node):
    with node.start("results.handler") as host:
        answer = host.ready().call({"result": "code"})
        line = host.printed(answer.mark, 1)
        entry = re.fullmatch(rf"{TIME}\t{request_id(1)}\tERROR\tInvoke Error \t(.*)\n", line)
        fields = json.loads(entry[1])
        assert list(fields) == ["errorType", "errorMessage", "code", "detail", "stack"]
        assert fields["code"] == "E_OWN" and fields["detail"] == {"a": 1}


def test_console(node):
    with node.start("logging.handler") as host:
        answer = host.ready().call({})
        assert len(host.printed(answer.mark).encode()) == answer.mark
        lines = host.output[1].decode().splitlines()
        assert host.output[2] == b"raw err\n"
        for line, level, text in zip(
            lines, ("INFO", "DEBUG", "WARN", "ERROR"), ("a line 1 { a: true }", "for developers", "careful", "wrong")
        ):
            assert re.fullmatch(rf"{TIME}\t{request_id(1)}\t{level}\t{re.escape(text)}", line)
        assert lines[4:] == ["raw out"]


def test_console_in_json(node):
    with node.start("logging.handler", AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="WARN") as host:
        answer = host.ready().call({})
        host.printed(answer.mark)
        entries = [json.loads(line) for line in host.output[1].splitlines()[:-1]]
        assert [(entry["level"], entry["message"]) for entry in entries] == [("WARN", "careful"), ("ERROR", "wrong")]
        assert entries[0]["requestId"] == request_id(1)


def test_no_output_is_lost_at_exit(node):
    with node.start("logging.muchThenExit") as host:
        host.ready().send({"bytes": 1_000_000})
        assert host.exit_code() == 0
        assert len(host.output[1]) == 1_000_000


def test_output_of_children(node):
    with node.start("logging.child") as host:
        assert host.ready().call({}).mark <= 6
        assert host.printed(6) == "child\n"


@pytest.mark.parametrize(
    "handler,code,error_type,message",
    [
        ("rejection", 128, "Runtime.UnhandledPromiseRejection", "RangeError: nobody awaited this"),
        ("exception", 129, "TypeError", "nobody caught this"),
    ],
)
def test_errors_that_nobody_catches(node, handler, code, error_type, message):
    with node.start(f"crashing.{handler}") as host:
        answer = host.ready().call({})
        assert not answer.ok
        assert (answer.json()["errorType"], answer.json()["errorMessage"]) == (error_type, message)
        assert host.exit_code() == code
        assert ("Unhandled Promise Rejection" if code == 128 else "Uncaught Exception") in host.output[1].decode()


def test_streamed_answer(node):
    with node.start("streaming.handler") as host:
        host.ready()
        for call in (1, 2):
            answer = host.call({"last": "end"})
            assert answer.ok and answer.payload.decode() == f'{request_id(call)} bytes {{"object":true}}end'
            assert answer.frames > 1


def test_streamed_http_answer(node):
    payload = called(node, "streaming.http").payload
    assert payload == b'{"statusCode":201,"headers":{"x-own":"1"}}' + bytes(8) + b"body"


def test_streamed_answer_beyond_the_limit_of_others(node):
    answer = called(node, "streaming.large", {"blocks": 150})
    assert answer.ok and answer.payload == b"x" * 15_000_000


@pytest.mark.parametrize(
    "handler,error_type,message",
    [
        ("failing", "RangeError", "in the middle"),
        ("unfinished", "Error", "Response stream is not finished."),
        ("synchronous", "Error", "Streaming does not support non-async handlers."),
    ],
)
def test_streams_that_fail(node, handler, error_type, message):
    with node.start(f"streaming.{handler}") as host:
        host.ready()
        for _ in range(2):
            answer = host.call({})
            assert not answer.ok
            assert (answer.json()["errorType"], answer.json()["errorMessage"]) == (error_type, message)


def test_context_has_the_shape_of_its_version(node, tmp_path):
    (tmp_path / "index.js").write_text("exports.handler = async (event, context) => Object.keys(context);")
    keys = called(node, "index.handler", task_root=tmp_path).json()
    common = {
        "functionVersion",
        "functionName",
        "memoryLimitInMB",
        "logGroupName",
        "logStreamName",
        "clientContext",
        "identity",
        "invokedFunctionArn",
        "awsRequestId",
        "tenantId",
        "getRemainingTimeInMillis",
    }
    older = {"callbackWaitsForEmptyEventLoop", "succeed", "fail", "done"}
    assert set(keys) == common | ({"xRayTraceId"} if node.major >= 24 else older)
