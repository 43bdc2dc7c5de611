"""What a function may use and reach, and that one which goes too far harms nobody: the next call and the neighbour are right."""

import errno
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

import languages
from calls import Neighbour, answer_of, call, wait_until
from functions import deploy, fresh_name
from host_view import agent_pid, freeze_whole, identity, process_of, process_status, sandboxes
from otherwise import assert_small, expected
from server import BINARY, Warren

MEMORY_MB = 128
TMP_MB = 512
RUNTIME_UID, RUNTIME_GID = "993", "990"
# Idle for so long, an instance is asked whether it lives before it gets a call.
PING_AFTER_S = 10

# Looks around in its sandbox.
PROBE = """
import os, pathlib, socket

def handler(event, context):
    return globals()[event["do"]](event)

def status(event):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return dict(line.split(":\\t", 1) for line in lines)

def write(event):
    return attempt(lambda: pathlib.Path(event["path"]).write_text("x"))

def read(event):
    return attempt(lambda: os.listdir(event["path"]))

def connect(event):
    return attempt(lambda: socket.create_connection((event["host"], event["port"]), timeout=1))

def attempt(work):
    try:
        return {"done": str(work())}
    except OSError as error:
        return {"refused": os.strerror(error.errno)}

def interfaces(event):
    return [name for _, name in socket.if_nameindex()]

def descriptors(event):
    links = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            links[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            pass
    return links

def burst(event):
    return len(b"x" * (event["mb"] << 20))

def environment(event):
    return dict(os.environ)

def processes(event):
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
"""


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    server = Warren(tmp_path_factory.mktemp("limits") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(warren):
    return warren.client()


@pytest.fixture(scope="module")
def suite(client):
    """The function that goes too far."""
    return languages.deploy_suite(client, languages.PYTHON, Timeout=60, MemorySize=MEMORY_MB)


@pytest.fixture(scope="module")
def neighbour(client):
    return languages.deploy_suite(client, languages.PYTHON, Timeout=30)


@pytest.fixture(scope="module")
def probe(client):
    return deploy(client, PROBE, Runtime=languages.PYTHON.runtime, Timeout=30)


def assert_next_call_is_right(client, name):
    assert answer_of(client, name, {"do": "unicode", "text": "ü"}) == {
        "text": "ü",
        "bytes": 2,
        "own": "Grüße, 世界 🦀",
    }


def test_timeout(client, neighbour):
    sleeper = languages.deploy_suite(client, languages.PYTHON, Timeout=1)
    with Neighbour(client, neighbour):
        for attempt in ("first", "second"):
            answer_of(client, sleeper, {"do": "count"})
            done = call(client, sleeper, {"do": "sleep", "ms": 60_000})
            if done.seconds < 1.5:
                break
            # A machine that others use as well may need another try; a third would hide something.
            print(f"the {attempt} call took {done.seconds:.2f} s")
        assert 1 <= done.seconds < 1.5
        words = "Task timed out after 1.00 seconds"
        assert done.error == "Unhandled"
        assert done.json() == {
            "errorType": "Sandbox.Timedout",
            "errorMessage": f"RequestId: {done.request_id} Error: {words}",
        }
        assert re.search(rf"Z {done.request_id} {words}\n", done.log)
        assert re.search(r"Duration: 1000\.00 ms\t.*Status: timeout", done.log)
        assert_next_call_is_right(client, sleeper)


def test_too_much_memory(client, suite, neighbour):
    with Neighbour(client, neighbour):
        before = answer_of(client, suite, {"do": "count"})["boot"]
        done = call(client, suite, {"do": "memory", "mb": 1024})
        assert done.error == "Unhandled"
        assert done.json() == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {done.request_id} Error: Runtime exited with error: signal: killed",
        }
        assert f"Memory Size: {MEMORY_MB} MB\tMax Memory Used: {MEMORY_MB} MB\t" in done.log
        assert "Status: error\tError Type: Runtime.ExitError" in done.log
        assert_next_call_is_right(client, suite)
        assert answer_of(client, suite, {"do": "count"})["boot"] != before


def test_memory_that_was_used_is_reported(client, suite):
    done = call(client, suite, {"do": "memory", "mb": 64})
    assert done.json() == {"allocated_mb": 64}
    used = int(re.search(r"Max Memory Used: (\d+) MB", done.log)[1])
    assert 64 <= used < MEMORY_MB


def test_a_short_burst_of_memory_is_reported(client, probe):
    done = call(client, probe, {"do": "burst", "mb": 64})
    assert done.json() == 64 << 20
    used = int(re.search(r"Max Memory Used: (\d+) MB", done.log)[1])
    assert used < MEMORY_MB
    if expected("short bursts are seen", True):
        assert used >= 64


def test_full_tmp(client, suite, neighbour):
    with Neighbour(client, neighbour):
        filled = answer_of(client, suite, {"do": "fill", "mb": TMP_MB + 100})
        assert filled["error"] == "ENOSPC"
        assert TMP_MB <= filled["written_mb"] < TMP_MB + 32
        assert_next_call_is_right(client, suite)


def test_tmp_is_no_memory(client, suite, neighbour):
    with Neighbour(client, neighbour):
        before = answer_of(client, suite, {"do": "count"})["boot"]
        done = call(client, suite, {"do": "fill", "mb": 500})
        assert done.json() == {"written_mb": 500, "error": None}
        used = int(re.search(r"Max Memory Used: (\d+) MB", done.log)[1])
        assert used < MEMORY_MB
        assert answer_of(client, suite, {"do": "count"})["boot"] == before


def test_larger_tmp(client):
    name = languages.deploy_suite(client, languages.PYTHON, Timeout=60, EphemeralStorage={"Size": 1024})
    assert answer_of(client, name, {"do": "fill", "mb": 1024}) == {"written_mb": 1024, "error": None}


def test_runtime_has_no_privileges(client, probe):
    status = answer_of(client, probe, {"do": "status"})
    assert set(status["Uid"].split()) == {RUNTIME_UID} and set(status["Gid"].split()) == {RUNTIME_GID}
    assert status["Groups"].split() == []
    for kind in expected("sets of capabilities", ("CapInh", "CapPrm", "CapEff", "CapAmb")):
        assert int(status[kind], 16) == 0, kind
    for kind, value in expected("marks of a process", {"NoNewPrivs": "1", "Seccomp": "2"}).items():
        assert status[kind] == value, kind


@pytest.mark.parametrize(
    "path", ["/x", "/var/task/x", "/var/runtime/x", "/opt/x", "/etc/x", "/usr/lib/warren/agent", "/run/x"]
)
def test_only_tmp_can_be_written(client, probe, path):
    assert answer_of(client, probe, {"do": "write", "path": path})["refused"] in (
        os.strerror(errno.EACCES),
        os.strerror(errno.EROFS),
    )
    assert answer_of(client, probe, {"do": "write", "path": "/tmp/x"}) == {"done": "1"}


def test_root_is_mounted_read_only(warren, client, probe):
    answer_of(client, probe, {"do": "status"})
    for container in sandboxes(warren, probe):
        table = mount_table(container)
        options = {line.split(" ")[4]: line.split(" ")[5].split(",") for line in table}
        for point in ("/", "/var/task", "/var/runtime", "/usr/lib/warren/agent"):
            assert "ro" in options[point], point
        assert "rw" in options["/tmp"] and {"nosuid", "nodev"} <= set(options["/tmp"])
        # Sealed as a whole file system, once the streams are open.
        channel = next(line for line in table if line.split(" ")[4] == "/run/warren")
        assert "ro" in channel.split(" ")[-1].split(",")


def mount_table(sandbox):
    """The mounts of a sandbox, as the host lists them."""
    name = expected("mounts are those of", None)
    pid = agent_pid(sandbox) if name is None else process_of(sandbox, name)
    return pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()


def test_channel_folder_is_closed_to_the_function(client, probe):
    for path in expected("closed to the function", ("/run/warren", "/proc/1/fd", "/proc/1/root")):
        assert answer_of(client, probe, {"do": "read", "path": path}) == {"refused": "Permission denied"}
    assert "refused" in answer_of(client, probe, {"do": "write", "path": "/run/warren/agent.sock"})


def test_no_network(warren, client, tmp_path):
    probe = fresh_name("none")
    (tmp_path / "app.py").write_text(PROBE)
    flags = ["--name", probe, "--network", "none", "--runtime", "python3.13", "--handler", "app.handler"]
    connection = ["--server", warren.url, "--data-dir", str(warren.folder)]
    subprocess.run([BINARY, "deploy", str(tmp_path), *flags, *connection], check=True, capture_output=True)
    assert answer_of(client, probe, {"do": "interfaces"}) == ["lo"]
    for host, port in (("169.254.169.254", 80), ("10.0.0.1", 443)):
        assert answer_of(client, probe, {"do": "connect", "host": host, "port": port}) == {
            "refused": expected("no network", "Network is unreachable")
        }


def test_function_sees_no_other_process(client, probe):
    """Its own and the agent; nothing of the host."""
    assert len(answer_of(client, probe, {"do": "processes"})) == 2


def test_nothing_of_the_server_is_inherited(warren, client, probe):
    links = answer_of(client, probe, {"do": "descriptors"})
    # 0-2, the call stream, and the folder that is being listed.
    assert set(links) <= {"0", "1", "2", "3", "4"}, links
    environment = answer_of(client, probe, {"do": "environment"})
    key_id, secret = warren.keys()
    assert key_id not in str(environment) and secret not in str(environment)
    assert not [name for name in environment if "WARREN" in name]


def test_agent_is_small(warren, client, suite):
    answer_of(client, suite, {"do": "count"})
    for container in sandboxes(warren, suite):
        assert_small(container)


def test_a_frozen_instance_gets_no_call(warren, client):
    """Frozen by somebody else while it is idle, as a whole or its agent alone: its next call is answered by another instance, and it is removed."""
    freeze = {
        "whole": freeze_whole,
        "agent": lambda sandbox: os.kill(agent_pid(sandbox), signal.SIGSTOP),
        "neither": lambda sandbox: None,
    }
    names = {what: deploy(client, PROBE, fresh_name(what), Runtime=languages.PYTHON.runtime, Timeout=60) for what in freeze}
    before = {}
    for what, name in names.items():
        answer_of(client, name, {"do": "processes"})
        (before[what],) = sandboxes(warren, name)
        freeze[what](before[what])
    time.sleep(PING_AFTER_S + 1)
    for what, name in names.items():
        done = call(client, name, {"do": "processes"})
        assert done.error is None, done
        wait_until(lambda name=name: len(sandboxes(warren, name)) == 1, 60, "one instance is left")
        stayed = identity(sandboxes(warren, name)[0]) == identity(before[what])
        assert stayed == (what == "neither"), what
        print(f"{what}: {done.seconds:.2f} s")
