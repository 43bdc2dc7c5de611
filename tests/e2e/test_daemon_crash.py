"""The Docker daemon dies under load: callers are told what is away, and all is well by itself once it is back."""

import pytest
from botocore.exceptions import ClientError

import languages
import own_docker
from calls import Background, answer_of, many_callers, wait_until
from functions import deploy, fresh_name
from host_view import containers, leftovers, stems
from server import Warren

CALLERS = 4
# Restart of the daemon, which first ends what it finds of its earlier life, and a cold start.
RECOVERY_S = 120

SOURCE = """
import time, uuid

BOOT = uuid.uuid4().hex

def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return {"name": context.function_name, "number": event.get("number"), "boot": BOOT}
"""


@pytest.fixture
def daemon():
    if lack := own_docker.missing():
        pytest.skip(f"SKIPPED: a Docker daemon of the test's own: this machine lacks {lack}")
    daemon = own_docker.OwnDocker(networks=False)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.remove()


@pytest.fixture
def warren(daemon):
    server = Warren(daemon.shared / "data", DOCKER_HOST=daemon.endpoint, WARREN_STEM_MEMORY_MB="0")
    server.start()
    yield server
    server.stop()


def fault_of(client, name):
    """Why a call was not answered; None if it was."""
    try:
        answer_of(client, name)
        return None
    except ClientError as error:
        return error.response


@pytest.mark.timeout(600)
def test_a_daemon_that_dies_under_load_is_named_and_missed_no_longer_than_it_is_away(daemon, warren):
    client = many_callers(warren)
    warm, cold, later = (
        deploy(client, SOURCE, fresh_name(what), Runtime=languages.PYTHON.runtime, Timeout=60) for what in ("warm", "cold", "later")
    )
    assert len({answer["boot"] for answer in in_parallel(client, warm)}) > 1
    over, seen = [], []

    def call_on(caller):
        number = 0
        while not over:
            number += 1
            event = {"number": [caller, number], "sleep": 0.05}
            try:
                answer = answer_of(client, warm, event)
                assert (answer["name"], answer["number"]) == (warm, [caller, number])
                seen.append("answered")
            # A call whose instance was ended with the daemon's return, or that needs one meanwhile.
            except (ClientError, AssertionError) as error:
                seen.append(str(error))

    callers = [Background(call_on, caller) for caller in range(CALLERS)]
    wait_until(lambda: len(seen) > 20, 60, "calls are under way")
    daemon.kill()
    fault = wait_until(lambda: fault_of(client, cold), 30, "a cold start fails")
    assert fault["ResponseMetadata"]["HTTPStatusCode"] in (500, 502, 503), fault
    assert "engine 'docker'" in fault["Error"]["Message"] and "start the daemon" in fault["Error"]["Message"], fault
    # What is away is in the server's log and on its host: callers are told nothing of the inside.
    assert "the Docker daemon could not create the container" in warren.log_path.read_text()
    answered = seen.count("answered")
    wait_until(lambda: seen.count("answered") > answered + 5, 60, "warm instances answer on")
    print(f"without the daemon: {fault['Error']['Code']}: {fault['Error']['Message']}")
    print(f"warm calls answered without it: {seen.count('answered') - answered}")

    daemon.start()
    for name in (cold, later, warm):
        wait_until(lambda name=name: fault_of_any(client, name) is None, RECOVERY_S, f"{name} is answered again")
    over.append(True)
    for caller in callers:
        caller.join()
    failed = [words for words in seen if words != "answered"]
    print(f"{len(seen)} calls under load, not answered: {len(failed)}; {sorted(set(words[:160] for words in failed))[:4]}")
    for name in (warm, cold, later):
        assert [answer["number"] for answer in in_parallel(client, name)] == list(range(CALLERS))
    # What could not be removed while it was away is removed now, without a restart.
    wait_until(lambda: len(list(warren.folder.glob("run/*"))) - len(stems(warren)) == len(containers(warren)), 120, "failed starts are cleaned up")
    assert warren.process.poll() is None
    warren.stop()
    assert warren.process.returncode == 0
    assert not leftovers(warren)
    assert containers(warren) == []


def fault_of_any(client, name):
    """As `fault_of`, with errors of the function's instance."""
    try:
        return fault_of(client, name)
    except AssertionError as error:
        return str(error)


def in_parallel(client, name):
    calls = [Background(answer_of, client, name, {"sleep": 1, "number": number}) for number in range(CALLERS)]
    return [call.join() for call in calls]
