"""The choice of an engine: the same code answers the same on each, really runs there, and moves by one command."""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

import pytest

import languages
from calls import Background, answer_of, call, many_callers, wait_until
from functions import deploy, fresh_name, wait
from host_view import agent_pid, containers, group_of, groups, identity, leftovers, log_lines, process_of, process_status, sandboxes
from server import BINARY, Warren, serving

ENGINES = ["docker", "runc", "gvisor"]
TAG = "warren:engine"

# Says where it is after a while; the caller sees by its log that it has begun.
SLOW = """
import time

def handler(event, context):
    print("begun", flush=True)
    time.sleep(event.get("sleep", 0))
    return "answered"
"""


# Connects to every address that it is given, by name and through a link in its own /tmp.
KNOCK = """
import os
import socket

def knock(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        try:
            one.connect(address)
            return "reached"
        except OSError:
            return "refused"

def handler(event, context):
    found = [knock(path) for path in event["paths"]] + [knock("\\0" + name) for name in event["names"]]
    for number, path in enumerate(event["paths"]):
        link = f"/tmp/link{number}"
        if not os.path.islink(link):
            os.symlink(path, link)
        found.append(knock(link))
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own.bind(f"/tmp/own-{context.aws_request_id}")
    own.listen()
    return {"others": sorted(set(found)), "own": knock(f"/tmp/own-{context.aws_request_id}")}
"""


# Takes all inotify instances that it can get, and holds them for a while.
WATCHES = """
import ctypes
import os
import time

LIBC = ctypes.CDLL(None, use_errno=True)

def handler(event, context):
    taken = []
    while (one := LIBC.inotify_init1(0)) >= 0:
        taken.append(one)
    time.sleep(event["hold"])
    for one in taken:
        os.close(one)
    return len(taken)
"""


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("engines") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def client(warren):
    return many_callers(warren)


def parents(pid):
    """Names of the processes above one, up to the first."""
    names = []
    while pid != 0:
        status = process_status(pid)
        names.append(status["Name"])
        pid = int(status["PPid"])
    return names[1:]


def assert_runs_on(warren, function, engine):
    """One instance, and the host shows which engine it is of."""
    (sandbox,) = sandboxes(warren, function)
    pid = agent_pid(sandbox)
    cgroup = pathlib.Path(f"/proc/{pid}/cgroup").read_text()
    above = parents(pid)
    daemons = [name for name in above if name.startswith(("dockerd", "containerd"))]
    if engine == "docker":
        assert sandbox["Id"] in cgroup and daemons, (cgroup, above)
    else:
        assert f"-{engine}/{sandbox['instance']}" in cgroup and not daemons, (cgroup, above)
        # Root inside is nobody on the host, and no other instance is this nobody.
        assert first_id(pid) >= 0x70000000
    names = {pathlib.Path(f"/proc/{one}/cmdline").read_text().split("\0")[0] for one in group_of(pid)}
    assert {"runsc-sandbox", "runsc-gofer"} & names == ({"runsc-sandbox", "runsc-gofer"} if engine == "gvisor" else set()), names


def first_id(pid):
    """The first of the user ids that a sandbox has on the host."""
    inside, outside, count = map(int, pathlib.Path(f"/proc/{pid}/uid_map").read_text().split())
    # A sentry has but one of them: nobody.
    return outside - inside


@pytest.mark.parametrize("language", [languages.PYTHON, languages.NODES[0], languages.RUST], ids=str)
def test_the_same_zip_answers_the_same(warren, client, language):
    if language.missing():
        pytest.skip(language.missing())
    package = language.package()
    answers = []
    for engine in ENGINES:
        name = fresh_name(engine)
        deploy(client, "", name, Runtime=language.runtime, Handler=language.handler, Code={"ZipFile": package}, Tags={TAG: engine})
        answers.append(answer_of(client, name, {"do": "echo", "value": [1, "ä", None]}))
        assert_runs_on(warren, name, engine)
        failed = call(client, name, {"do": "raise"})
        answers[-1] = (answers[-1], failed.error)
    assert all(answer == answers[0] for answer in answers), answers


@pytest.mark.parametrize("engine", ["runc", "gvisor"])
def test_each_instance_has_users_of_its_own(warren, client, engine):
    name = deploy(client, SLOW, fresh_name("many"), Runtime=languages.PYTHON.runtime, Timeout=30, Tags={TAG: engine})
    calls = [Background(answer_of, client, name, {"sleep": 1}) for _ in range(3)]
    for running in calls:
        assert running.join() == "answered"
    pids = [agent_pid(one) for one in sandboxes(warren, name)]
    first = [first_id(pid) for pid in pids]
    assert len(first) == 3 and len(set(first)) == 3, first
    # No process of an instance is root's, or another instance's user.
    for pid, start in zip(pids, first):
        users = {int(user) for one in group_of(pid) for user in process_status(one)["Uid"].split()}
        assert users <= set(range(start, start + 65536)), (start, users)


@pytest.mark.parametrize("engine", ["runc", "gvisor"])
def test_servers_of_one_machine_share_no_users(warren, client, tmp_path, engine):
    other = Warren(tmp_path / "data").start()
    try:
        others = many_callers(other)
        first = []
        for server, own in ((warren, client), (other, others)):
            name = deploy(own, SLOW, fresh_name("own"), Runtime=languages.PYTHON.runtime, Tags={TAG: engine})
            assert answer_of(own, name) == "answered"
            first += [first_id(agent_pid(one)) for one in sandboxes(server, name)]
        assert len(set(first)) == 2, first
        # Not by chance: whole blocks are a server's.
        assert len({(start - 0x70000000) // (64 * 65536) for start in first}) == 2, first
    finally:
        other.stop()
    assert leftovers(other) == {}


@pytest.mark.parametrize("engine", ["runc", "gvisor"])
def test_what_the_kernel_counts_by_user_is_no_one_else_s(warren, client, engine):
    """One instance that takes all of it leaves another all of it, and the host its own."""
    name = deploy(client, WATCHES, fresh_name("watches"), Runtime=languages.PYTHON.runtime, Timeout=30, Tags={TAG: engine})
    running = [Background(answer_of, client, name, {"hold": 4}) for _ in range(2)]
    wait_until(lambda: len(sandboxes(warren, name)) == 2, 30, "both run")
    libc = ctypes.CDLL(None, use_errno=True)
    while any(one.thread.is_alive() for one in running):
        watch = libc.inotify_init1(0)
        assert watch >= 0, os.strerror(ctypes.get_errno())
        os.close(watch)
        time.sleep(0.05)
    counts = [one.join() for one in running]
    assert counts[0] == counts[1] and counts[0] >= 100, counts


@pytest.mark.parametrize(("before", "after"), [("docker", "runc"), ("runc", "gvisor"), ("gvisor", "docker")])
def test_another_engine_is_one_command(warren, client, before, after):
    name = deploy(client, SLOW, fresh_name("moves"), Runtime=languages.PYTHON.runtime, Timeout=30, Tags={TAG: before})
    running = Background(answer_of, client, name, {"sleep": 6})
    wait_until(lambda: any("begun" in text for _request, text in log_lines(warren, name)), 30, "the first call has begun")
    arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    client.tag_resource(Resource=arn, Tags={TAG: after})
    wait(client, "function_updated_v2", name)
    assert answer_of(client, name) == "answered"
    # The call under way ends on the instance where it began.
    assert len(sandboxes(warren, name)) == 2
    assert running.join() == "answered"
    wait_until(lambda: len(sandboxes(warren, name)) == 1, 30, "the old instance is gone")
    assert_runs_on(warren, name, after)


def test_the_command_line_moves_it_too(warren, client):
    name = deploy(client, SLOW, fresh_name("cli"), Runtime=languages.PYTHON.runtime, Tags={TAG: "docker"})
    command = [BINARY, "update", name, "--engine", "runc", "--server", warren.url, "--data-dir", str(warren.folder)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert answer_of(client, name) == "answered"
    wait_until(lambda: not containers(warren, name), 30, "no container is left")
    assert_runs_on(warren, name, "runc")
    assert groups(warren)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_socket_of_the_host_is_reached(warren, client, engine):
    name = deploy(client, KNOCK, fresh_name("knock"), Runtime=languages.PYTHON.runtime, Tags={TAG: engine})
    with contextlib.ExitStack() as stack:
        # In the server's own folders, and under a short path that a sandbox could guess.
        short = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        paths = [short / "socket", pathlib.Path("/var/tmp") / f"{short.name}.socket"]
        names = [f"warren-test-{short.name}"]
        for address in [*map(str, paths), *("\0" + one for one in names)]:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(address)
            listener.listen()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as here:
                here.connect(address)
        stack.callback(paths[1].unlink)
        for path in paths:
            path.chmod(0o777)
        known = [*map(str, paths), "/var/run/docker.sock", "/run/containerd/containerd.sock"]
        assert answer_of(client, name, {"paths": known, "names": names}) == {"others": ["refused"], "own": "reached"}


@pytest.mark.parametrize("victim", ["runsc-sandbox", "runsc-gofer"])
def test_a_killed_process_of_gvisor_is_replaced_with_its_instance(warren, client, victim):
    name = deploy(client, SLOW, fresh_name("killed"), Runtime=languages.PYTHON.runtime, Timeout=30, Tags={TAG: "gvisor"})
    assert answer_of(client, name) == "answered"
    (before,) = sandboxes(warren, name)
    members = group_of(agent_pid(before))
    os.kill(process_of(before, victim), signal.SIGKILL)
    # The call may meet the instance that is about to be found out; the one after it never does.
    wait_until(lambda: call(client, name).error is None, 60, "another instance answers")
    wait_until(lambda: [identity(one) for one in sandboxes(warren, name)] not in ([identity(before)], []), 30, "the old instance is gone")
    assert len(sandboxes(warren, name)) == 1
    assert not [one for one in members if lives(one)]


def lives(pid):
    """Whether a process is there, and not only waits for its parent to hear of its end."""
    with contextlib.suppress(OSError):
        return not process_status(pid)["State"].startswith("Z")
    return False


@pytest.mark.parametrize(("engine", "own"), [("runc", 0), ("gvisor", 24)])
def test_an_instance_counts_as_all_that_its_group_may_hold(tmp_path, engine, own):
    """What the engine itself has beside the function is memory of the host too."""
    server = Warren(tmp_path / "data", "--memory-mb", str(2 * (128 + own) - 1), "--queue-wait-s", "1").start()
    try:
        client = many_callers(server)
        name = deploy(client, SLOW, fresh_name("counts"), Runtime=languages.PYTHON.runtime, Timeout=30, Tags={TAG: engine})
        held = Background(answer_of, client, name, {"sleep": 5})
        wait_until(lambda: any("begun" in text for _request, text in log_lines(server, name)), 30, "the first call has begun")
        (sandbox,) = sandboxes(server, name)
        assert memory_limit(agent_pid(sandbox)) == (128 + own) << 20
        with pytest.raises(client.exceptions.TooManyRequestsException):
            call(client, name)
        assert held.join() == "answered"
        with pytest.raises(client.exceptions.InvalidParameterValueException) as refused:
            deploy(client, SLOW, Runtime=languages.PYTHON.runtime, MemorySize=2 * (128 + own), Tags={TAG: engine})
        assert "--memory-mb" in str(refused.value) and (not own or f"{own} MB of it" in str(refused.value))
    finally:
        server.stop()
    assert leftovers(server) == {}


def memory_limit(pid):
    """Of the group of a process, in bytes."""
    lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    paths = {controllers: path for _number, controllers, path in (line.split(":", 2) for line in lines)}
    if "memory" in paths:
        return int(pathlib.Path(f"/sys/fs/cgroup/memory{paths['memory']}/memory.limit_in_bytes").read_text())
    return int(pathlib.Path(f"/sys/fs/cgroup{paths['']}/memory.max").read_text())


def test_the_default_is_a_setting(tmp_path):
    server = Warren(tmp_path / "data", WARREN_DEFAULT_ENGINE="runc").start()
    try:
        own = many_callers(server)
        name = deploy(own, SLOW, Runtime=languages.PYTHON.runtime)
        assert answer_of(own, name) == "answered"
        assert_runs_on(server, name, "runc")
    finally:
        server.stop()
    assert leftovers(server) == {}


def test_an_old_runsc_is_refused_with_the_next_step(tmp_path):
    """One of Debian 12 hangs: it is never used, and nothing takes its place."""
    programs = tmp_path / "bin"
    programs.mkdir()
    runsc = programs / "runsc"
    runsc.write_text('#!/bin/sh\n[ "$1" = --version ] && { echo "runsc version 0.0~20221219.0"; exit; }\nsleep 600\n')
    runsc.chmod(0o755)
    server = Warren(tmp_path / "data", WARREN_DEFAULT_ENGINE="gvisor", PATH=f"{programs}:{os.environ['PATH']}").start()
    try:
        own = many_callers(server)
        with pytest.raises(own.exceptions.ClientError) as refused:
            deploy(own, SLOW, Runtime=languages.PYTHON.runtime)
        words = str(refused.value)
        assert str(runsc) in words and "20221219" in words and "make setup" in words, words
    finally:
        server.stop()
    assert leftovers(server) == {}


def test_a_start_that_fails_says_what_the_runtime_said(tmp_path):
    """A program of this name that can't start anything: refused with its own words, and nothing is left."""
    programs = tmp_path / "bin"
    programs.mkdir()
    runc = programs / "runc"
    runc.write_text('#!/bin/sh\n[ "$1" = --version ] && { echo "runc version 9"; exit; }\necho "no such luck" >&2\nexit 1\n')
    runc.chmod(0o755)
    server = Warren(tmp_path / "data", WARREN_DEFAULT_ENGINE="runc", PATH=f"{programs}:{os.environ['PATH']}").start()
    try:
        own = many_callers(server)
        name = deploy(own, SLOW, Runtime=languages.PYTHON.runtime)
        with pytest.raises(own.exceptions.ServiceException):
            call(own, name)
        assert "no such luck" in server.log_tail()
        wait_until(lambda: leftovers(server) == {}, 30, "nothing is left")
    finally:
        server.stop()
    assert leftovers(server) == {}
