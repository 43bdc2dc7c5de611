"""A thousand calls through each of AWS's own clients of the Runtime API. `make test-long` runs it."""

import re
import time

import pytest

import languages
from calls import Background, answer_of, call, many_callers

pytestmark = pytest.mark.long

CALLS = 1000
CALLERS = 8
MEMORY_MB = 128
# Between the first and the last of a thousand calls. What they leave in the environment is under 0.2 MB; the rest is the runtime's own.
GROWTH_MB = 16


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    with languages.server(tmp_path_factory.mktemp("long") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def client(warren):
    return many_callers(warren, checked=False)


@pytest.fixture(scope="module", params=languages.OFFICIAL_CLIENTS, ids=str)
def suite(client, request):
    if reason := request.param.missing():
        pytest.skip(reason)
    return languages.deploy_suite(client, request.param, Timeout=30, MemorySize=MEMORY_MB)


def memory_used(log):
    return int(re.search(r"Max Memory Used: (\d+) MB", log)[1])


def test_a_thousand_calls_of_one_caller_on_one_instance(client, suite):
    first = answer_of(client, suite, {"do": "count"})
    used = []
    begin = time.monotonic()
    for number in range(CALLS):
        event = {"do": "echo", "number": number, "text": f"{number} ü" * (number % 100)}
        done = call(client, suite, event)
        assert done.error is None and done.json() == event, (number, done)
        used.append(memory_used(done.log))
    seconds = time.monotonic() - begin
    last = answer_of(client, suite, {"do": "count"})
    assert last == {"boot": first["boot"], "count": first["count"] + 1}, "one process served all"
    # The first tenth is the runtime warming up.
    settled = used[CALLS // 10]
    print(f"\n{suite}: {CALLS} calls in {seconds:.1f} s; memory {used[0]} MB at first, {settled} after 100, {used[-1]} after {CALLS}")
    assert max(used) < MEMORY_MB
    assert used[-1] - settled < GROWTH_MB


def test_a_thousand_calls_of_many_callers(client, suite):
    def call_on(caller):
        seen = []
        for turn in range(CALLS // CALLERS):
            if turn % 5 == 0:
                done = call(client, suite, {"do": "context"})
                assert done.json()["request_id"] == done.request_id
            else:
                event = {"do": "unicode", "text": f"{caller}/{turn}"}
                done = call(client, suite, event)
                assert done.json()["text"] == event["text"], done
            assert memory_used(done.log) < MEMORY_MB
            seen.append(done.request_id)
        return seen

    ids = [one for work in [Background(call_on, caller) for caller in range(CALLERS)] for one in work.join(600)]
    assert len(ids) == len(set(ids)) == CALLS
