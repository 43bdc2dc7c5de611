"""A function that attacks the Runtime API of its own sandbox ends its own instance at most: another function's calls go on, and its own next answers
are right. The attacks one by one, with the agent's memory: crates/agent/tests/runtime_api_hostile.rs."""

import pytest

import languages
from calls import Neighbour, call, wait_until
from functions import deploy, fresh_name

# Attacks from inside a handler, beside AWS's own client, which then answers, too.
ATTACKER = r"""
import os, random, socket, threading

ADDRESS = ("127.0.0.1", 9001)
API = "/2018-06-01/runtime/"

def send(*pieces, last=False):
    try:
        with socket.create_connection(ADDRESS, 5) as connection:
            for piece in pieces:
                connection.sendall(piece)
            if last:
                connection.shutdown(socket.SHUT_WR)
            return connection.recv(4096)
    except OSError:
        return b""

def post(path, body=b"{}", length=None):
    return send(f"POST {API}{path} HTTP/1.1\r\nContent-Length: {length or len(body)}\r\n\r\n".encode(), body)

def handler(event, context):
    own, attack = context.aws_request_id, event.get("attack")
    if attack == "garbage":
        for _ in range(300):
            send(os.urandom(random.randrange(1, 4000)), last=True)
    elif attack == "gigabyte":
        send(f"POST {API}invocation/{own}/response HTTP/1.1\r\nContent-Length: {1 << 30}\r\n\r\n".encode(), *[b"x" * (1 << 20)] * 1024)
    elif attack == "forged":
        for _ in range(100):
            post("invocation/00000000-0000-0000-0000-000000000000/response", b'"forged"')
            post(f"invocation/{event['other']}/response", b'"forged"')
            post(f"invocation/{event['other']}/error", b'{"errorType":"forged"}')
    elif attack == "twice":
        post(f"invocation/{own}/response", b'"first"')
    elif attack == "init":
        post("init/error", b'{"errorType":"forged"}')
        post("restore/error", b'{"errorType":"forged"}')
    elif attack == "slow":
        held = [socket.create_connection(ADDRESS) for _ in range(12)]
        for connection in held:
            connection.sendall(b"POST " + API.encode())
        handler.held = held
    elif attack == "next":
        threads = [threading.Thread(target=send, args=(f"GET {API}invocation/next HTTP/1.1\r\n\r\n".encode(),)) for _ in range(20)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    return {"number": event["number"]}
"""

# Attack, and the error type of its own call; None where it must be answered all the same.
ATTACKS = [
    ("garbage", None),
    ("gigabyte", "Function.ResponseSizeTooLarge"),
    ("forged", None),
    ("twice", None),
    ("init", None),
    ("slow", None),
    ("next", None),
]


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    with languages.server(tmp_path_factory.mktemp("abuse") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def client(warren):
    return warren.client(checked=False)


@pytest.fixture(scope="module")
def neighbour(client):
    return languages.deploy_suite(client, languages.PYTHON_CLIENT, fresh_name("neighbour"), Timeout=20)


@pytest.fixture(scope="module")
def attacker(client):
    return deploy(client, ATTACKER, fresh_name("attacker"), Runtime=languages.PYTHON_CLIENT.runtime, Timeout=20)


@pytest.mark.parametrize("attack,error", ATTACKS)
def test_an_attack_harms_only_its_own_instance(client, neighbour, attacker, attack, error):
    with Neighbour(client, neighbour) as beside:
        other = call(client, neighbour, {"do": "echo"}).request_id
        done = call(client, attacker, {"number": 1, "attack": attack, "other": other})
        if error:
            assert done.json()["errorType"] == error
        elif attack == "twice":
            assert done.json() == "first", "the one that came first"
        else:
            assert done.json() == {"number": 1}, done

        # A client that got a refusal exits, and may do so with the next call at hand; what is answered is never another's.
        def answers():
            after = call(client, attacker, {"number": 2})
            assert after.json() == {"number": 2} or after.json()["errorType"] == "Runtime.ExitError", after
            return after.error is None

        wait_until(answers, 10, "the attacker's function answers again")
        calls = beside.calls
        wait_until(lambda: beside.calls > calls, 10, "the neighbour is called on")
