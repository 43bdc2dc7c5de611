"""Another engine for one call, and an engine that does not work yet."""

import json
import os
import subprocess

import pytest
from botocore.exceptions import ClientError

from calls import Background, wait_until
from functions import deploy, fresh_name
from host_view import log_lines, sandboxes
from server import BINARY, serving

SOURCE = """
import time

COUNT = 0

def handler(event, context):
    global COUNT
    COUNT += 1
    print("begun", flush=True)
    time.sleep(event.get("sleep", 0))
    return {"name": context.function_name, "version": context.function_version, "count": COUNT}
"""
SOON_S = 60


class Cli:
    """`warren` as another process."""

    def __init__(self, server):
        self.environment = {
            "PATH": os.environ["PATH"],
            "WARREN_SERVER": server.url,
            "WARREN_DATA_DIR": str(server.folder),
        }

    def __call__(self, *arguments, status=0):
        command = [BINARY, *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done

    def json(self, *arguments):
        return json.loads(self(*arguments, "--json").stdout)


def by_engine(server, name):
    """How many instances of a function are on each engine."""
    found = sandboxes(server, name)
    docker = sum("Id" in sandbox for sandbox in found)
    return {"docker": docker, "runc": len(found) - docker}


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path / "data", "--idle-s", "5") as server:
        yield server


def test_one_call_runs_on_another_engine(server):
    cli, client, name = Cli(server), server.client(), fresh_name("look")
    deploy(client, SOURCE, name, Tags={"warren:engine": "docker"}, Timeout=30)
    before = cli.json("get", name)
    assert json.loads(cli("invoke", name).stdout)["count"] == 1
    elsewhere = json.loads(cli("invoke", name, "--engine", "runc").stdout)
    assert elsewhere == {"name": name, "version": "$LATEST", "count": 1}
    assert by_engine(server, name) == {"docker": 1, "runc": 1}
    # Both stay warm, each for its own calls; its own engine is no other.
    assert json.loads(cli("invoke", name, "--engine", "runc").stdout)["count"] == 2
    assert json.loads(cli("invoke", name, "--engine", "docker").stdout)["count"] == 2
    assert cli.json("get", name) == before
    assert "rocket" in cli("invoke", name, "--engine", "rocket", status=1).stderr
    # An instance ends when it was idle for long enough, wherever it is.
    wait_until(lambda: by_engine(server, name) == {"docker": 0, "runc": 0}, SOON_S, "idle instances are still there")


def test_calls_elsewhere_count_as_the_function_s(server):
    cli, client, name = Cli(server), server.client(), fresh_name("count")
    deploy(client, SOURCE, name, Tags={"warren:engine": "docker"}, Timeout=30)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    held = Background(cli, "invoke", name, "--engine", "runc", "--data", '{"sleep": 5}')
    wait_until(lambda: any("begun" in words for _, words in log_lines(server, name)), SOON_S, "the call has not begun")
    assert "concurrency" in cli("invoke", name, status=1).stderr
    held.join()
    assert json.loads(cli("invoke", name).stdout)["name"] == name
    # What it runs is the function as it is now.
    cli("update", name, "--timeout", 29)
    assert json.loads(cli("invoke", name, "--engine", "runc").stdout)["count"] == 1


@pytest.fixture
def broken(tmp_path):
    """A program named runc that does not even say its version."""
    program = tmp_path / "programs" / "runc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    return program


def test_an_engine_that_does_not_work_yet_is_refused_or_forced(tmp_path, broken):
    path = f"{broken.parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "WARREN_DEFAULT_ENGINE": "docker"}
    with serving(tmp_path / "data", environment=environment) as server:
        cli, client, name = Cli(server), server.client(), fresh_name("later")
        code = tmp_path / "app.py"
        code.write_text(SOURCE)
        refused = cli("deploy", code, "--name", name, "--engine", "runc", status=1).stderr
        assert "runc" in refused and "--force" in refused, refused
        deployed = cli("deploy", code, "--name", name, "--engine", "runc", "--force")
        assert "can't be used at present" in deployed.stderr, deployed.stderr
        assert cli.json("get", name)["state"] == "active"

        said = cli("invoke", name, status=1).stderr
        assert "'runc' can't be used at present" in said and "--version` fails" in said, said
        with pytest.raises(ClientError) as failed:
            client.invoke(FunctionName=name)
        assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert failed.value.response["Error"]["Code"] == "ServiceException"
        assert "'runc' can't be used at present" in failed.value.response["Error"]["Message"]
        # A change is refused as the deploy was; another engine and back are, and are not.
        assert "--force" in cli("update", name, "--memory", 256, status=1).stderr
        cli("update", name, "--memory", 256, "--force")
        elsewhere = cli("invoke", name, "--engine", "docker").stdout
        assert json.loads(elsewhere)["name"] == name
        other = fresh_name("elsewhere")
        deploy(client, SOURCE, other, Tags={"warren:engine": "docker"})
        assert "runc" in cli("invoke", other, "--engine", "runc", status=1).stderr

        # Once it works, nothing has to be deployed again.
        broken.unlink()
        found = wait_until(lambda: answered(cli, name), SOON_S, "the function is still refused")
        assert found["name"] == name
        assert by_engine(server, name)["runc"] == 1


def answered(cli, name):
    """The answer, or none while the engine is still said to be missing: tries that failed are not made anew at once."""
    done = subprocess.run([BINARY, "invoke", name], env=cli.environment, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout) if done.returncode == 0 else None
