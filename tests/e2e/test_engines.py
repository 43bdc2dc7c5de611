"""The choice of an engine: the same code answers the same on each, really runs there, and moves by one command."""

import os
import pathlib
import subprocess

import pytest

import languages
from calls import Background, answer_of, call, many_callers, wait_until
from functions import deploy, fresh_name, wait
from host_view import agent_pid, containers, groups, leftovers, log_lines, process_status, sandboxes
from server import BINARY, Warren

ENGINES = ["docker", "runc"]
TAG = "warren:engine"

# Says where it is after a while; the caller sees by its log that it has begun.
SLOW = """
import time

def handler(event, context):
    print("begun", flush=True)
    time.sleep(event.get("sleep", 0))
    return "answered"
"""


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    server = Warren(tmp_path_factory.mktemp("engines") / "data")
    server.start()
    yield server
    server.stop()
    assert leftovers(server) == {}


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
        first = pathlib.Path(f"/proc/{pid}/uid_map").read_text().split()[1]
        assert int(first) >= 0x70000000, first


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


def test_each_instance_has_users_of_its_own(warren, client):
    name = deploy(client, SLOW, fresh_name("many"), Runtime=languages.PYTHON.runtime, Timeout=30, Tags={TAG: "runc"})
    calls = [Background(answer_of, client, name, {"sleep": 1}) for _ in range(3)]
    for running in calls:
        assert running.join() == "answered"
    maps = [pathlib.Path(f"/proc/{agent_pid(one)}/uid_map").read_text() for one in sandboxes(warren, name)]
    assert len(maps) == 3 and len(set(maps)) == 3, maps


@pytest.mark.parametrize(("before", "after"), [("docker", "runc"), ("runc", "docker")])
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
