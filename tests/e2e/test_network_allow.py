"""What the policy `allow` opens by name: hosts, and the machine itself. All of it stand-ins (world.py)."""

import socket
import subprocess

import pytest

import world as stand_ins
from calls import answer_of
from functions import deploy, fresh_name
from probing import CLOSED, PROBE, both, cli, reach, refusals, router_rules, rules_out_of_the_way, wait_until
from server import BINARY, Warren, free_port
from world import HOST, INTERNET, NAME_SERVER, NEIGHBOUR, PORT, PRIVATE, ZONE, World

pytestmark = pytest.mark.skipif(
    stand_ins.missing() is not None, reason=f"this machine lacks {stand_ins.missing()}"
)

MACHINE = "host.warren.internal"
MACHINE_ADDRESS = "169.254.1.2"


@pytest.fixture(scope="module")
def warren(world, tmp_path_factory):
    server = Warren(tmp_path_factory.mktemp("allow") / "data", "--name-server", NAME_SERVER)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(warren):
    return warren.client()


def resolve(client, function, *names):
    return answer_of(client, function, {"do": "resolve", "names": names})


def allowed(server, *destinations):
    name = fresh_name("allow")
    cli(server, name, *(word for destination in destinations for word in ("--allow", destination)))
    return name


def test_only_allowed_names_are_answered_and_open_what_they_say(warren, client):
    before = router_rules(warren)
    name = allowed(warren, f"db.internal:{PORT}", f"db.example:{PORT}")
    assert reach(client, name, [NEIGHBOUR[0], INTERNET[0]]) == both([NEIGHBOUR[0], INTERNET[0]], "refused")
    names = ["db.internal", "DB.example", "inside.example", "x.db.internal", "nobody.internal", MACHINE]
    assert resolve(client, name, *names) == {
        "db.internal": sorted(ZONE["db.internal"]),
        "DB.example": sorted(ZONE["db.example"]),
        "inside.example": None,
        "x.db.internal": None,
        "nobody.internal": None,
        MACHINE: None,
    }
    opened = [*ZONE["db.internal"], *ZONE["db.example"]]
    assert reach(client, name, opened) == both(opened, "world")
    closed = [NEIGHBOUR[1], PRIVATE[0], MACHINE_ADDRESS]
    assert reach(client, name, closed) == both(closed, "refused")
    assert reach(client, name, opened, port=9) == both(opened, "refused")
    # Over TCP it would get everybody's answers.
    assert reach(client, name, ["169.254.1.1"], port=53)["tcp 169.254.1.1"] == "refused"
    client.delete_function(FunctionName=name)
    wait_until(lambda: router_rules(warren) == before)


def test_whatever_was_not_named_is_closed(warren, client):
    """Neighbours, gateways, the host, metadata addresses, private ranges, the internet and another sandbox: each answers while the rules are out of the way,
    and is refused with them, while what was allowed answers."""
    open_, closed = INTERNET[:1], [*CLOSED, *INTERNET[1:]]
    name = allowed(warren, f"{open_[0]}:{PORT}")
    sandbox = answer_of(client, allowed(warren, f"db.internal:{PORT}"), {"do": "listen", "port": PORT})
    # Its instance is there before the rules are looked at.
    assert reach(client, name, open_) == both(open_, "world")
    with rules_out_of_the_way(warren):
        answers = reach(client, name, closed + open_)
        assert {what: words for what, words in answers.items() if words not in ("world", "host")} == {}
        assert [reach(client, name, sandbox)[f"tcp {host}"] for host in sandbox] == ["sandbox"] * 2
    assert reach(client, name, closed + sandbox + open_) == {
        **both(closed + sandbox, "refused"),
        **both(open_, "world"),
    }


def test_a_name_that_is_not_answered_is_told_in_the_function_s_log(warren, client):
    name = allowed(warren, f"db.internal:{PORT}")
    assert resolve(client, name, "db.internal", "db.example", MACHINE)["db.example"] is None
    expected = [
        "The network policy 'allow' did not answer the name db.example. To allow it: --allow db.example:PORT",
        "To allow a port of the server's machine: --allow host:PORT",
    ]
    wait_until(lambda: all(words in "".join(refusals(warren, name)) for words in expected))
    assert len(refusals(warren, name)) == 2


def test_what_is_not_there_is_warned_of(warren, tmp_path):
    (tmp_path / "app.py").write_text(PROBE)
    command = [BINARY, "deploy", str(tmp_path), "--name", fresh_name("absent"), "--server", warren.url]
    command += ["--data-dir", str(warren.folder), "--allow", "container:nope:5432", "--allow", "network:nope:80"]
    command += ["--allow", f"{HOST[0]}:{PORT}", "--allow", f"{NEIGHBOUR[0]}:{PORT}", "--allow", "network:bridge:80"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 3, done.stderr
    assert "--allow container:nope:5432: no running container is called 'nope'" in warned[0]
    assert "--allow network:nope:80: the Docker daemon has no network 'nope'" in warned[1]
    # The machine's own addresses stay closed.
    assert f"--allow {HOST[0]}:{PORT}: that is the server's own machine" in warned[2] and f"host:{PORT}" in warned[2]


def test_a_name_opens_no_address_that_it_may_not_have(warren, client):
    """Names that anybody may have lead to the internet only, unless the owner allows the address too; none leads to metadata or the machine."""
    names = ["inside.example", "near.example", "metadata.internal", "self.internal"]
    name = allowed(warren, *(f"{known}:{PORT}" for known in names))
    assert resolve(client, name, *names) == {known: sorted(ZONE[known]) for known in names}
    closed = [address for known in names[:3] for address in ZONE[known]]
    assert reach(client, name, closed) == both(closed, "refused")
    # By the host's table.
    assert reach(client, name, ZONE["self.internal"]) == both(ZONE["self.internal"], "refused")
    both_named = allowed(warren, f"inside.example:{PORT}", f"10.0.0.0/8:{PORT}")
    resolve(client, both_named, "inside.example")
    assert reach(client, both_named, [PRIVATE[0], PRIVATE[3]]) == {
        **both([PRIVATE[0]], "world"),
        **both([PRIVATE[3]], "refused"),
    }


def test_the_machine_itself_answers_at_the_allowed_port(warren, client):
    """Also what listens on its loopback only; nothing else of it does, and for no other function."""
    ports = [free_port(), free_port()]
    listeners = [socket.create_server(("127.0.0.1", port)) for port in ports]
    for listener in listeners:
        World.serve(lambda listener=listener: greet(listener))
    closed_port = free_port()
    try:
        name = allowed(warren, f"host:{ports[0]}", f"host:{closed_port}")
        other = allowed(warren, f"db.internal:{ports[0]}")
        internet = deploy(client, PROBE, fresh_name("internet"), Timeout=60)
        assert resolve(client, name, MACHINE) == {MACHINE: [MACHINE_ADDRESS]}
        assert reach(client, name, [MACHINE], ports[0])[f"tcp {MACHINE}"] == "loopback"
        assert reach(client, name, [MACHINE], closed_port)[f"tcp {MACHINE}"] in ("refused", "")
        assert reach(client, name, [MACHINE], ports[1]) == both([MACHINE], "refused")
        for function in (other, internet):
            assert reach(client, function, [MACHINE_ADDRESS], ports[0]) == both([MACHINE_ADDRESS], "refused")
    finally:
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def greet(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"loopback")


def test_one_sandbox_s_questions_leave_others_theirs(warren, client):
    """A function that asks without end is not heard any more; another's names are answered meanwhile."""
    flood = deploy(client, PROBE + FLOOD, fresh_name("flood"), Timeout=60)
    other = allowed(warren, f"db.internal:{PORT}")
    answered = answer_of(client, flood, {"do": "flood", "questions": 3000})
    assert 0 < answered < 3000
    assert resolve(client, other, "db.internal") == {"db.internal": sorted(ZONE["db.internal"])}


FLOOD = '''
def flood(event):
    answered = 0
    question = bytes([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2]) + b"db" + bytes([7]) + b"example" + bytes([0, 0, 1, 0, 1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        peer.connect(("169.254.1.1", 53))
        for _ in range(event["questions"]):
            peer.send(question)
        peer.settimeout(2)
        try:
            while True:
                peer.recv(512)
                answered += 1
        except TimeoutError:
            return answered
'''
