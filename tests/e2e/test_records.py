"""The records of calls: what each says, that the figures are right, and what is left of them after a crash or an outage."""

import base64
import concurrent.futures
import json
import os
import re
import sqlite3
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.exceptions import ClientError

import functions
import postgres
from calls import wait_until
from functions import deploy, fresh_name, zip_of
from server import BINARY, Warren, serving

# The phases that make the time to a call's answer.
PHASES = ("queued_us", "wait_us", "init_us", "init_again_us", "handler_us")
BURN_US = 200_000
TOUCH = 100 << 20
SOON_S = 30
STARTS = 4
OUTAGE_S = 60

SOURCE = """
import os, time

time.sleep(0.1)

def handler(event, context):
    if "burn" in event:
        until = time.thread_time() + event["burn"] / 1e6
        while time.thread_time() < until:
            pass
    if "touch" in event:
        bytearray(b"x") * event["touch"]
    if "fill" in event:
        kept = []
        while True:
            kept.append(bytearray(b"x") * (16 << 20))
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "raise" in event:
        raise ValueError(event["raise"])
    if "exit" in event:
        os._exit(event["exit"])
    return "done"
"""


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    """Every first call starts an instance of its own."""
    with serving(tmp_path_factory.mktemp("records") / "data", WARREN_STEM_MEMORY_MB="0") as server:
        yield server


def ask(server, path, **query):
    """An answer of the native API: status and JSON."""
    text = urllib.parse.urlencode(query)
    request = urllib.request.Request(
        f"{server.url}/api/v1{path}?{text}", headers={"Authorization": "Bearer %s:%s" % server.keys()}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def calls_of(server, name, count=1):
    """The records of a function's calls, latest first, once there are so many: the last one is made after its answer."""
    found = []

    def there():
        found[:] = ask(server, f"/functions/{name}/calls")[1]["calls"]
        return len(found) >= count

    wait_until(there, SOON_S, f"{count} records of {name}")
    return found


def record_of(server, name, request_id):
    found = []

    def there():
        page = ask(server, f"/functions/{name}/calls")[1]["calls"]
        found[:] = [call for call in page if call["request_id"] == request_id]
        return found

    wait_until(there, SOON_S, f"the record of {request_id}")
    return found[0]


def invoke(client, name, event):
    """A call's request id, and the microseconds that its client waited."""
    begin = time.monotonic()
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
    taken = int((time.monotonic() - begin) * 1e6)
    answer["Payload"].read()
    return answer["ResponseMetadata"]["RequestId"], taken


def test_the_phases_of_a_cold_and_a_warm_call(warren, client):
    name = deploy(client, SOURCE, fresh_name("records"), Timeout=10)
    begin = time.time()
    cold_id, cold_us = invoke(client, name, {})
    warm_id, warm_us = invoke(client, name, {"sleep": 0.05})
    cold, warm = record_of(warren, name, cold_id), record_of(warren, name, warm_id)
    for call, client_us in ((cold, cold_us), (warm, warm_us)):
        phases = sum(call.get(phase, 0) for phase in PHASES)
        assert phases == call["answered_us"] <= client_us, call
        # What is not in it is the client, HTTP and this machine's load.
        assert client_us - phases < 500_000, (client_us, call)
        assert call["outcome"] == "answer" and call["attempts"] == 1 and "reason" not in call
        assert abs(call["arrived_us"] / 1e6 - begin) < 60
        assert call["function"] == name and call["version"] == "$LATEST"
        assert call["engine"] == os.environ.get("WARREN_DEFAULT_ENGINE", "docker")
        assert call["bytes_out"] == len('"done"') and call["closing_us"] < 1_000_000
        assert call["peak_bytes"] > 1 << 20
    assert cold["bytes_in"] == len("{}")
    assert cold["wait"] == "start" and cold["wait_us"] > 5_000
    assert 100_000 <= cold["init_us"] <= cold["wait_us"] + cold["init_us"]
    # The call came before its instance's Init began.
    assert abs(cold["init_us"] - cold["instance_init_us"]) < 5_000
    assert warm["wait"] == "none" and warm["wait_us"] == warm["init_us"] == 0
    assert "instance_init_us" not in warm and "init_again_us" not in warm
    assert 50_000 <= warm["handler_us"] < 300_000 and warm["queued_us"] < 100_000
    assert warm["instance"] == cold["instance"] and warm["cpu_calls"] == 1


def test_report_says_what_the_record_says(warren, client):
    name = deploy(client, SOURCE, fresh_name("records"), Timeout=10)
    for _ in range(2):
        answer = client.invoke(FunctionName=name, Payload='{"sleep": 0.01}', LogType="Tail")
        report = base64.b64decode(answer["LogResult"]).decode().splitlines()[-1]
        call = record_of(warren, name, answer["ResponseMetadata"]["RequestId"])
        fields = re.findall(r"(?:^|\t)([A-Z][A-Za-z ]+): ([0-9.]+) M?[msB]", report.replace("REPORT ", ""))
        said = {key: float(value) for key, value in fields}
        assert abs(said["Duration"] * 1000 - call["handler_us"]) <= 5, (report, call)
        assert said["Max Memory Used"] == -(-call["peak_bytes"] // (1 << 20)), (report, call)
        if "instance_init_us" in call:
            assert abs(said["Init Duration"] * 1000 - call["instance_init_us"]) <= 5
        else:
            assert "Init Duration" not in said


def test_processor_time_and_memory_are_the_call_s(warren, client):
    """As the difference from a no-op, first call of a fresh instance each: within 10 %."""

    def first_call(event):
        name = deploy(client, SOURCE, fresh_name("records"), Timeout=30, MemorySize=512)
        return record_of(warren, name, invoke(client, name, event)[0])

    def least(key, calls):
        # A loaded machine adds to each, and takes from none.
        return min(call[key] for call in calls)

    idle, burning, busy = (
        [first_call(event) for _ in range(STARTS)]
        for event in ({}, {"burn": BURN_US}, {"burn": BURN_US, "touch": TOUCH})
    )
    # Touching costs time of the kernel too, which is the function's, and on gvisor of the sentry: more, and not the same each time.
    burnt = least("cpu_us", burning) - least("cpu_us", idle)
    touched = least("peak_bytes", busy) - least("peak_bytes", idle)
    assert abs(burnt - BURN_US) <= 0.1 * BURN_US, (burnt, idle, burning)
    assert least("cpu_us", busy) >= least("cpu_us", burning)
    assert abs(touched - TOUCH) <= 0.1 * TOUCH, (touched, idle, busy)
    assert all(call["cpu_calls"] == 1 for call in idle + burning + busy)


def test_short_calls_share_a_look(warren, client):
    """No processor time is lost or told twice, and calls too short to be looked at say so."""
    name = deploy(client, SOURCE, fresh_name("records"), Timeout=10)
    for _ in range(200):
        client.invoke(FunctionName=name, Payload="{}")
    client.invoke(FunctionName=name, Payload='{"sleep": 0.01}')

    def all_calls():
        return ask(warren, f"/functions/{name}/calls", limit=1000)[1]["calls"]

    wait_until(lambda: len(all_calls()) == 201, SOON_S, "201 records")
    calls = all_calls()
    assert sum(call.get("cpu_calls", 0) for call in calls) == 201
    assert all(("cpu_us" in call) == ("cpu_calls" in call) for call in calls)
    assert all(call["peak_bytes"] > 0 for call in calls)


def test_failures_say_why(warren, client):
    hasty = deploy(client, SOURCE, fresh_name("records"), Timeout=1)
    patient = deploy(client, SOURCE, fresh_name("records"), Timeout=60, MemorySize=128)
    for event, outcome, reason, error_type in (
        ({"sleep": 5}, "failed", "timeout", "Sandbox.Timedout"),
        ({"exit": 3}, "failed", "exit", "Runtime.ExitError"),
        ({"fill": 1}, "failed", "memory", "Runtime.ExitError"),
        ({"raise": "no"}, "error", None, "ValueError"),
    ):
        name = hasty if reason == "timeout" else patient
        call = record_of(warren, name, invoke(client, name, event)[0])
        assert (call["outcome"], call.get("reason"), call["error_type"]) == (outcome, reason, error_type), call
        if reason == "timeout":
            assert call["handler_us"] == 1_000_000
        if reason == "memory":
            assert call["peak_bytes"] == 128 << 20
    broken = deploy(client, "import nothing_of_this_name", fresh_name("records"))
    call = record_of(warren, broken, invoke(client, broken, {})[0])
    assert (call["outcome"], call["error_type"]) == ("error", "Runtime.ImportModuleError")
    # Init failed ahead of the call, and again inside it: no event was handed over.
    assert call["init_us"] > 0 and call["init_again_us"] > 0 and "handler_us" not in call


def test_refused_calls_are_recorded(warren, client):
    name = deploy(client, SOURCE, fresh_name("records"), Timeout=10)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError):
        client.invoke(FunctionName=name, Payload="{}")
    (call,) = calls_of(warren, name)
    assert (call["outcome"], call["reason"]) == ("refused", "function_concurrency")
    assert "instance" not in call and "handler_us" not in call and "cpu_us" not in call


def test_a_call_that_waits_for_its_turn_was_queued(warren, client):
    name = deploy(client, SOURCE, fresh_name("records"), Timeout=10)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    invoke(client, name, {})
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: invoke(client, name, {"sleep": 0.02}), range(2)))
    for call in calls_of(warren, name, 3):
        assert sum(call.get(phase, 0) for phase in PHASES) == call["answered_us"]


def test_pages_and_filters(warren, client):
    name = deploy(client, SOURCE, fresh_name("records"), Timeout=10)
    ids = [invoke(client, name, {"raise": "x"} if number == 3 else {})[0] for number in range(5)]
    calls_of(warren, name, 5)
    seen, cursor = [], {}
    while True:
        status, page = ask(warren, "/calls", function=name, limit=2, **cursor)
        assert status == 200 and len(page["calls"]) <= 2
        seen += [call["request_id"] for call in page["calls"]]
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == ids[::-1]
    only = ask(warren, "/calls", function=name, outcome="error")[1]["calls"]
    assert [call["request_id"] for call in only] == [ids[3]]
    assert len(ask(warren, "/calls", function=name, since="1h")[1]["calls"]) == 5
    assert ask(warren, "/calls", function=name, since="2099-01-01T00:00:00Z")[1]["calls"] == []
    engine = os.environ.get("WARREN_DEFAULT_ENGINE", "docker")
    assert len(ask(warren, "/calls", function=name, engine=engine)[1]["calls"]) == 5
    for query, field in (
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"outcome": "good"}, "outcome"),
        ({"engine": "wood"}, "engine"),
        ({"since": "yesterday"}, "since"),
        ({"cursor": "x"}, "cursor"),
        ({"function": "a b"}, "function"),
    ):
        status, problem = ask(warren, "/calls", **query)
        assert (status, problem["field"]) == (400, field), problem
    assert ask(warren, "/functions/nobody/calls")[0] == 404


def test_the_command_prints_a_table(warren, client):
    name = deploy(client, SOURCE, fresh_name("records"), Timeout=10)
    request_id, _ = invoke(client, name, {"sleep": 0.01})
    record_of(warren, name, request_id)
    key = "%s:%s" % warren.keys()
    command = [BINARY, "calls", name, "--server", warren.url, "--key", key]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    head, row = text.splitlines()[:2]
    assert head.split()[:3] == ["ARRIVED", "REQUEST", "FUNCTION"]
    assert request_id in row and "start" in row and row.endswith("answer")
    page = json.loads(subprocess.run([*command, "--json", "--limit", "1"], capture_output=True, text=True, check=True).stdout)
    assert request_id in [call["request_id"] for call in page["calls"]]


def test_a_crash_loses_the_last_moment_at_most(tmp_path):
    with serving(tmp_path / "data") as server:
        client = server.client()
        name = deploy(client, SOURCE, fresh_name("records"), Timeout=10)
        ids = [invoke(client, name, {})[0] for _ in range(10)]
        # Longer than a batch is gathered for.
        time.sleep(1)
        server.process.kill()
        server.process.wait()
        with sqlite3.connect(f"file:{tmp_path}/data/records.db?mode=ro", uri=True) as file:
            left = file.execute("SELECT request FROM calls ORDER BY id").fetchall()
        assert [request for (request,) in left] == ids
        server.start()
        assert [call["request_id"] for call in calls_of(server, name)] == ids[::-1]
        # A normal stop loses none.
        ids.append(invoke(server.client(), name, {})[0])
    with sqlite3.connect(f"file:{tmp_path}/data/records.db?mode=ro", uri=True) as file:
        assert file.execute("SELECT count(*) FROM calls").fetchone() == (len(ids),)


def test_switched_off_there_are_none(tmp_path):
    with serving(tmp_path / "data", "--records", "off") as server:
        client = server.client()
        name = deploy(client, SOURCE, fresh_name("records"), Timeout=10)
        invoke(client, name, {})
        status, problem = ask(server, f"/functions/{name}/calls")
        assert status == 503 and "--records off" in problem["next_step"], problem
        assert not (tmp_path / "data/records.db").exists()
        with urllib.request.urlopen(server.url + "/metrics", timeout=30) as answer:
            assert 'warren_invocations_total{outcome="ok"} 1' in answer.read().decode()


def test_the_first_call_of_what_was_started_ahead_is_measured(tmp_path):
    """However short Init and call are."""
    source = "def handler(event, context):\n    return 1\n"
    with serving(tmp_path / "data", WARREN_STEM_MEMORY_MB="200") as server:
        client = server.client()
        for _ in range(STARTS):
            name = deploy(client, source, fresh_name("ahead"), Timeout=10)
            wait_until(lambda: metric(server, "warren_stems ") > 0, SOON_S, "a sandbox was started ahead")
            call = record_of(server, name, invoke(client, name, {})[0])
            assert call["wait"] == "claim" and call["cpu_calls"] == 1 and call["cpu_us"] > 0, call


def metric(server, beginning):
    """The sum of the samples that begin like this."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(beginning))


# An error of the type that the event names.
RAISES = """
exports.handler = async (event) => {
  if (event.type) {
    const error = new Error('raised');
    error.name = event.type;
    throw error;
  }
  return 'done';
};
"""


@pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL is not installed; `scripts/setup.sh test` does it")
def test_no_error_of_a_function_costs_records(tmp_path):
    """Of a type with NUL, which PostgreSQL has no place for, and with a letter that the encoding of this database lacks."""
    database = postgres.Postgres()
    try:
        database.sql("CREATE DATABASE narrow ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        with serving(tmp_path / "data", WARREN_DATABASE=database.url.replace("///warren?", "///narrow?")) as server:
            client = server.client()
            code = {"Runtime": "nodejs20.x", "Handler": "index.handler", "Code": {"ZipFile": zip_of(RAISES, "index.js")}}
            name = deploy(client, "", fresh_name("records"), Timeout=10, **code)
            types = [None, "a\0b", "\N{RABBIT}", "plain"]
            ids = [invoke(client, name, {"type": kind} if kind else {})[0] for kind in types]
            calls = calls_of(server, name, 3)
            assert [call["request_id"] for call in calls] == [ids[3], ids[1], ids[0]]
            assert [call.get("error_type") for call in calls] == ["plain", "ab", None]
            page = ask(server, f"/functions/{name}/calls")
            assert page[0] == 200 and page[1]["dropped"] == 1, page
            assert metric(server, 'warren_records_dropped_total{reason="store"}') == 1
    finally:
        database.remove()


@pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL is not installed; `scripts/setup.sh test` does it")
def test_calls_go_on_while_postgresql_is_away(tmp_path):
    database = postgres.Postgres()
    server = Warren(tmp_path / "data", WARREN_DATABASE=database.url).start()
    try:
        client = server.client()
        name = deploy(client, SOURCE, fresh_name("records"), Timeout=10)
        first, _ = invoke(client, name, {})
        record_of(server, name, first)
        assert not (tmp_path / "data/records.db").exists()
        # Longer than the database takes to write its own log: it does not wait for that at each commit of records.
        time.sleep(1)
        database.stop()

        def dropped():
            invoke(client, name, {})
            with urllib.request.urlopen(server.url + "/metrics", timeout=30) as answer:
                return re.search(r'warren_records_dropped_total\{reason="store"\} [1-9]', answer.read().decode())

        wait_until(dropped, OUTAGE_S, "records are dropped and counted")
        assert ask(server, "/calls")[0] == 503
        with urllib.request.urlopen(server.url + "/healthz", timeout=30) as answer:
            assert "records" in [problem["part"] for problem in json.load(answer)["problems"]]
        database.run()

        def back():
            request_id, _ = invoke(client, name, {})
            status, page = ask(server, f"/functions/{name}/calls")
            return status == 200 and page["dropped"] > 0 and request_id in [call["request_id"] for call in page["calls"]]

        wait_until(back, OUTAGE_S, "calls are recorded again")
        seen = [call["request_id"] for call in ask(server, f"/functions/{name}/calls", limit=1000)[1]["calls"]]
        assert first in seen
    finally:
        server.stop()
        database.remove()
