"""Start and kill, over all engines at random: whichever process of an instance dies, or the server, another instance answers and nothing is left on the host."""

import contextlib
import os
import pathlib
import random
import signal
import time

import pytest

from calls import Background, answer_of, call, many_callers
from functions import deploy, fresh_name
from host_view import agent_pid, docker, leftovers, loop_devices, process_status, sandboxes, stems
from server import Warren
from test_crash import GONE, Others, assert_settles
from test_engines import ENGINES

CYCLES = 50
LONG_CYCLES = 500
# One cycle in so many kills the server.
SERVER = 10
PATIENCE_S = 30

SOURCE = """
import subprocess, time

def handler(event, context):
    child = subprocess.Popen(["sleep", "600"]) if event.get("child") else None
    time.sleep(event.get("sleep", 0))
    return event.get("number")
"""


class Host:
    """What is on the host whoever it is of: names that come and go with instances."""

    def __init__(self):
        mounts = [line.split(" ")[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
        self.found = {
            "mounts": set(mounts),
            "loop devices": {path.parts[3] for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file")},
            "cgroups": {str(path) for path in pathlib.Path("/sys/fs/cgroup").glob("**/warren/*/*")},
            "links": set(os.listdir("/sys/class/net")),
            "network namespaces": {str(path) for path in pathlib.Path("/run").glob("warren/*/net")},
            "sockets": {line.split()[-1] for line in pathlib.Path("/proc/net/unix").read_text().splitlines() if "/warren" in line},
            "containers": {container["Id"] for container in docker("/containers/json", all=1)},
            "processes": {pid for pid, command in commands() if is_of_an_instance(command)},
        }

    def beyond(self, before):
        return {what: sorted(now - before.found[what]) for what, now in self.found.items() if now - before.found[what]}


def commands():
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield process.name, (process / "cmdline").read_bytes()


def is_of_an_instance(command):
    return any(word in command for word in (b"/usr/lib/warren/agent", b"runsc-", b"warren_runtime", b"/var/runtime/bootstrap", b"pasta"))


def processes_of(sandbox):
    """Every process of the host that an instance consists of or hangs on: agent, runtime, its children, sentry, gofer, shim."""
    agent = agent_pid(sandbox)
    found = {agent}
    lines = pathlib.Path(f"/proc/{agent}/cgroup").read_text().splitlines()
    for _number, controllers, path in (line.split(":", 2) for line in lines):
        root = f"/sys/fs/cgroup/{controllers}" if controllers else "/sys/fs/cgroup"
        if path.strip("/") and ("memory" in controllers.split(",") or not controllers):
            with contextlib.suppress(OSError):
                found.update(map(int, pathlib.Path(f"{root}{path}/cgroup.procs").read_text().split()))
    if "Id" in sandbox:
        found.add(int(process_status(agent)["PPid"]))
    return sorted(found)


def kill_one(chance, sandbox):
    """Kills some process of an instance, and says which; one may end before its turn."""
    while True:
        victim = chance.choice(processes_of(sandbox))
        with contextlib.suppress(OSError):
            name = process_status(victim)["Name"]
            os.kill(victim, signal.SIGKILL)
            return name


def ask_on(client, name, event):
    """Calls until there is an answer: what dies just as it is given a call fails it, and no more than that."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        done = call(client, name, event)
        if done.error is None:
            return done.json()
        assert time.monotonic() < deadline, done


@pytest.mark.timeout(3600)
@pytest.mark.long
@pytest.mark.parametrize("cycles", [CYCLES, LONG_CYCLES])
def test_start_and_kill_on_all_engines(tmp_path, cycles):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    before = Host()
    other = Warren(tmp_path / "other").start()
    try:
        with Others(other) as others:
            run_cycles(tmp_path, cycles, chance, others)
    finally:
        other.stop()
    assert_settles(lambda: Host().beyond(before), "what was not there before")


def run_cycles(tmp_path, cycles, chance, others):
    warren = Warren(tmp_path / "data").start()
    client = many_callers(warren)
    names = {
        engine: deploy(client, SOURCE, fresh_name(engine), Runtime="python3.13", Timeout=20, Tags={"warren:engine": engine})
        for engine in ENGINES
    }
    killed = {}
    try:
        for cycle in range(cycles):
            engine = chance.choice(ENGINES)
            name = names[engine]
            assert ask_on(client, name, {"number": cycle, "child": chance.random() < 0.3}) == cycle
            (sandbox,) = sandboxes(warren, name)
            during = chance.random() < 0.5
            under_way = Background(call, client, name, {"sleep": 1}) if during else None
            if under_way:
                time.sleep(chance.random() / 5)
            if chance.randrange(SERVER) == 0:
                what = "server"
                warren.process.kill()
                warren.process.wait()
                warren.start()
            else:
                what = kill_one(chance, sandbox)
            killed[engine, what] = killed.get((engine, what), 0) + 1
            if under_way:
                # Whatever came of it, it has an end.
                with contextlib.suppress(*GONE):
                    under_way.join(PATIENCE_S)
            if chance.random() < 0.2:
                others.assert_untouched()
        print("killed", dict(sorted(killed.items())))
        assert len(killed) > len(ENGINES)
        # No more than one instance of each function, and what waits.
        assert len(sandboxes(warren)) <= len(ENGINES)
        assert len(loop_devices(warren)) <= len(ENGINES) + len(stems(warren))
        for name in names.values():
            assert answer_of(client, name, {"number": -1}) == -1
    finally:
        if warren.process.poll() is not None:
            warren.start()
        warren.stop()
    assert_settles(lambda: leftovers(warren), "after the last stop")
    others.assert_untouched()
