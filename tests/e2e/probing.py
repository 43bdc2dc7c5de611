"""What the tests of networks share: a function that tries what it can reach, and a server's rules as its host sees them."""

import contextlib
import pathlib
import re

from calls import answer_of
from calls import wait_until as wait_within
from host_view import folder_id
from server import BINARY
from world import GATEWAY, HOST, METADATA, NEIGHBOUR, PORT, PRIVATE, inside, run

# How long what follows a change may take.
SETTLE_S = 30
CLOSED = [*HOST, *GATEWAY, *NEIGHBOUR, *METADATA, *PRIVATE]

PROBE = """
import os, socket, threading, time

def handler(event, context):
    return globals()[event["do"]](event)

def reach(event):
    return {f"{kind} {host}": attempt(kind, host, event["port"]) for host in event["hosts"] for kind in ("tcp", "udp")}

def attempt(kind, host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as peer:
        peer.settimeout(3)
        try:
            peer.connect((host, port))
            if kind == "udp":
                peer.send(b"?")
            return peer.recv(100).decode()
        except OSError as error:
            # The kernel limits how often it tells that a datagram was refused; a connection is always told.
            return "refused" if error.errno or kind == "udp" else f"lost: {error}"

def listen(event):
    server = socket.create_server(("::", event["port"]), family=socket.AF_INET6, dualstack_ipv6=True)
    def serve():
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"sandbox")
    threading.Thread(target=serve, daemon=True).start()
    return own(event)

def own(event):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        four.connect(("203.0.113.9", 1))
        six.connect(("2001:db8:9::9", 1))
        return [four.getsockname()[0], six.getsockname()[0]]

def resolve(event):
    found = {}
    for name in event["names"]:
        try:
            found[name] = sorted({entry[4][0] for entry in socket.getaddrinfo(name, 80)})
        except socket.gaierror:
            found[name] = None
    return found

def interfaces(event):
    return [name for _, name in socket.if_nameindex()]

def end(event):
    os._exit(0)
"""


def wait_until(condition):
    wait_within(condition, SETTLE_S, "it did not come true")


def router_of(server):
    return pathlib.Path("/run/warren") / folder_id(server) / "net"


def uplinks(server):
    """Processes that carry a server's traffic."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if str(router_of(server)).encode() in words and b"--userns" in words:
                found.append(int(folder.name))
    return found


def router_rules(server):
    """Without the counts of connections, which the kernel forgets when it likes to, and what was refused a moment ago."""
    with inside(router_of(server)):
        rules = run("nft", "-s", "list", "ruleset")
    return re.sub(r"(set (?:connections|refused|refusals)[46] \{[^}]*?)\s*elements = \{[^}]*\}", r"\1", rules)


def host_table(server):
    return f"warren_{folder_id(server)}"


def host_rules(server):
    """The server's table in the host's namespace; none if it is not there."""
    tables = run("nft", "list", "tables")
    if f"table inet {host_table(server)}" not in tables:
        return None
    return run("nft", "-s", "list", "table", "inet", host_table(server))


@contextlib.contextmanager
def rules_out_of_the_way(server):
    """Lets everything through that the rules would refuse, and puts them back as they were."""
    before, before_host = router_rules(server), host_rules(server)
    handles = []
    with inside(router_of(server)):
        for chain in ("forward", "input"):
            handles.append((chain, accept_first("warren", chain)))
    host_handle = accept_first(host_table(server), "output")
    try:
        yield
    finally:
        run("nft", "delete", "rule", "inet", host_table(server), "output", "handle", host_handle)
        with inside(router_of(server)):
            for chain, handle in handles:
                run("nft", "delete", "rule", "inet", "warren", chain, "handle", handle)
        assert router_rules(server) == before
        assert host_rules(server) == before_host


def accept_first(table, chain):
    said = run("nft", "--echo", "--handle", "insert", "rule", "inet", table, chain, "accept")
    return re.search(r"handle (\d+)", said)[1]


def links(server):
    """Names of the router's links."""
    with inside(router_of(server)):
        return sorted(re.findall(r"^\d+: ([^:@]+)", run("ip", "link"), re.MULTILINE))


def reach(client, name, hosts, port=PORT):
    return answer_of(client, name, {"do": "reach", "hosts": hosts, "port": port})


def both(hosts, words):
    return {f"{kind} {host}": words for host in hosts for kind in ("tcp", "udp")}


def function_log(server, name):
    return run(BINARY, "logs", name, "--server", server.url, "--data-dir", str(server.folder))


def refusals(server, name):
    """What the function's log tells of refused destinations."""
    return [line for line in function_log(server, name).splitlines() if "The network policy" in line]


def cli(server, name, *policy, source=PROBE):
    """Deploys the probe, or another function, through the command line."""
    folder = server.folder.parent / name
    folder.mkdir()
    (folder / "app.py").write_text(source)
    flags = ["--runtime", "python3.13", "--handler", "app.handler", "--timeout", "180", *policy]
    connection = ["--server", server.url, "--data-dir", str(server.folder)]
    return run(BINARY, "deploy", str(folder), *flags, *connection)
