"""A host that is asked for more than it has: who is refused, how soon, that the rest is answered, and what the edge holds against bad clients.

How long the edge is patient is tried with its real limits: those clients begin with the first test and are looked at in the last.
"""

import asyncio
import pathlib
import random
import socket
import time

import pytest

import languages
import raw_calls
from calls import Background, wait_until
from functions import deploy, fresh_name
from host_view import agent_pid, leftovers, sandboxes
from server import Warren

INSTANCES = 8
CALLS = 1_000
# Longer than a busy machine takes from the warm-up to the calls.
IDLE_S = 12
# The limits of crates/api/src/edge.rs.
CONNECTIONS = 2_000
HEAD_BYTES = 128 * 1024
HEADERS = 100
ROUTE_HEADER_BYTES = 16 * 1024
BODY_BYTES = 6_291_456
HEADER_TIME_S = 60
BODY_PAUSE_S = 30
WRITE_PAUSE_S = 60
# How much later than its limit something may come on a busy machine.
LATE_S = 60

SOURCE = """
import os, time, uuid

BOOT = uuid.uuid4().hex

def handler(event, context):
    while event.get("gate") and not os.path.exists("/tmp/open"):
        time.sleep(0.01)
    time.sleep(event.get("sleep", 0))
    return {"number": event["number"], "boot": BOOT}
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts a server with settings; gives it and a function that is called."""
    started = []

    def start_server(**settings):
        server = Warren(
            tmp_path_factory.mktemp("overload") / "data",
            WARREN_MAX_INSTANCES=str(INSTANCES),
            WARREN_IDLE_S=str(IDLE_S),
            **settings,
        )
        started.append(server)
        server.start()
        return server, deploy(server.client(), SOURCE, Runtime=languages.PYTHON.runtime, Timeout=120)

    yield start_server
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A server, and clients that try its patience in the background."""
    server = Warren(tmp_path_factory.mktemp("patience") / "data")
    server.start()
    name = languages.deploy_suite(server.client(), languages.PYTHON, Timeout=30)
    clients = Background(lambda: asyncio.run(try_patience(server, name)))
    yield server, clients
    server.stop()


class Watch:
    """Counts a server's instances by Docker's labels, all the while."""

    def __init__(self, server):
        self.server, self.most, self.looks, self.over = server, 0, 0, False

    def __enter__(self):
        self.work = Background(self._look)
        return self

    def __exit__(self, *_failure):
        self.over = True
        self.work.join()
        assert self.looks > 5
        assert self.most <= INSTANCES

    def _look(self):
        while not self.over:
            self.most = max(self.most, len(sandboxes(self.server)))
            self.looks += 1
            time.sleep(0.05)


def warm(server, name):
    """Has all instances there; gives their names."""
    # Each waits at its gate until all are there.
    requests = [raw_calls.signed(server, name, {"number": number, "gate": True}) for number in range(INSTANCES)]
    calls = Background(lambda: asyncio.run(raw_calls.exchange_all(server.control, requests)))
    wait_until(lambda: busy(raw_calls.metrics(server)) == INSTANCES and len(sandboxes(server)) == INSTANCES, 60, "all instances are busy")
    open_gates(server)
    answers = calls.join()
    close_gates(server)
    boots = {answer.json()["boot"] for answer in answers}
    assert len(boots) == INSTANCES
    return boots


def gates(server):
    return [pathlib.Path(f"/proc/{agent_pid(container)}/root/tmp/open") for container in sandboxes(server)]


def open_gates(server):
    for gate in gates(server):
        gate.touch()


def close_gates(server):
    for gate in gates(server):
        gate.unlink()


def throttled(counts):
    return counts['warren_invocations_total{outcome="throttled"}']


def busy(counts):
    return counts['warren_instances{state="busy"}']


def assert_idle_ends(server):
    wait_until(lambda: not sandboxes(server), IDLE_S + 60, "no instance is left after the idle time")
    wait_until(lambda: not leftovers(server), 30, "nothing is left of them")


def test_a_full_host_refuses_exactly_what_is_too_much(patient, start):
    server, name = start(WARREN_QUEUE_CALLS="100", WARREN_QUEUE_WAIT_S="120")
    requests = [raw_calls.signed(server, name, {"number": number, "gate": True}) for number in range(CALLS)]
    with Watch(server):
        warm(server, name)
        before = raw_calls.metrics(server)
        calls = Background(lambda: asyncio.run(raw_calls.exchange_all(server.control, requests)))
        refused = CALLS - INSTANCES - 100

        def all_have_arrived():
            now = raw_calls.metrics(server)
            return (
                busy(now) == INSTANCES
                and now["warren_calls_waiting"] == 100
                and throttled(now) - throttled(before) == refused
            )

        wait_until(all_have_arrived, 60, f"all {CALLS} calls have arrived")
        after = raw_calls.metrics(server)
        open_gates(server)
        answers = calls.join()
    by_status = {status: [answer for answer in answers if answer.status == status] for status in (200, 429)}
    assert (len(by_status[200]), len(by_status[429])) == (INSTANCES + 100, refused)
    for number, answer in enumerate(answers):
        if answer.status == 200:
            assert answer.json()["number"] == number
    assert len({answer.json()["boot"] for answer in by_status[200]}) == INSTANCES
    for answer in by_status[429]:
        assert answer.headers["x-amzn-errortype"] == "TooManyRequestsException"
        assert int(answer.headers["retry-after"]) >= 1
        assert "Reason" in answer.json() and "message" in {key.lower() for key in answer.json()}
    assert throttled(raw_calls.metrics(server)) - throttled(before) == refused
    name_of_time = "warren_refusal_duration_seconds"
    bound = raw_calls.quantile_bound(before, after, name_of_time, 0.99)
    mean = (after[f"{name_of_time}_sum"] - before[f"{name_of_time}_sum"]) / refused
    refusal_times = sorted(answer.seconds for answer in by_status[429])
    print(f"callers had it after {1000 * refusal_times[len(refusal_times) * 99 // 100]:.0f} ms (p99), all calls at once on this machine")
    print(f"refusals: p99 at most {1000 * bound:g} ms, mean {1000 * mean:.2f} ms after the request's head")
    # Usual is 0.01 and less; the histogram's next bounds are far apart.
    assert bound <= 1
    assert_idle_ends(server)


@pytest.fixture(scope="module")
def patient_host(start):
    """A full host that lets 1,000 calls wait longer than the queue may take on a busy machine."""
    return start(WARREN_QUEUE_CALLS="1000", WARREN_QUEUE_WAIT_S="120")


def test_a_queue_is_worked_off_in_time(patient_host):
    server, name = patient_host
    sleep = 0.05
    requests = [raw_calls.signed(server, name, {"number": number, "sleep": sleep}) for number in range(CALLS)]
    with Watch(server):
        boots = warm(server, name)
        begin = time.monotonic()
        answers = asyncio.run(raw_calls.exchange_all(server.control, requests))
        seconds = time.monotonic() - begin
    assert [answer.json()["number"] for answer in answers] == list(range(CALLS))
    assert {answer.json()["boot"] for answer in answers} == boots
    ideal = CALLS * sleep / INSTANCES
    print(f"{CALLS} calls in {seconds:.2f} s: {seconds / ideal:.3f} of the ideal {ideal:.2f} s")
    # Usual is 1.1: the machine that tests run on is busy with others' work as well.
    assert seconds <= 5 * ideal


def test_callers_that_reset_cost_no_instance(patient_host):
    server, name = patient_host
    requests = [raw_calls.signed(server, name, {"number": number, "sleep": 0.02}) for number in range(CALLS)]
    with Watch(server):
        boots = warm(server, name)
        before = raw_calls.metrics(server)
        asyncio.run(send_and_reset(server, requests))

        def quiet():
            now = raw_calls.metrics(server)
            return busy(now) == 0 and now["warren_calls_waiting"] == 0

        wait_until(quiet, 60, "the calls are over")
        after = raw_calls.metrics(server)
        assert after["warren_instance_starts_total"] == before["warren_instance_starts_total"]
        ended = 'warren_invocations_total{outcome="ok"}'
        print(f"{CALLS} callers reset, {after[ended] - before[ended]:.0f} of their calls were counted as answered")
        assert warm(server, name) == boots, "the same instances answer"
        assert raw_calls.metrics(server)["warren_instance_starts_total"] == before["warren_instance_starts_total"]
    assert_idle_ends(server)


async def send_and_reset(server, requests):
    moments = random.Random(11)

    async def one(request):
        _, writer = await asyncio.open_connection(*server.control)
        writer.write(request)
        await writer.drain()
        await asyncio.sleep(moments.uniform(0.05, 2))
        # No lingering: the close is a reset.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    await asyncio.gather(*(one(request) for request in requests))


def ask(address, head):
    """What is answered first to a plain request on a connection of its own."""
    with socket.create_connection(address, 10) as connection:
        connection.sendall(head.encode())
        return connection.recv(4096).decode()


def test_the_head_of_a_request_is_bounded(patient):
    server, _ = patient
    filler = lambda count, size: "".join(f"x-{number}: {'y' * size}\r\n" for number in range(count))
    for address in (server.control, server.routes):
        get = lambda rest: ask(address, f"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{rest}\r\n").split(" ")[1]
        assert get("") in ("200", "404")
        assert get(filler(HEADERS - 2, 1)) in ("200", "404")
        assert get(filler(HEADERS, 1)) == "431"
        # What is read at once is as long as the limit, so the refusal may come that much later.
        assert get(filler(10, HEAD_BYTES // 11)) in ("200", "404", "431")
        assert get(filler(10, 2 * HEAD_BYTES // 9)) == "431"
    assert get(filler(10, ROUTE_HEADER_BYTES // 11)) == "404"
    assert get(filler(10, ROUTE_HEADER_BYTES // 9)) == "431"


def test_a_body_is_bounded_by_its_announcement_alone(patient):
    server, _ = patient
    route = fresh_name("/route")
    name = languages.deploy_suite(server.client(), languages.PYTHON)
    head = f"POST {route} HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY_BYTES + 1}\r\n\r\n"
    assert ask(server.routes, head).split(" ")[1] == "404"
    request = raw_calls.signed(server, name, {"do": "echo"})
    declared = request.replace(b"Content-Length: 14", b"Content-Length: %d" % (BODY_BYTES + 1))
    assert declared != request
    with socket.create_connection(server.control, 30) as connection:
        connection.sendall(declared)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(4096).split(b" ")[1] == b"413"


def test_connections_are_bounded(patient):
    """One beyond the limit waits for another to end; nobody is cut off."""
    server, _ = patient
    held = []
    try:
        while len(held) < CONNECTIONS:
            held.append(socket.create_connection(server.routes, 10))
        late = socket.create_connection(server.routes, 10)
        held.append(late)
        late.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        late.settimeout(1)
        with pytest.raises(TimeoutError):
            late.recv(1)
        # The other address is not touched by that.
        assert raw_calls.metrics(server)
        held.pop(0).close()
        late.settimeout(60)
        assert late.recv(12) == b"HTTP/1.1 404"
    finally:
        for connection in held:
            connection.close()


async def try_patience(server, name):
    """How long the server bears each of these clients, in seconds, and the status that it answered, if it did."""
    slow_body = raw_calls.signed(server, name, {"do": "echo"})[:-4]
    healthz = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    return dict(
        zip(
            ["silent", "idle", "cut head", "dribbled head", "cut body", "reads nothing"],
            await asyncio.gather(
                bear(server, b""),
                bear(server, healthz),
                bear(server, b"GET /hea"),
                bear(server, b"GET / HTTP/1.1\r\nx: ", dribble=True),
                bear(server, slow_body),
                read_nothing(server, raw_calls.signed(server, name, {"do": "large", "bytes": 6_000_000})),
            ),
        )
    )


async def bear(server, begin, dribble=False):
    reader, writer = await asyncio.open_connection(*server.control)
    started = time.monotonic()
    writer.write(begin)

    async def go_on():
        while dribble:
            await asyncio.sleep(5)
            writer.write(b"y")

    writing = asyncio.create_task(go_on())
    try:
        answer = await reader.read()
    except ConnectionResetError:
        answer = b""
    writing.cancel()
    writer.close()
    return time.monotonic() - started, answer.split(b" ")[1].decode() if answer else None


async def read_nothing(server, request):
    """Reads only after the server should have given up; gives when that was looked at and how much there was."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(server.control)
    connection.sendall(request)
    started = time.monotonic()
    await asyncio.sleep(WRITE_PAUSE_S + 10)
    connection.settimeout(10)
    read = 0
    try:
        while piece := connection.recv(1 << 20):
            read += len(piece)
    except ConnectionResetError:
        pass
    connection.close()
    return time.monotonic() - started, read


def test_patience_has_an_end(patient):
    _server, clients = patient
    borne = clients.join(200)
    print({what: (round(seconds, 1), status) for what, (seconds, status) in borne.items()})
    for what, status in (("silent", None), ("idle", "200"), ("cut head", None), ("dribbled head", None)):
        seconds, found = borne[what]
        assert HEADER_TIME_S - 1 <= seconds < HEADER_TIME_S + LATE_S, what
        assert found in (status, "408"), (what, found)
    seconds, status = borne["cut body"]
    assert BODY_PAUSE_S - 1 <= seconds < BODY_PAUSE_S + LATE_S
    assert status == "408"
    assert borne["reads nothing"][1] < 6_000_000
