"""Sandboxes that are started ahead: a call takes one, it becomes its function's alone, and shows nothing of any other; instances that idle are frozen."""

import contextlib
import os
import pathlib
import signal
import time

import pytest

from calls import answer_of, many_callers, wait_until
from functions import deploy, fresh_name, wait, zip_of
from host_view import agent_pid, identity, leftovers, sandboxes, stems
from server import serving

ENGINES = [name for name in os.environ.get("WARREN_TEST_ENGINES", "docker,runc,gvisor").split(",") if name]
FREEZE_S = 2
# Longer than the start of any.
SETTLED_S = 2
# Until the end of a process is known to the server, with much to spare.
DEAD_S = 1
LANGUAGES = ["python3.13", "nodejs20.x"]

# All that a function can learn of where it is: its environment, its files, other processes, mounts.
LOOK = {
    "python3.13": (
        "app.py",
        """
import os, pathlib, time

def read(path):
    try:
        return pathlib.Path(path).read_bytes().decode(errors="replace").replace("\\0", "\\n")
    except OSError as error:
        return str(error)

def handler(event, context):
    if "fill" in event:
        kept = b"x" * (event["fill"] << 20)
        return len(kept)
    if "clock" in event:
        return time.process_time()
    processes = [name for name in os.listdir("/proc") if name.isdigit()]
    files = [os.path.join(folder, name) for place in ("/var/task", "/tmp", "/run", "/home", "/root", "/opt", "/dev/shm")
             for folder, _folders, names in os.walk(place) for name in names]
    return {
        "environment": dict(os.environ),
        "beginning": {number: read(f"/proc/{number}/environ") for number in processes},
        "commands": {number: read(f"/proc/{number}/cmdline") for number in processes},
        "files": {name: read(name)[:10000] for name in files if not name.startswith("/dev/shm/")},
        "mounts": read("/proc/self/mountinfo"),
        "folder": os.getcwd(),
        "listed": sorted(os.listdir(".")),
        "name": context.function_name,
        "memory": context.memory_limit_in_mb,
    }
""",
        "app.handler",
    ),
    "nodejs20.x": (
        "index.js",
        """
const fs = require('node:fs');
const path = require('node:path');

function read(file) {
  try {
    return fs.readFileSync(file, 'utf8').replaceAll('\\0', '\\n');
  } catch (error) {
    return String(error);
  }
}

function walk(folder) {
  let entries = [];
  try {
    entries = fs.readdirSync(folder, { withFileTypes: true });
  } catch {}
  return entries.flatMap((entry) => {
    const name = path.join(folder, entry.name);
    return entry.isDirectory() ? walk(name) : entry.isFile() ? [name] : [];
  });
}

exports.handler = async (event, context) => {
  if ('fill' in event) {
    return Buffer.alloc(event.fill << 20, 1).length;
  }
  const processes = fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
  const of = (name) => Object.fromEntries(processes.map((number) => [number, read(`/proc/${number}/${name}`)]));
  return {
    environment: { ...process.env },
    beginning: of('environ'),
    commands: of('cmdline'),
    files: Object.fromEntries(['/var/task', '/tmp', '/run', '/home', '/root', '/opt'].flatMap(walk).map((name) => [name, read(name).slice(0, 10000)])),
    mounts: read('/proc/self/mountinfo'),
    folder: process.cwd(),
    listed: fs.readdirSync('.').sort(),
    name: context.functionName,
    memory: context.memoryLimitInMB,
  };
};
""",
        "index.handler",
    ),
}


def deploy_look(client, engine, runtime, secret="", **overrides):
    file, source, handler = LOOK[runtime]
    comment = "#" if file.endswith(".py") else "//"
    request = {
        "Runtime": runtime,
        "Handler": handler,
        "Code": {"ZipFile": zip_of(f"{comment} {secret}\n{source}", file)},
        "Tags": {"warren:engine": engine},
        "Environment": {"Variables": {"SECRET": secret}},
    }
    return deploy(client, "", fresh_name(f"look-{engine}"), **{**request, **overrides})


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def warren(tmp_path_factory, engine):
    folder = tmp_path_factory.mktemp("stems") / "data"
    with serving(folder, WARREN_STEM_MEMORY_MB="1000", WARREN_FREEZE_S=str(FREEZE_S)) as server:
        yield server


@pytest.fixture(scope="module")
def client(warren):
    return many_callers(warren)


def first_call(warren, client, name, event=None):
    """The first call of a function when a stem waits for it; it must have been claimed."""
    waiting = settled(warren)
    answer = answer_of(client, name, event or {})
    (sandbox,) = sandboxes(warren, name)
    assert instance_of(sandbox) in waiting, (sandbox, waiting)
    return answer


def settled(warren):
    """The stems, once no other has come for a while: then none is being started, and all are ready."""
    found, since = set(), time.monotonic()
    while not found or time.monotonic() < since + SETTLED_S:
        now = set(stems(warren))
        if now != found:
            found, since = now, time.monotonic()
        time.sleep(0.05)
    return found


def instance_of(sandbox):
    return sandbox["Labels"]["warren.instance"] if "Labels" in sandbox else sandbox["instance"]


@pytest.mark.parametrize("runtime", LANGUAGES)
def test_a_call_claims_what_waits_and_sees_nothing_of_others(warren, client, engine, runtime):
    """Two functions with secrets in code, environment and memory; neither finds the other's anywhere it can look."""
    secrets = ["mangrove-4711", "tamarind-0815"]
    names = [deploy_look(client, engine, runtime, secret, MemorySize=128 + 64 * at) for at, secret in enumerate(secrets)]
    for at, name in enumerate(names):
        seen = first_call(warren, client, name)
        own, other = secrets[at], secrets[1 - at]
        assert seen["name"] == name and seen["environment"]["SECRET"] == own
        assert str(seen["memory"]) == str(128 + 64 * at)
        assert seen["folder"] == "/var/task" and seen["listed"] == [LOOK[runtime][0]]
        text = str(seen)
        assert own in text
        assert other not in text and names[1 - at] not in text, text
        # Nothing tells that it was started ahead.
        assert "WARREN_STANDBY" not in seen["environment"]
    (first,), (second,) = (sandboxes(warren, name) for name in names)
    assert identity(first) != identity(second)


@pytest.mark.parametrize("runtime", LANGUAGES)
def test_the_environment_is_that_of_a_cold_start(warren, client, engine, runtime, tmp_path):
    """Claimed and started cold, a function sees the same variables; those that act at exec act."""
    variables = {"SECRET": "same", "COLOUR": "green", "PATH": "/opt/own:/usr/bin:/bin"}
    name = deploy_look(client, engine, runtime, "same", Environment={"Variables": variables})
    claimed = first_call(warren, client, name)["environment"]
    with serving(tmp_path / "data", WARREN_STEM_MEMORY_MB="0") as cold_server:
        other = many_callers(cold_server)
        twin = deploy_look(other, engine, runtime, "same", Environment={"Variables": variables})
        cold = answer_of(other, twin, {})["environment"]
        assert stems(cold_server) == []
    own = {"AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_FUNCTION_NAME", "_X_AMZN_TRACE_ID"}
    assert {k: v for k, v in claimed.items() if k not in own} == {k: v for k, v in cold.items() if k not in own}
    assert claimed.keys() == cold.keys()


def test_variables_that_act_at_exec_act(warren, client, engine):
    source = "import sys, time\ndef handler(event, context):\n    return [sys.flags.optimize, time.tzname[0], '/var/task/lib' in sys.path]\n"
    variables = {"PYTHONOPTIMIZE": "1", "TZ": "Asia/Tokyo", "PYTHONPATH": "/var/task/lib"}
    name = fresh_name("exec")
    deploy(
        client,
        source,
        name,
        Runtime="python3.13",
        Tags={"warren:engine": engine},
        Environment={"Variables": variables},
    )
    optimized, zone, own_path = first_call(warren, client, name)
    assert (optimized, own_path) == (1, True)
    assert zone in ("JST", "Asia"), zone


def test_memory_is_the_function_s(warren, client, engine):
    """What was started with 128 MB holds 300 in a function that has 512, and no more than 128 in one that has that."""
    large = deploy_look(client, engine, "python3.13", MemorySize=512)
    assert first_call(warren, client, large, {"fill": 300}) == 300 << 20
    small = deploy_look(client, engine, "python3.13", MemorySize=128)
    first_call(warren, client, small)
    answer = client.invoke(FunctionName=small, Payload=b'{"fill": 300}')
    assert answer["FunctionError"] == "Unhandled" and b"signal: killed" in answer["Payload"].read()


# What a function sizes itself by: the heap that its interpreter allows itself, and the memory of the machine as it is shown.
SIZES = {
    "python3.13": "def handler(event, context):\n    return [0, next(line for line in open('/proc/meminfo') if line.startswith('MemTotal'))]\n",
    "nodejs20.x": "exports.handler = async () => [require('node:v8').getHeapStatistics().heap_size_limit, require('node:fs').readFileSync('/proc/meminfo', 'utf8').split('\\n')[0]];\n",
}


@pytest.mark.parametrize("runtime", LANGUAGES)
def test_what_is_sized_by_memory_is_as_after_a_cold_start(warren, client, engine, runtime, tmp_path):
    """V8 sizes its heap once, and gVisor its machine: a claimed sandbox is as large as one that was started for its function."""
    file, _source, handler = LOOK[runtime]
    request = {
        "Runtime": runtime,
        "Handler": handler,
        "Code": {"ZipFile": zip_of(SIZES[runtime], file)},
        "MemorySize": 1024,
        "Tags": {"warren:engine": engine},
    }
    heap, machine = first_call(warren, client, deploy(client, "", fresh_name("sized"), **request))
    with serving(tmp_path / "data", WARREN_STEM_MEMORY_MB="0") as cold_server:
        other = many_callers(cold_server)
        cold = answer_of(other, deploy(other, "", fresh_name("cold"), **request))
    assert [heap, machine.split()] == [cold[0], cold[1].split()]
    if runtime.startswith("nodejs"):
        # V8 takes half of the memory, or thereabouts; of 128 MB it would be a fifth of this at most.
        assert heap > 300 << 20, heap
    if engine == "gvisor":
        assert int(machine.split()[1]) == 1 << 20, machine


def test_an_update_of_the_code_is_seen_at_once(warren, client, engine):
    name = deploy(client, "def handler(e, c):\n    return 1\n", fresh_name("update"), Tags={"warren:engine": engine})
    assert first_call(warren, client, name) == 1
    client.update_function_code(FunctionName=name, ZipFile=zip_of("def handler(e, c):\n    return 2\n"))
    wait(client, "function_updated_v2", name)
    assert answer_of(client, name, {}) == 2


def test_a_stem_that_dies_is_replaced_and_never_given_out(warren, client, engine):
    name = deploy_look(client, engine, "python3.13")
    waiting = settled(warren)
    runtimes = runtimes_of(warren, engine, waiting)
    assert runtimes
    for pid in runtimes.values():
        os.kill(pid, signal.SIGKILL)
    # An end takes a moment to reach the server; whoever is given a stem within it is answered as by an instance that dies in its call.
    time.sleep(DEAD_S)
    assert answer_of(client, name, {})["name"] == name
    (sandbox,) = sandboxes(warren, name)
    assert instance_of(sandbox) not in runtimes, (sandbox, runtimes)
    wait_until(lambda: set(stems(warren)) - set(waiting), 60, "another stem waits")
    wait_until(lambda: not set(stems(warren)) & set(runtimes), 60, "those that died are removed")


def runtimes_of(warren, engine, stems):
    """The Python runtimes that wait in stems, by stem; on gvisor, where the host sees no process of theirs, the sentries of all."""
    if engine == "gvisor":
        return {stem: int((warren.folder / "run" / stem / "pid").read_text()) for stem in stems}
    found = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        # It may end meanwhile.
        with contextlib.suppress(OSError):
            if b"bootstrap.py" in (process / "cmdline").read_bytes() and b"WARREN_STANDBY=1" in (process / "environ").read_bytes():
                # Docker's groups have the container's name, its mounts that of the instance.
                place = (process / "cgroup").read_text() + (process / "mountinfo").read_text()
                found.update({stem: int(process.name) for stem in stems if stem in place})
    return found


def test_an_idle_instance_is_frozen_and_thaws_for_its_call(warren, client, engine):
    """Frozen, all of it stands still: a thread that would count on does not; its call comes as quickly as before, and it can be ended."""
    source = """
import threading, time
count = 0
def on():
    global count
    while True:
        count += 1
        time.sleep(0.005)
threading.Thread(target=on, daemon=True).start()
def handler(event, context):
    return count
"""
    name = deploy(client, source, fresh_name("freeze"), Runtime="python3.13", Tags={"warren:engine": engine})
    before = answer_of(client, name, {})
    time.sleep(1)
    running = answer_of(client, name, {})
    # It counts while it is not frozen.
    assert running > before + 20
    (sandbox,) = sandboxes(warren, name)
    time.sleep(FREEZE_S + 1)
    ticks = cpu_ticks(sandbox)
    time.sleep(3)
    assert cpu_ticks(sandbox) == ticks
    after = answer_of(client, name, {})
    assert running < after < running + (FREEZE_S + 2) * 200
    assert identity(sandbox) == identity(sandboxes(warren, name)[0])
    time.sleep(FREEZE_S + 1)
    client.delete_function(FunctionName=name)
    wait_until(lambda: not sandboxes(warren, name), 30, "a frozen instance is removed")


def cpu_ticks(sandbox):
    """Processor time of the group of a sandbox, in nanoseconds or, version 2, microseconds."""
    lines = pathlib.Path(f"/proc/{agent_pid(sandbox)}/cgroup").read_text().splitlines()
    paths = {controllers: path for _number, controllers, path in (line.split(":", 2) for line in lines)}
    for controllers, path in paths.items():
        if "cpuacct" in controllers.split(","):
            return int(pathlib.Path(f"/sys/fs/cgroup/cpuacct{path}/cpuacct.usage").read_text())
    stat = pathlib.Path(f"/sys/fs/cgroup{paths['']}/cpu.stat").read_text()
    return int(dict(line.split(" ") for line in stat.splitlines())["usage_usec"])


def test_after_a_crash_nothing_is_left_of_what_waited(warren, client, engine):
    deploy_look(client, engine, "python3.13")
    wait_until(lambda: stems(warren), 60, "a stem waits")
    warren.process.kill()
    warren.process.wait()
    warren.start()
    warren.stop()
    assert leftovers(warren) == {}
    warren.start()


@pytest.mark.parametrize("other", [name for name in ENGINES if name != "runc"])
def test_a_start_that_hangs_holds_up_no_other_engine_and_no_stop(tmp_path, other):
    """A program that never comes back: stems of another engine start all the same, and the server stops without waiting for it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    runc = programs / "runc"
    runc.write_text('#!/bin/sh\n[ "$1" = --version ] && { echo "runc version 9"; exit; }\nexec sleep 600\n')
    runc.chmod(0o755)
    with serving(tmp_path / "data", WARREN_STEM_MEMORY_MB="400", PATH=f"{programs}:{os.environ['PATH']}") as server:
        client = many_callers(server)
        deploy_look(client, "runc", "python3.13")
        wait_until(lambda: stems(server), 30, "a start hangs")
        name = deploy_look(client, other, "python3.13")
        wait_until(lambda: len(stems(server)) > 1, 30, "another engine's stem is there")
        time.sleep(SETTLED_S)
        assert answer_of(client, name, {})["name"] == name
        begin = time.monotonic()
    assert time.monotonic() - begin < 15


def test_no_budget_no_stems(tmp_path, engine):
    with serving(tmp_path / "data", WARREN_STEM_MEMORY_MB="0") as server:
        client = many_callers(server)
        name = deploy_look(client, engine, "python3.13")
        assert answer_of(client, name, {})["name"] == name
        time.sleep(1)
        assert stems(server) == []
