"""What a function may reach. Everything that it asks for is a stand-in, in namespaces that the test made (world.py)."""

import contextlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import time

import pytest
import requests

import world as stand_ins
from calls import answer_of
from calls import wait_until as wait_within
from functions import deploy, fresh_name
from host_view import agent_pid, instance_folders, leftovers, sandboxes
from probing import (
    CLOSED,
    PROBE,
    both,
    cli,
    host_rules,
    host_table,
    links,
    reach,
    refusals,
    router_of,
    router_rules,
    rules_out_of_the_way,
    uplinks,
    wait_until,
)
from otherwise import expected
from server import BINARY, Warren
from world import GATEWAY, HOST, INTERNET, METADATA, NAME_SERVER, NEIGHBOUR, PORT, PRIVATE, inside, run

pytestmark = pytest.mark.skipif(
    stand_ins.missing() is not None, reason=f"this machine lacks {stand_ins.missing()}"
)

# The outer end of every link.
GATEWAY_INSIDE = "169.254.1.1"
# Each day, and in `make test-long`.
CYCLES = [20, pytest.param(200, marks=pytest.mark.long)]

@pytest.fixture(scope="module")
def warren(world, tmp_path_factory):
    server = Warren(tmp_path_factory.mktemp("network") / "data", "--name-server", NAME_SERVER, WARREN_STEM_MEMORY_MB="0")
    server.start()
    assert router_of(server).exists(), server.log_tail()
    yield server
    server.stop()
    assert not router_of(server).exists()
    assert uplinks(server) == []
    assert host_rules(server) is None


@pytest.fixture(scope="module")
def client(warren):
    return warren.client()


@pytest.fixture(scope="module")
def probe(client):
    """A function with the policy that it gets when it asks for none."""
    return deploy(client, PROBE, fresh_name("probe"), Timeout=120)


@pytest.fixture(scope="module")
def neighbour(client):
    """The addresses of an instance of another function, which listens."""
    name = deploy(client, PROBE, fresh_name("neighbour"), Timeout=120)
    return answer_of(client, name, {"do": "listen", "port": PORT})


def test_only_the_internet_answers(warren, client, probe, neighbour):
    """Neighbours, gateways, the host, metadata addresses and private ranges: each answers while the rules are out of the way, and is refused with them."""
    ended = [host for host in neighbour]
    with rules_out_of_the_way(warren):
        answers = reach(client, probe, CLOSED + INTERNET)
        assert {what: words for what, words in answers.items() if words not in ("world", "host")} == {}
        sandbox = reach(client, probe, ended)
        assert [sandbox[f"tcp {host}"] for host in ended] == ["sandbox"] * 2
    assert reach(client, probe, CLOSED) == both(CLOSED, "refused")
    assert reach(client, probe, ended) == both(ended, "refused")
    assert reach(client, probe, INTERNET) == both(INTERNET, "world")


def test_a_closed_port_is_told_at_once(client, probe):
    started = time.monotonic()
    answers = reach(client, probe, INTERNET, port=9)
    assert [answers[f"tcp {host}"] for host in INTERNET] == ["refused"] * 2
    assert time.monotonic() - started < 15


def test_names_are_answered_by_the_host_s_name_server(client, probe):
    names = [*stand_ins.ZONE, "nobody.example"]
    assert answer_of(client, probe, {"do": "resolve", "names": names}) == {
        **{name: sorted(found) for name, found in stand_ins.ZONE.items()},
        "nobody.example": None,
    }


def test_networks_that_the_host_joins_later_are_closed_too(world, client, probe):
    """An address of the internet becomes a neighbour's."""
    there = INTERNET[0]
    assert reach(client, probe, [there])[f"tcp {there}"] == "world"
    run("ip", "route", "add", f"{there}/32", "dev", "lan")
    try:
        wait_until(lambda: reach(client, probe, [there])[f"tcp {there}"] == "refused")
    finally:
        run("ip", "route", "delete", f"{there}/32", "dev", "lan")
    wait_until(lambda: reach(client, probe, [there])[f"tcp {there}"] == "world")


def test_the_host_s_table_comes_back(warren):
    """A firewall that is loaded anew begins with `flush ruleset`."""
    before = host_rules(warren)
    run("nft", "delete", "table", "inet", host_table(warren))
    wait_until(lambda: host_rules(warren) == before)


def test_one_sandbox_does_not_take_the_whole_uplink(warren, client, probe):
    """Beyond 1,024 connections it is refused more, and another one's go on."""
    name = deploy(client, PROBE + SPRAY, fresh_name("spray"), Timeout=120)
    assert reach(client, name, INTERNET) == both(INTERNET, "world")
    answers = answer_of(client, name, {"do": "spray", "host": INTERNET[0], "connections": 1200})
    assert answers == {"before": "world", "after": "refused"}
    assert reach(client, probe, INTERNET) == both(INTERNET, "world")
    client.delete_function(FunctionName=name)


# Datagrams are connections, too, to whoever counts; more of them than a process may have open.
SPRAY = '''
def spray(event):
    before = attempt("tcp", event["host"], 8080)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for port in range(20000, 20000 + event["connections"]):
            peer.sendto(b"?", (event["host"], port))
            if port % 20 == 0:
                time.sleep(0.01)
    return {"before": before, "after": attempt("tcp", event["host"], 8080)}
'''


def test_an_uplink_that_ends_is_started_again(warren, client, probe):
    before = uplinks(warren)
    assert len(before) == 1
    run("kill", "-9", str(before[0]))
    wait_until(lambda: uplinks(warren) not in ([], before))
    wait_until(lambda: reach(client, probe, INTERNET) == both(INTERNET, "world"))
    assert reach(client, probe, CLOSED) == both(CLOSED, "refused")


def test_code_inside_can_not_undo_it(warren, client, probe):
    """Its link, addresses and routes are made from outside, and its code has no right to change them."""
    for container in sandboxes(warren, probe):
        status = pathlib.Path(f"/proc/{agent_pid(container)}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        # CAP_NET_ADMIN and CAP_NET_RAW, even for the agent.
        bounds = int(re.search(r"CapBnd:\t(\w+)", status)[1], 16)
        assert bounds & (1 << 12 | 1 << 13) == 0


def test_spoofed_addresses_go_nowhere(warren, client, probe):
    """A sandbox that took another's address is not heard: the router knows by which link an address comes."""
    own = answer_of(client, probe, {"do": "own"})[0]
    spoofed = "100.96.200.200"
    container = sandboxes(warren, probe)[0]
    with counted(warren, own) as packets_of_own, counted(warren, spoofed) as packets_of_spoofed:
        with inside(f"/proc/{agent_pid(container)}/ns/net"):
            run("ip", "address", "add", f"{spoofed}/32", "dev", "eth0")
            taken = expected("the link's addresses are taken over", False)
            if taken:
                run("ip", "address", "add", f"{own}/32", "dev", "eth0")
                run("ip", "route", "add", "default", "via", GATEWAY_INSIDE, "dev", "eth0", "onlink")
            for source in (own, spoofed):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                    peer.bind((source, 0))
                    peer.sendto(b"?", (INTERNET[0], PORT))
            for address in [spoofed] + [own] * taken:
                run("ip", "address", "delete", f"{address}/32", "dev", "eth0")
        # Not one exactly: connections of earlier tests may still be taking their leave.
        wait_until(lambda: packets_of_own() >= 1)
        assert packets_of_spoofed() == 0


@contextlib.contextmanager
def counted(server, source):
    """Counts what the router is about to forward for an address."""
    with inside(router_of(server)):
        said = run("nft", "--echo", "--handle", "insert", "rule", "inet", "warren", "forward", "ip", "saddr", source, "counter")
    handle = re.search(r"# handle (\d+)", said)[1]

    def packets():
        with inside(router_of(server)):
            rules = run("nft", "list", "chain", "inet", "warren", "forward")
        return int(re.search(rf"ip saddr {source} counter packets (\d+)", rules)[1])

    yield packets
    with inside(router_of(server)):
        run("nft", "delete", "rule", "inet", "warren", "forward", "handle", handle)


def test_the_policy_none_has_no_link(warren, client):
    name = fresh_name("none")
    cli(warren, name, "--network", "none")
    assert answer_of(client, name, {"do": "interfaces"}) == ["lo"]


def test_what_is_allowed_answers_and_nothing_else(warren, client):
    """A neighbour by address, a private range, an address of the internet by its port; one instance's permission is no other's."""
    name, other = fresh_name("allow"), fresh_name("other")
    before = router_rules(warren)
    named = [f"{NEIGHBOUR[0]}:{PORT}", f"[{NEIGHBOUR[2]}]:{PORT}", f"10.0.0.0/8:{PORT}", f"{INTERNET[0]}:9"]
    # A range opens no metadata address, that address does.
    named += [f"169.0.0.0/8:{PORT}", f"168.0.0.0/8:{PORT}"]
    cli(warren, name, *(word for destination in named for word in ("--allow", destination)))
    cli(warren, other, "--allow", f"[{INTERNET[1]}]:{PORT}", "--allow", f"{METADATA[0]}:{PORT}")
    open_ = [NEIGHBOUR[0], NEIGHBOUR[2], PRIVATE[0]]
    closed = [host for host in [*CLOSED, *INTERNET] if host not in open_]
    assert reach(client, name, open_) == both(open_, "world")
    assert reach(client, name, closed) == both(closed, "refused")
    assert reach(client, other, INTERNET[1:]) == both(INTERNET[1:], "world")
    assert reach(client, other, METADATA[:1]) == both(METADATA[:1], "world")
    assert reach(client, other, open_ + INTERNET[:1]) == both(open_ + INTERNET[:1], "refused")
    assert router_rules(warren).count("elements") > before.count("elements")
    for function in (name, other):
        client.delete_function(FunctionName=function)
    wait_until(lambda: router_rules(warren) == before)


def test_a_destination_that_is_out_of_order_is_refused(warren):
    """Naming the destination and the next step."""
    for destination, message in {
        "10.0.0.1": "'10.0.0.1' has no port. Write 10.0.0.1:PORT",
        "127.0.0.1:5432": "Write host:5432 for the machine",
        "10.0.0.5/8:5432": "Write 10.0.0.5:5432 for the address, or 10.0.0.0/8:5432",
        "169.254.0.0/16:80": "which no range opens",
        "metadata.google.internal:80": "to which no name leads",
        "localhost:5432": "Write host:PORT for the machine",
        "a..b:1": "at most 253 characters",
        "container:-:1": "container:NAME:PORT",
    }.items():
        with pytest.raises(AssertionError, match=re.escape(message)) as refused:
            cli(warren, fresh_name("allow"), "--allow", destination)
        assert "for '--allow <DESTINATION>'" in str(refused.value)
        # Who uses the native API is told the same.
        answer = native_api(warren, fresh_name("allow"), f"allow:{destination}")
        assert answer.status_code == 400 and answer.json()["field"] == "network" and message in answer.json()["detail"]


def native_api(server, name, policy):
    """Creates a function by the native API."""
    spec = {"runtime": "python3.13", "handler": "app.handler", "network": policy, "code": {"source": PROBE}}
    key = {"Authorization": "Bearer %s:%s" % server.keys()}
    return requests.put(f"{server.url}/api/v1/functions/{name}", json=spec, headers=key, timeout=60)


def test_what_was_refused_is_told_in_the_function_s_log(warren, client):
    """With policy, destination and the flag that would allow it, once for each; nothing of what was answered."""
    name = deploy(client, PROBE + PORTS, fresh_name("refused"), Timeout=60)
    assert reach(client, name, [PRIVATE[0], NEIGHBOUR[2], INTERNET[0]])[f"tcp {INTERNET[0]}"] == "world"
    expected = [
        f"The network policy 'internet' refused {PRIVATE[0]}:{PORT} (TCP). To allow it: --allow {PRIVATE[0]}:{PORT}",
        f"The network policy 'internet' refused {PRIVATE[0]}:{PORT} (UDP).",
        f"refused [{NEIGHBOUR[2]}]:{PORT} (TCP). To allow it: --allow [{NEIGHBOUR[2]}]:{PORT}",
        f"refused [{NEIGHBOUR[2]}]:{PORT} (UDP).",
    ]
    wait_until(lambda: all(words in "".join(refusals(warren, name)) for words in expected))
    assert len(refusals(warren, name)) == 4 and INTERNET[0] not in "".join(refusals(warren, name))
    reach(client, name, [PRIVATE[0]])
    # Of those that try everything not everything is told; and none of it to others.
    answer_of(client, name, {"do": "ports", "host": PRIVATE[0], "connections": 300})
    wait_until(lambda: "refused more" in "".join(refusals(warren, name)))
    told = refusals(warren, name)
    assert len(told) == 17 and len(set(told)) == 17, told
    # An instance that is gone by then is told of, too.
    allow = fresh_name("refused")
    cli(warren, allow, "--allow", f"{NEIGHBOUR[0]}:{PORT}", source=PROBE + PORTS)
    client.invoke(FunctionName=allow, Payload=json.dumps({"do": "try_and_end", "host": INTERNET[0]}).encode())
    words = f"The network policy 'allow' refused {INTERNET[0]}:443 (TCP). To allow it: --allow {INTERNET[0]}:443, beside"
    wait_until(lambda: words in "".join(refusals(warren, allow)))
    assert len(refusals(warren, allow)) == 1


def test_what_a_short_run_was_refused_is_told_before_its_end(warren):
    source = f"import socket; print(socket.socket().connect_ex(('{PRIVATE[0]}', {PORT})) != 0)"
    command = [BINARY, "run", "--runtime", "python3.13", "--timeout", "20", "-c", source]
    connection = ["--server", warren.url, "--data-dir", str(warren.folder)]
    for _ in range(3):
        done = subprocess.run([*command, *connection], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "True\n"), done
        assert done.stderr.startswith(f"warren: The network policy 'internet' refused {PRIVATE[0]}:{PORT} (TCP). To allow it:"), done
        assert done.stderr.count("\n") == 1, done
    # Where nothing was refused, nothing is told, nor what others were refused.
    done = subprocess.run([*command[:-1], "print(1)", *connection], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1\n", ""), done


PORTS = '''
def ports(event):
    for port in range(1, event["connections"]):
        with socket.socket() as peer:
            peer.connect_ex((event["host"], port))

def try_and_end(event):
    with socket.socket() as peer:
        peer.connect_ex((event["host"], 443))
    os._exit(0)
'''


@pytest.mark.parametrize("cycles", CYCLES)
def test_cycles_leave_the_rules_as_they_were(warren, client, cycles):
    """Instances with both policies come and go; rules, links and uplink are as before."""
    # Runs of tests before this one are removed behind their answers.
    wait_until(lambda: not instance_folders(warren, "warren-run"))
    name = deploy(client, PROBE, fresh_name("cycle"), Timeout=60)
    before = router_rules(warren), host_rules(warren), links(warren), uplinks(warren)
    allow = fresh_name("cycle")
    cli(warren, allow, "--allow", f"db.internal:{PORT}", "--allow", "host:9", "--allow", f"10.0.0.0/8:{PORT}")
    for _ in range(cycles):
        client.invoke(FunctionName=name, Payload=b'{"do": "end"}')
        answer_of(client, allow, {"do": "resolve", "names": ["db.internal"]})
        client.invoke(FunctionName=allow, Payload=b'{"do": "end"}')
    assert reach(client, name, CLOSED[:2] + INTERNET[:1]) == {
        **both(CLOSED[:2], "refused"),
        **both(INTERNET[:1], "world"),
    }
    for function in (name, allow):
        client.delete_function(FunctionName=function)
        wait_until(lambda function=function: not sandboxes(warren, function))
    wait_until(lambda: links(warren) == before[2])
    assert (router_rules(warren), host_rules(warren), links(warren), uplinks(warren)) == before


def test_a_killed_server_leaves_nothing_for_long(world, tmp_path, warren):
    """The next start ends the uplink of the last, and makes everything anew; another server's stays."""
    others = uplinks(warren), router_rules(warren), host_rules(warren)
    server = Warren(tmp_path / "data", "--name-server", NAME_SERVER, WARREN_STEM_MEMORY_MB="0")
    server.start()
    client = server.client()
    name = deploy(client, PROBE, fresh_name("crash"), Timeout=60)
    assert reach(client, name, INTERNET) == both(INTERNET, "world")
    before = uplinks(server), router_rules(server), host_rules(server)
    server.process.kill()
    server.process.wait()
    server.start()
    try:
        assert len(uplinks(server)) == 1 and uplinks(server) != before[0]
        assert (router_rules(server), host_rules(server)) == before[1:]
        assert links(server) == ["lo", "up0"]
        assert reach(client, name, INTERNET + CLOSED) == {**both(INTERNET, "world"), **both(CLOSED, "refused")}
    finally:
        server.stop()
    assert uplinks(server) == [] and host_rules(server) is None and not router_of(server).parent.exists()
    assert (uplinks(warren), router_rules(warren), host_rules(warren)) == others


def test_a_start_that_fails_leaves_no_network(world, tmp_path):
    server = Warren(tmp_path / "data", "--name-server", NAME_SERVER, WARREN_STEM_MEMORY_MB="0")
    server.start()
    server.stop()
    blobs = server.folder / "blobs"
    shutil.rmtree(blobs)
    blobs.write_text("in the way")
    with pytest.raises(AssertionError, match="ended at its start"):
        server.start()
    assert server.log_path.read_text().count("functions can reach the internet") == 2, "it was there"
    assert leftovers(server) == {}


def test_a_network_that_could_not_be_made_is_tried_again(world, tmp_path):
    """New functions get none until then, and the internet after."""
    server = Warren(tmp_path / "data", "--name-server", NAME_SERVER, WARREN_STEM_MEMORY_MB="0")
    server.start()
    server.stop()
    folder = router_of(server).parent
    folder.write_text("in the way")
    try:
        server.start()
        assert "functions can have no network here" in server.log_tail()
        client = server.client()
        without = deploy(client, PROBE, fresh_name("without"), Timeout=60)
        assert answer_of(client, without, {"do": "interfaces"}) == ["lo"]
    finally:
        folder.unlink()
    # Tried after 5 s and then each 30 s.
    wait_within(lambda: "functions can reach the internet" in server.log_path.read_text().split("no network here")[-1], 120, "it is tried again")
    name = deploy(client, PROBE, fresh_name("with"), Timeout=60)
    assert reach(client, name, INTERNET + CLOSED[:2]) == {**both(INTERNET, "world"), **both(CLOSED[:2], "refused")}
    server.stop()
    assert leftovers(server) == {}
