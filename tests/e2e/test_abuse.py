"""The abuse table of SPECIFICATION.md: what each attack meets, and that a neighbour function answers right all the while."""

import importlib
import json
import os
import re

import pytest

import abuse
import languages
from calls import Neighbour, call, wait_until
from functions import deploy, fresh_name
from host_view import sandboxes, sourced_log_lines

FOLDER = languages.HANDLERS / "abuse"
CASES = abuse.cases(os.environ.get("WARREN_DEFAULT_ENGINE", "docker"))
# Attacks that need more than the kinds below say.
SMALL = {"memory", "memory-file", "shared-memory", "system-v-memory", "socket-buffers"}
# What they leave behind would be in the way of others: an instance of their own.
ALONE = {"left-processes", "api-left-processes"}
TIMEOUT_S = 60
SHORT_TIMEOUT_S = 2
# How long an attacker's function may take to answer again on a busy machine.
PATIENCE_S = 60
LOG_CAP = 50 << 20
# A file of a log beyond the cap, and what is written at once.
LOG_SLACK = 10 << 20


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    with languages.server(tmp_path_factory.mktemp("abuse") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def client(warren):
    return warren.client(checked=False)


@pytest.fixture(scope="module")
def beside(client):
    """A neighbour that is called from the first attack to the last."""
    name = languages.deploy_suite(client, languages.PYTHON, fresh_name("neighbour"), Timeout=20)
    with Neighbour(client, name) as neighbour:
        yield neighbour
    print(f"\nthe neighbour's {neighbour.calls} calls: {neighbour.times()}")


@pytest.fixture(scope="module")
def attackers(client):
    """One function of each kind, deployed when it is first needed."""
    deployed = {}

    def find(case):
        settings = {"Runtime": languages.PYTHON.runtime, "Timeout": TIMEOUT_S, "MemorySize": 1024}
        if case.name.startswith("api-"):
            settings["Runtime"] = languages.PYTHON_CLIENT.runtime
        if case.name in SMALL:
            settings["MemorySize"] = 128
        if case.name in ALONE:
            settings["MemorySize"] = 1025
        if case.error == "Sandbox.Timedout":
            settings["Timeout"] = SHORT_TIMEOUT_S
        key = json.dumps(settings)
        if key not in deployed:
            code = {"ZipFile": languages.zip_of_folder(FOLDER)}
            deployed[key] = deploy(client, "", fresh_name("attacker"), Code=code, **settings)
        return deployed[key]

    return find


def test_the_table_has_every_attack_and_no_other(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    attacks = importlib.import_module("attacks")
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert set(names) == set(attacks.ATTACKS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_attack(warren, client, beside, attackers, case):
    name = attackers(case)
    before = boot(client, name)
    calls = beside.calls
    done = call(client, name, {"attack": case.name, "other": before["request"]}, LogType="None")
    found = done.json()
    if case.error is None:
        assert done.error is None, done
        expect(case.message, found, done)
    else:
        assert done.error == "Unhandled" and found["errorType"] == case.error, done
        expect(case.message, found["errorMessage"], done)
    after = wait_until(lambda: try_boot(client, name), PATIENCE_S, "the attacker's function answers again")
    assert (after["boot"] == before["boot"]) == case.survives
    if case.log is not None:
        # Lines of the whole function: a notice belongs to no call.
        pattern = re.compile(case.log.replace("ID", done.request_id))
        lines = lambda: [words for _, _, words in sourced_log_lines(warren, name)]
        there = lambda: any(pattern.search(words) for words in lines())
        wait_until(there, 10, f"{case.log} in {lines()[-6:]}")
    else:
        lines = lambda: [words for source, request, words in sourced_log_lines(warren, name) if (source, request) == ("P", done.request_id)]
        wait_until(lambda: any(words.startswith("REPORT ") for words in lines()), 10, "the call's REPORT line")
        assert [words for words in lines() if not words.startswith(("START ", "END ", "REPORT "))] == []
    kept = sum(file.stat().st_size for file in warren.folder.glob(f"logs/{name}/*.log"))
    assert kept <= LOG_CAP + LOG_SLACK
    # One that was ended is gone.
    wait_until(lambda: len(sandboxes(warren, name)) == 1, 30, "one instance is left")
    wait_until(lambda: beside.calls > calls, 10, "the neighbour is called on")


def expect(pattern, text, done):
    assert re.fullmatch(pattern.replace("ID", done.request_id), text), (pattern, text)


def boot(client, name):
    # On a slow machine a call that finds no instance may take longer than the short time-out.
    done = wait_until(lambda: unless_late(call(client, name, {"number": 1}, LogType="None")), PATIENCE_S, "the attacker's function answers")
    assert done.error is None, done
    return {**done.json(), "request": done.request_id}


def unless_late(done):
    late = done.error is not None and done.json()["errorType"] == "Sandbox.Timedout"
    return None if late else done


def try_boot(client, name):
    """The next answer. A client that got a refusal exits, and may do so with the next call at hand; what is answered is never another's."""
    done = call(client, name, {"number": 7}, LogType="None")
    if done.error is not None:
        assert done.json()["errorType"] in ("Runtime.ExitError", "Sandbox.Timedout"), done
        return None
    assert done.json()["number"] == 7
    return done.json()
