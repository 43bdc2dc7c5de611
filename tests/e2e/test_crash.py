"""The server is killed, stopped or started beside another one: functions stay, nothing is left over, no accepted call is lost."""

import json
import random
import shutil
import subprocess
import time
import urllib.request

import botocore.exceptions
import pytest
from botocore.exceptions import ClientError

import languages
from calls import Background, answer_of, call, many_callers, wait_until
from functions import ROLE, deploy, fresh_name, zip_of
from host_view import containers, docker, folder_id, leftovers, log_lines, loop_devices, mounts, sandboxes, server_id
from server import BINARY, Warren, free_port

CRASHES = 3
LONG_CRASHES = 20
FUNCTIONS = 4
CALLS = 16
# What a client raises when its server is gone.
GONE = (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError)
# How long the kernel and the daemon may take to forget what the server has let go.
SETTLE_S = 30

SOURCE = """
import time, uuid

BOOT = uuid.uuid4().hex

def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return {"name": context.function_name, "boot": BOOT, "number": event.get("number")}
"""


@pytest.fixture
def start(tmp_path):
    """Starts servers. At the end all are stopped; one that was killed is started once more, to clean up."""
    started = []

    def start_server(name="data"):
        server = Warren(tmp_path / name)
        started.append(server)
        return server.start()

    yield start_server
    for server in started:
        if server.process.poll() not in (None, 0):
            server.start()
        server.stop()


def kill(server):
    server.process.kill()
    server.process.wait()


def deploy_sleeper(client, name=None):
    return deploy(client, SOURCE, name or fresh_name(), Runtime=languages.PYTHON.runtime, Timeout=60)


def problems_of(server):
    """What its health says is not as it should be: of a crash, nothing."""
    with urllib.request.urlopen(server.url + "/healthz", timeout=30) as answer:
        return json.load(answer)["problems"]


def functions_of(client):
    pages = client.get_paginator("list_functions").paginate()
    return {function["FunctionName"]: function for page in pages for function in page["Functions"]}


def assert_settles(found, what):
    """Nothing of it is there, at once or soon."""
    deadline = time.monotonic() + SETTLE_S
    while left := found():
        assert time.monotonic() < deadline, f"{what}: {left}"
        time.sleep(0.1)


def ask(client, name, event):
    """Calls a function of a server that may be killed meanwhile; None if there was no answer."""
    try:
        return answer_of(client, name, event)
    except (*GONE, ClientError):
        return None


class Others:
    """A container of somebody else and a second server's instance on the same daemon, which no crash may touch."""

    def __init__(self, server):
        self.server = server
        self.client = many_callers(server)
        self.function = deploy_sleeper(self.client)
        self.boot = answer_of(self.client, self.function)["boot"]

    def __enter__(self):
        # Whatever its own instances are, somebody else has a container of the same kind.
        image = docker("/images/json", filters=json.dumps({"reference": ["warren/tree:*"]}))[0]["RepoTags"][0]
        body = {"Image": image, "Cmd": ["/bin/sleep", "3600"], "HostConfig": {"NetworkMode": "none"}}
        self.foreign = docker("/containers/create", "POST", body, name=fresh_name("foreign"))["Id"]
        docker(f"/containers/{self.foreign}/start", "POST")
        return self

    def __exit__(self, *_failure):
        docker(f"/containers/{self.foreign}", "DELETE", force=1)

    def assert_untouched(self):
        assert docker(f"/containers/{self.foreign}/json")["State"]["Running"]
        assert answer_of(self.client, self.function)["boot"] == self.boot
        assert len(sandboxes(self.server)) == 1 and mounts(self.server) and loop_devices(self.server)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("crashes", [CRASHES, pytest.param(LONG_CRASHES, marks=pytest.mark.long)])
def test_killed_at_any_moment(start, crashes):
    """SIGKILL with calls in flight on instances that run and instances that start, while code is being deployed."""
    with Others(start("other")) as others:
        crash_again_and_again(start(), crashes, others)


def crash_again_and_again(server, crashes, others):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    client = many_callers(server)
    names = [deploy_sleeper(client) for _ in range(FUNCTIONS)]
    for crash in range(crashes):
        running = [
            Background(ask, client, names[number % FUNCTIONS], {"sleep": 20, "number": number})
            for number in range(CALLS)
        ]
        deploying = Background(deploy_until_it_fails, client, moments.random())
        time.sleep(moments.uniform(0.1, 6))
        kill(server)
        for work in [*running, deploying]:
            work.join()

        server.start()
        assert_settles(lambda: leftovers(server), f"left over after crash {crash}")
        others.assert_untouched()
        assert problems_of(server) == []
        client = many_callers(server)
        found = functions_of(client)
        assert set(names) <= set(found)
        for name in names:
            assert found[name]["FunctionName"] == name and found[name]["Runtime"] == languages.PYTHON.runtime
            answer = answer_of(client, name, {"number": crash})
            assert (answer["name"], answer["number"]) == (name, crash)
        # What was being deployed is whole or not there.
        for name in set(found) - set(names):
            client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
            assert answer_of(client, name)["name"] == name
            client.delete_function(FunctionName=name)
    server.stop()
    assert server.process.returncode == 0
    assert_settles(lambda: leftovers(server), "left over after the end")


def deploy_until_it_fails(client, salt):
    """Creates functions, each with code of its own and of some size, until the server is gone."""
    filler = random.Random(salt).randbytes(300_000).hex()
    try:
        while True:
            client.create_function(
                FunctionName=fresh_name("deployed"),
                Runtime=languages.PYTHON.runtime,
                Role=ROLE,
                Handler="app.handler",
                Code={"ZipFile": zip_of(f"{SOURCE}\n# {fresh_name()} {filler}\n")},
            )
            time.sleep(0.2)
    except GONE:
        return


@pytest.mark.timeout(300)
def test_terminated_under_load(start):
    """SIGTERM while callers keep calling: what was accepted is answered, the rest is refused in clear words or not connected."""
    server = start()
    client = many_callers(server)
    names = [deploy_sleeper(client) for _ in range(2)]
    # Not held against the model: a server that ends may say 503, which is no error of any one operation.
    client = many_callers(server, checked=False)
    tallies = [Background(call_until_refused, client, name, number) for number in range(4) for name in names]
    time.sleep(4)
    server.process.terminate()
    answered = set().union(*(tally.join() for tally in tallies))
    assert server.process.wait(60) == 0, server.log_tail()
    assert leftovers(server) == {}
    for name in names:
        lines = log_lines(server, name)
        begun = {request for request, words in lines if words.startswith("START")}
        ended = {request for request, words in lines if words.startswith("END")}
        assert begun and begun == ended
        assert begun <= answered, "every call that ran was answered"


def call_until_refused(client, name, number):
    """Calls on and on; gives the requests that were answered. Each answer must be right, and the end a refusal."""
    answered = set()
    while True:
        try:
            done = call(client, name, {"sleep": 0.3, "number": number})
        except ClientError as refusal:
            assert refusal.response["ResponseMetadata"]["HTTPStatusCode"] in (429, 503), refusal
            return answered
        except (botocore.exceptions.EndpointConnectionError, botocore.exceptions.ConnectionClosedError):
            # The server listens no more, or has closed the idle connection. That no call was lost is told by its log.
            return answered
        assert done.error is None, done
        assert (done.json()["name"], done.json()["number"]) == (name, number)
        answered.add(done.request_id)


def test_termination_waits_for_a_long_call(start):
    server = start()
    client = many_callers(server)
    name = deploy_sleeper(client)
    running = Background(answer_of, client, name, {"sleep": 8})
    wait_until(lambda: log_lines(server, name), 30, "the call begins")
    server.process.terminate()
    assert running.join()["name"] == name
    assert server.process.wait(60) == 0
    assert leftovers(server) == {}


def test_termination_waits_for_calls_without_an_instance(start):
    """They were accepted, and their instances are still being started."""
    server = start()
    client = many_callers(server)
    name = deploy_sleeper(client)
    running = [Background(answer_of, client, name, {"sleep": 1, "number": number}) for number in range(8)]
    wait_until(lambda: sandboxes(server, name), 30, "instances are being started")
    time.sleep(0.5)
    server.process.terminate()
    assert [work.join()["number"] for work in running] == list(range(8))
    assert server.process.wait(60) == 0
    assert leftovers(server) == {}


def test_instances_survive_no_restart_but_functions_do(start):
    server = start()
    client = many_callers(server)
    name = deploy_sleeper(client)
    boot = answer_of(client, name)["boot"]
    identity = server_id(server)
    code = client.get_function(FunctionName=name)["Configuration"]["CodeSha256"]
    server.stop()
    assert server.process.returncode == 0 and leftovers(server) == {}
    server.start()
    client = many_callers(server)
    assert server_id(server) == identity
    assert client.get_function(FunctionName=name)["Configuration"]["CodeSha256"] == code
    assert answer_of(client, name)["boot"] != boot


def test_second_server_on_the_same_folder_is_refused(start):
    server = start()
    client = many_callers(server)
    name = deploy_sleeper(client)
    boot = answer_of(client, name)["boot"]
    second = subprocess.run(
        [BINARY, "serve", "--data-dir", str(server.folder)]
        + ["--listen", f"127.0.0.1:{free_port()}", "--routes-listen", f"127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode != 0
    assert f"process {server.process.pid}" in second.stderr and str(server.folder) in second.stderr
    assert answer_of(client, name)["boot"] == boot, "the first one serves on, its instances are there"


def test_two_servers_leave_each_other_alone(start):
    servers = [start("first"), start("second")]
    clients = [many_callers(server) for server in servers]
    # The same name on both.
    name = fresh_name("shared")
    boots = [answer_of(client, deploy_sleeper(client, name))["boot"] for client in clients]
    assert boots[0] != boots[1]
    # One crashes and cleans up after itself, then ends.
    kill(servers[0])
    assert sandboxes(servers[0])
    servers[0].start()
    assert_settles(lambda: leftovers(servers[0]), "left over of the one that crashed")
    assert answer_of(clients[1], name)["boot"] == boots[1]
    assert answer_of(many_callers(servers[0]), name)["name"] == name
    servers[0].stop()
    assert leftovers(servers[0]) == {}
    assert answer_of(clients[1], name)["boot"] == boots[1]
    assert len(sandboxes(servers[1])) == 1 and mounts(servers[1]) and loop_devices(servers[1])


def test_a_copied_folder_leaves_the_first_one_s_instances(start):
    first = start("first")
    client = many_callers(first)
    name = deploy_sleeper(client)
    boot = answer_of(client, name)["boot"]
    # All that a backup would have; not the mounts of running instances.
    shutil.copytree(first.folder, first.folder.parent / "copy", ignore=shutil.ignore_patterns("run", "lock"))
    copy = start("copy")
    assert server_id(copy) == server_id(first)
    # It cleaned up, and looks again for what comes late.
    assert sandboxes(first) and not sandboxes(copy)
    assert answer_of(client, name)["boot"] == boot
    assert answer_of(many_callers(copy), name)["boot"] != boot
    copy.stop()
    assert answer_of(client, name)["boot"] == boot


def doctor(server):
    """What it says of this machine, by part; where a part is there twice, the last."""
    done = subprocess.run(
        [BINARY, "doctor", "--json", "--server", server.url, "--data-dir", server.folder],
        capture_output=True, text=True, timeout=120,
    )
    report = json.loads(done.stdout)
    return {check["part"]: check for check in report["this_machine"]}


def test_doctor_knows_the_routers_of_living_and_of_dead_servers(start):
    server = start()
    router = f"router of {folder_id(server)}"
    said = doctor(server)
    if router not in said:
        pytest.skip(f"there are no networks here: {said.get('routers')}")
    assert said[router]["verdict"] == "ok" and "of this data folder" in said[router]["found"], said[router]
    assert said["database"]["verdict"] == "ok" and str(server.folder / "warren.db") in said["database"]["found"]
    assert "name server" in said
    kill(server)
    left = doctor(server)[router]
    assert left["verdict"] == "warning" and "does not run" in left["found"], left
    assert f"/run/warren/{folder_id(server)}" in left["found"] and "nft table" in left["found"], left
    assert "start that server again" in left["next_step"] and "nft delete table inet warren_" in left["next_step"], left
    # It looks, and removes nothing.
    assert doctor(server)[router] == left
    server.start()
    assert doctor(server)[router]["verdict"] == "ok"
    server.stop()
    assert router not in doctor(server)
