"""Functions whose instances are copies of one whose Init is over: faster than a start, and each copy with its own random numbers, clock and names."""

import os
import signal
import time

import pytest

import languages
from calls import Background, answer_of, call, many_callers, wait_until
from functions import deploy, fresh_name, wait, zip_of
from host_view import agent_pid, leftovers, log_lines, sandboxes
from server import Warren
from test_records import ask, calls_of

ENGINE = "gvisor"
ENGINES = [name for name in os.environ.get("WARREN_TEST_ENGINES", "docker,runc,gvisor").split(",") if name]
pytestmark = pytest.mark.skipif(ENGINE not in ENGINES, reason=f"SKIPPED: {ENGINE} is not among WARREN_TEST_ENGINES, and no other engine takes checkpoints")

# Longer than what a restore saves must be to pay.
INIT_S = 0.6
# Longer than any start, so that nobody waits for an instance to be free.
BUSY_S = 3
# How long a checkpoint may take to be made: usually 2 s.
MADE_S = 60
# By how much a clock may differ: reading it takes a call.
CLOCK_S = 5

PYTHON = """
import os, random, ssl, threading, time, uuid

time.sleep(%s)
print("init runs")
BORN = uuid.uuid4().hex
PID = os.getpid()
random.random()
ticks = []

def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.05)

threading.Thread(target=tick, daemon=True).start()

def handler(event, context):
    time.sleep(event.get("sleep", 0))
    print("in call", event.get("number"))
    return {
        "born": BORN,
        "random": [random.random(), os.urandom(8).hex(), uuid.uuid4().hex, ssl.RAND_bytes(8).hex()],
        "now": time.time(),
        "stream": [context.log_stream_name, os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]],
        "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
        "name": context.function_name,
        "ticks": len(ticks),
    }
""" % INIT_S

NODE = """
const crypto = require('node:crypto');

Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, %d);
console.log('init runs');
const born = crypto.randomUUID();
Math.random();
crypto.randomInt(100);

exports.handler = async (event, context) => {
  await new Promise((resolve) => setTimeout(resolve, 1000 * (event.sleep ?? 0)));
  console.log('in call', event.number);
  return {
    born,
    random: [Math.random(), crypto.randomUUID(), crypto.randomInt(2 ** 47), crypto.randomBytes(8).toString('hex'),
      crypto.generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' }).x],
    now: Date.now() / 1000,
    stream: [context.logStreamName, process.env.AWS_LAMBDA_LOG_STREAM_NAME],
    type: process.env.AWS_LAMBDA_INITIALIZATION_TYPE,
    name: context.functionName,
    parent: [typeof process.send, 'channel' in process, process.connected ?? null],
  };
};
""" % (1000 * INIT_S)

SOURCES = {"python3.13": ("app.py", PYTHON, "app.handler"), "nodejs20.x": ("index.js", NODE, "index.handler")}
SOURCES["nodejs22.x"] = SOURCES["nodejs24.x"] = SOURCES["nodejs20.x"]


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    with languages.server(tmp_path_factory.mktemp("snapshots") / "data") as server:
        yield server
    assert leftovers(server) == {}


@pytest.fixture(scope="module")
def client(warren):
    return many_callers(warren)


@pytest.fixture(scope="module")
def client_of_own_runtimes(warren):
    """AWS's model has no such runtime."""
    return many_callers(warren, checked=False)


def deploy_slow(client, runtime="python3.13", source=None, **overrides):
    file, default, handler = SOURCES[runtime]
    request = {
        "Runtime": runtime,
        "Handler": handler,
        "Code": {"ZipFile": zip_of(source or default, file)},
        "Tags": {"warren:engine": ENGINE},
        "SnapStart": {"ApplyOn": "PublishedVersions"},
        "Timeout": 30,
        "MemorySize": 256,
    }
    return deploy(client, "", fresh_name("slow"), **{**request, **overrides})


def state_of(warren, name):
    return ask(warren, f"/functions/{name}")[1].get("snap_start_state")


def reach(warren, name, words):
    """Waits until that is what has come of the function's wish."""
    deadline = time.monotonic() + MADE_S
    while words not in (state := state_of(warren, name)):
        assert time.monotonic() < deadline, (state, words)
        time.sleep(0.05)


def together(client, name, count, **event):
    """Answers of calls that no instance can take two of."""
    calls = [Background(answer_of, client, name, {"sleep": BUSY_S, "number": number, **event}) for number in range(count)]
    return [one.join() for one in calls]


def images(warren):
    return sorted(path.name for path in (warren.folder / "checkpoints").iterdir())


@pytest.mark.parametrize("runtime", SOURCES)
def test_copies_share_init_and_nothing_else(warren, client, runtime):
    name = deploy_slow(client, runtime)
    assert client.get_function_configuration(FunctionName=name)["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    first = answer_of(client, name, {})
    assert first["type"] == "on-demand"
    reach(warren, name, "instances are restored")
    answers = together(client, name, 4)
    copies = [answer for answer in answers if answer["born"] != first["born"]]
    assert len(copies) == 3 and len({copy["born"] for copy in copies}) == 1, answers
    for at, kind in enumerate(first["random"]):
        assert len({answer["random"][at] for answer in answers}) == len(answers), (kind, answers)
    for copy in copies:
        assert abs(copy["now"] - time.time()) < CLOCK_S
        assert copy["type"] == "snap-start" and copy["name"] == name
        assert copy["stream"][0] == copy["stream"][1]
        assert copy.get("parent", ["undefined", False, None]) == ["undefined", False, None]
    assert len({answer["stream"][0] for answer in answers}) == 4
    if runtime.startswith("python"):
        more = together(client, name, 4)
        assert all(answer["ticks"] > 20 for answer in more), "its threads go on"

    records = calls_of(warren, name, 5)
    waits = sorted(record["wait"] for record in records)
    assert waits.count("restore") == 3, records
    ready = {wait: [record["wait_us"] + record["init_us"] for record in records if record["wait"] == wait] for wait in ("restore", "start", "claim")}
    print("ready after, ms:", {wait: [round(us / 1000) for us in times] for wait, times in ready.items() if times})
    # Output of copies is counted from where it stood: no call waits for what came before.
    assert all(record["closing_us"] < 90_000 for record in records if record["wait"] == "restore"), records
    words = [words for _request, words in log_lines(warren, name)]
    assert sum("init runs" in line for line in words) == 2, "once for the first, once for all copies"
    for number in range(4):
        assert any(f"in call {number}" in line for line in words)


def test_hooks_run_around_the_checkpoint(warren, client):
    source = PYTHON + """
from snapshot_restore_py import register_after_restore, register_before_snapshot

trace = []
register_before_snapshot(trace.append, "before, registered first")
register_before_snapshot(trace.append, "before, registered last")

@register_after_restore
def renewed():
    trace.append("after")

def handler(event, context, inner=handler):
    return {**inner(event, context), "trace": trace}
"""
    name = deploy_slow(client, source=source)
    assert answer_of(client, name, {})["trace"] == []
    reach(warren, name, "instances are restored")
    traces = sorted(answer["trace"] for answer in together(client, name, 2))
    assert traces == [[], ["before, registered last", "before, registered first", "after"]]


def test_unmodified_clients_wait_in_restore_next(warren, client_of_own_runtimes):
    """awslambdaric, as it comes from PyPI: it asks /runtime/restore/next when it is told of a snapshot, and goes on in each copy."""
    client = client_of_own_runtimes
    source = PYTHON.replace('os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]', 'os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")')
    # What this client's copies have of their own is the function's to see to.
    source = source.replace("[random.random(), os", "[os").replace(", ssl.RAND_bytes(8).hex()", "")
    name = deploy_slow(client, source=source, Runtime=languages.PYTHON_CLIENT.runtime)
    first = answer_of(client, name, {})
    reach(warren, name, "instances are restored")
    answers = together(client, name, 3)
    copies = [answer for answer in answers if answer["born"] != first["born"]]
    assert len(copies) == 2 and len({copy["born"] for copy in copies}) == 1
    for at in range(2):
        assert len({answer["random"][at] for answer in answers}) == 3
    assert all(copy["type"] == "snap-start" for copy in copies)


def test_the_client_for_rust_is_restored_too(warren, client):
    if missing := languages.RUST.missing():
        pytest.skip(f"SKIPPED: {missing}")
    wrapped = {"bootstrap": b"#!/bin/sh\nsleep 0.6\nexec /var/task/rust\n", "rust": languages.RUST_BOOTSTRAP.read_bytes()}
    name = deploy_slow(client, Runtime=languages.RUST.runtime, Handler="bootstrap", Code={"ZipFile": languages.zip_of_files(wrapped)})
    assert answer_of(client, name, {"do": "echo"}) == {"do": "echo"}
    reach(warren, name, "instances are restored")
    (sandbox,) = sandboxes(warren, name)
    os.kill(agent_pid(sandbox), signal.SIGKILL)
    wait_until(lambda: sandboxes(warren, name) == [], 30, "the killed instance is gone")
    assert answer_of(client, name, {"do": "echo", "again": True}) == {"do": "echo", "again": True}
    assert calls_of(warren, name, 2)[0]["wait"] == "restore"


def test_a_client_that_knows_of_no_snapshots_is_started(warren, client_of_own_runtimes):
    """aws-lambda-ric for Node.js asks for its first call at once."""
    client = client_of_own_runtimes
    language = languages.NODE_CLIENT
    if missing := language.missing():
        pytest.skip(f"SKIPPED: {missing}")
    name = deploy_slow(client, "nodejs20.x", Runtime=language.runtime)
    answer_of(client, name, {})
    reach(warren, name, "not used: Runtime.NotRestorable: the runtime asked for its first call without GET /runtime/restore/next")
    assert answer_of(client, name, {})["type"] == "on-demand"


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda source: "open('/tmp/kept', 'w').write('x')\n" + source, "its Init left files in /tmp"),
        (
            lambda source: source + "\nimport snapshot_restore_py\nsnapshot_restore_py.register_before_snapshot(lambda: 1 / 0)\n",
            "Runtime.BeforeSnapshotError: division by zero",
        ),
        (lambda source: source.replace("time.sleep(%s)" % INIT_S, ""), "Init is quick"),
    ],
    ids=["files", "hook", "quick"],
)
def test_what_can_not_be_copied_is_started_and_says_why(warren, client, change, words):
    name = deploy_slow(client, source=change(PYTHON))
    answers = [answer_of(client, name, {})]
    reach(warren, name, words)
    answers += together(client, name, 2)
    assert all(answer["type"] == "on-demand" for answer in answers)
    assert {record["wait"] for record in calls_of(warren, name, 3)} <= {"none", "start", "claim"}


def test_copies_that_fail_are_started_instead(warren, client):
    source = PYTHON + "\nimport snapshot_restore_py\nsnapshot_restore_py.register_after_restore(lambda: 1 / 0)\n"
    name = deploy_slow(client, source=source)
    answer_of(client, name, {})
    reach(warren, name, "instances are restored")
    assert [answer["type"] for answer in together(client, name, 4)] == ["on-demand"] * 4
    reach(warren, name, "not used: 2 restores failed")
    assert "ZeroDivisionError" in state_of(warren, name) or "AfterRestoreError" in state_of(warren, name)


def test_other_engines_say_that_they_take_none(warren, client):
    name = deploy_slow(client, Tags={"warren:engine": "runc"})
    answer_of(client, name, {})
    assert state_of(warren, name) == "not used: the engine runc takes no checkpoints"
    client.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "None"})
    wait(client, "function_updated_v2", name)
    assert state_of(warren, name) is None


def test_an_image_lives_as_long_as_its_version(warren, client):
    before = images(warren)
    name = deploy_slow(client)
    born = answer_of(client, name, {})["born"]
    reach(warren, name, "instances are restored")
    (image,) = set(images(warren)) - set(before)
    folder = warren.folder / "checkpoints" / image
    assert folder.stat().st_uid == 0 and all(path.stat().st_uid == 0 for path in folder.iterdir())
    assert warren.folder.stat().st_mode & 0o077 == 0, "nobody else comes near it"
    client.update_function_code(FunctionName=name, ZipFile=zip_of(PYTHON.replace("in call", "in another call"), "app.py"))
    wait(client, "function_updated_v2", name)
    assert answer_of(client, name, {})["born"] != born
    wait_until(lambda: image not in images(warren), 30, "the image of the code before is gone")
    reach(warren, name, "instances are restored")
    client.delete_function(FunctionName=name)
    wait_until(lambda: images(warren) == before, 30, "the deleted function's image is gone")


def test_a_copy_that_is_killed_is_replaced_by_another(warren, client):
    name = deploy_slow(client)
    first = answer_of(client, name, {})["born"]
    reach(warren, name, "instances are restored")
    for _ in range(2):
        (sandbox,) = sandboxes(warren, name)
        os.kill(agent_pid(sandbox), signal.SIGKILL)
        wait_until(lambda: sandboxes(warren, name) == [], 30, "the killed instance is gone")
        assert answer_of(client, name, {})["born"] != first


def test_a_server_that_was_killed_leaves_no_image(tmp_path):
    warren = Warren(tmp_path / "data").start()
    try:
        client = many_callers(warren)
        name = deploy_slow(client)
        answer_of(client, name, {})
        reach(warren, name, "instances are restored")
        assert images(warren)
        warren.process.kill()
        warren.process.wait()
        warren.start()
        assert images(warren) == []
        assert answer_of(many_callers(warren), name, {})["type"] == "on-demand"
    finally:
        warren.stop()
    assert leftovers(warren) == {}


def test_without_room_on_the_disk_instances_are_started(tmp_path):
    warren = Warren(tmp_path / "data", WARREN_CHECKPOINT_DISK_MB="100").start()
    try:
        client = many_callers(warren)
        name = deploy_slow(client)
        answers = together(client, name, 2)
        assert [answer["type"] for answer in answers] == ["on-demand"] * 2
        reach(warren, name, "no room for a checkpoint")
        assert images(warren) == []
    finally:
        warren.stop()
