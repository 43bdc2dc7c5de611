"""Many callers, callers that go away, limits on concurrency, and code that changes under way."""

import json
import re
import socket

import botocore.exceptions
import pytest
from botocore.config import Config

import languages
from calls import Background, answer_of, call, many_callers, throttled, wait_until
from functions import deploy, fresh_name, wait, zip_of
from host_view import log_lines, sandboxes
from server import Warren

# Tells which code and which instance answered, and how many calls it has finished. A caller can see that a call has begun by the marker that it prints.
WITNESS = """
import time, uuid

BOOT = uuid.uuid4().hex
finished = 0

def handler(event, context):
    global finished
    if "marker" in event:
        print(event["marker"], flush=True)
    time.sleep(event.get("sleep", 0))
    finished += 1
    return {"code": "CODE", "boot": BOOT, "finished": finished, "number": event.get("number")}
"""


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    server = Warren(tmp_path_factory.mktemp("load") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(warren):
    return many_callers(warren)


def deploy_witness(client, code="first", **overrides):
    return deploy(client, witness(code), Runtime=languages.PYTHON.runtime, **{"Timeout": 30, **overrides})


def witness(code):
    return WITNESS.replace("CODE", code)


def begin(warren, client, name, event):
    """Starts a call and returns when its handler runs."""
    marker = fresh_name("marker")
    running = Background(answer_of, client, name, {**event, "marker": marker})

    def begun():
        assert running.thread.is_alive() or running.error is None, running.error
        return any(words == marker for _, words in log_lines(warren, name))

    wait_until(begun, 30, "the call begins")
    return running


def test_many_callers_each_get_their_own_answer(client):
    name = deploy_witness(client)

    def call_on(caller):
        for turn in range(50):
            number = caller * 1000 + turn
            assert answer_of(client, name, {"number": number})["number"] == number

    for work in [Background(call_on, caller) for caller in range(16)]:
        work.join()


def test_calls_at_the_same_time_have_instances_of_their_own(warren, client):
    name = deploy_witness(client)
    answers = [work.join() for work in [Background(answer_of, client, name, {"sleep": 3}) for _ in range(8)]]
    assert len({answer["boot"] for answer in answers}) == 8
    assert len(sandboxes(warren, name)) == 8
    # What is there is used again.
    boots = {answer["boot"] for answer in answers}
    assert all(answer_of(client, name)["boot"] in boots for _ in range(20))


@pytest.mark.parametrize("manner", ["closes", "resets"])
def test_a_caller_that_goes_away_ends_nothing(warren, client, manner):
    name = deploy_witness(client)
    before = answer_of(client, name)
    if manner == "closes":
        hasty = warren.client(config=Config(retries={"total_max_attempts": 1}, read_timeout=1))
        with pytest.raises(botocore.exceptions.ReadTimeoutError):
            call(hasty, name, {"sleep": 2})
    else:
        call_and_reset(warren, client, name, {"sleep": 2})
    request = wait_until(
        lambda: [request for request, words in log_lines(warren, name) if words.startswith("START")][1:],
        10,
        "the second call begins",
    )[0]
    wait_until(lambda: (request, f"END RequestId: {request}") in log_lines(warren, name), 20, "it ends")
    report = next(words for of, words in log_lines(warren, name) if of == request and words.startswith("REPORT"))
    assert float(re.search(r"Duration: ([\d.]+) ms", report)[1]) >= 2000, "to its own end"
    assert "Status" not in report
    after = answer_of(client, name)
    assert after["boot"] == before["boot"], "on the same instance"
    assert after["finished"] == before["finished"] + 2


def call_and_reset(warren, client, name, event):
    """Sends a signed call and tears the connection down when the handler runs."""
    signed = {}

    def keep(request, **_):
        signed["request"] = request
        raise KeyError("kept")

    client.meta.events.register("before-send.lambda.Invoke", keep)
    try:
        with pytest.raises(Exception, match="kept"):
            client.invoke(FunctionName=name, Payload=json.dumps(event))
    finally:
        client.meta.events.unregister("before-send.lambda.Invoke", keep)
    request = signed["request"]
    lines = [f"{request.method} {request.url[len(warren.url):]} HTTP/1.1", "Host: %s:%d" % warren.control]
    # Values are bytes or text.
    headers = {key: value.decode() if isinstance(value, bytes) else value for key, value in request.headers.items()}
    lines += [f"{key}: {value}" for key, value in headers.items()]
    begun = len(log_lines(warren, name))
    with socket.create_connection(warren.control) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + request.body)
        wait_until(lambda: len(log_lines(warren, name)) > begun, 30, "the call begins")
        # No lingering: the close is a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_reserved_concurrency_of_one(warren, client):
    name = deploy_witness(client)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    running = begin(warren, client, name, {"sleep": 3})
    assert throttled(client, name) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert running.thread.is_alive()
    assert running.join()["finished"] == 1
    # Free again.
    assert answer_of(client, name)["finished"] == 2
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    running = begin(warren, client, name, {"sleep": 3})
    assert answer_of(client, name)["finished"] == 1, "a second instance"
    running.join()


def test_reserved_concurrency_of_zero(client):
    name = deploy_witness(client)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert throttled(client, name) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    client.delete_function_concurrency(FunctionName=name)
    assert answer_of(client, name)["finished"] == 1


def test_new_code_while_calls_run(warren, client):
    name = deploy_witness(client)
    running = [begin(warren, client, name, {"sleep": 8}) for _ in range(3)]
    client.update_function_code(FunctionName=name, ZipFile=zip_of(witness("second")))
    wait(client, "function_updated_v2", name)
    assert answer_of(client, name)["code"] == "second"
    assert any(work.thread.is_alive() for work in running), "the update came while they ran"
    assert [work.join()["code"] for work in running] == ["first"] * 3
    assert answer_of(client, name)["code"] == "second"
    # Instances with the old code go once they are done.
    wait_until(lambda: len(sandboxes(warren, name)) == 1, 30, "the old instances are gone")


def test_new_code_again_and_again_under_load(client):
    """No call fails while code changes, and none sees code that is older than what was there when it began."""
    name = deploy_witness(client, "0")
    current = [0]
    over = []

    def call_on():
        while not over:
            least = current[0]
            assert int(answer_of(client, name)["code"]) >= least

    callers = [Background(call_on) for _ in range(4)]
    try:
        for number in range(1, 4):
            client.update_function_code(FunctionName=name, ZipFile=zip_of(witness(str(number))))
            wait(client, "function_updated_v2", name)
            current[0] = number
    finally:
        over.append(True)
    for caller in callers:
        caller.join()
    assert answer_of(client, name)["code"] == "3"


def test_a_function_that_is_deleted_while_it_runs_ends_its_call(warren, client):
    name = deploy_witness(client)
    running = begin(warren, client, name, {"sleep": 3})
    client.delete_function(FunctionName=name)
    assert running.join()["code"] == "first"
    wait_until(lambda: not sandboxes(warren, name), 30, "its instances are gone")
