"""Functions that may reach one PostgreSQL and nothing else, on the machine itself and in another container; before and after a restart of the Docker
daemon, which is the test's own."""

import re

import pytest

import own_docker
import postgres
import world as stand_ins
from calls import answer_of, call, wait_until
from functions import deploy, fresh_name
from own_docker import OwnDocker
from postgres import Postgres
from probing import CLOSED, PROBE, both, cli, host_rules, links, reach, router_rules, uplinks
from server import Warren, free_port
from world import INTERNET, NAME_SERVER

LACKS = stand_ins.missing() or own_docker.missing(links=True)
pytestmark = [
    pytest.mark.skipif(LACKS is not None, reason=f"this machine lacks {LACKS}"),
    pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL is not installed"),
]

# How long a daemon may take that has just come back.
RETURN_S = 120
IMAGE = "machine"

# A client in a few lines: no library has to be there (PostgreSQL's documentation, "Message Flow").
CLIENT = PROBE + '''
import struct

def row(event):
    try:
        peer = socket.create_connection((event["host"], event["port"]), 5)
    except socket.gaierror:
        return "unknown"
    except OSError as error:
        return "refused" if error.errno else "lost"
    with peer, peer.makefile("rb") as answers:
        words = b"user\\0warren\\0database\\0warren\\0\\0"
        peer.sendall(struct.pack("!II", len(words) + 8, 196608) + words)
        words = event["sql"].encode() + b"\\0"
        peer.sendall(b"Q" + struct.pack("!I", len(words) + 4) + words)
        while True:
            kind, length = struct.unpack("!cI", answers.read(5))
            body = answers.read(length - 4)
            if kind == b"E":
                return body.decode()
            if kind == b"D":
                return body[6 : 6 + struct.unpack("!I", body[2:6])[0]].decode()
'''
SQL = "SELECT item FROM orders WHERE id = 7"


@pytest.fixture(scope="module")
def docker(world):
    daemon = OwnDocker()
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.remove()


@pytest.fixture(scope="module")
def on_machine(world):
    """On the machine's loopback and nowhere else."""
    server = Postgres("127.0.0.1", free_port())
    fill(server, "a lamp")
    yield server
    server.remove()


@pytest.fixture(scope="module")
def in_container(docker):
    """The container `orders-db`, on the network `shop` as `db`; its programs are the machine's."""
    server = Postgres("*", 5432)
    fill(server, "a chair")
    server.stop()
    docker.import_links(IMAGE)
    docker.run("network", "create", "shop")
    options = ["--name", "orders-db", "--network", "shop", "--network-alias", "db", "--user", postgres.NOBODY]
    for folder, mode in {"/usr": "ro", "/etc": "ro", server.folder: "rw"}.items():
        options += ["--volume", f"{folder}:{folder}:{mode}"]
    docker.run("run", "--detach", *options, IMAGE, postgres.programs() / "postgres", *server.options)
    yield server
    docker.run("rm", "--force", "orders-db")
    server.remove()


def fill(server, item):
    server.sql("CREATE TABLE orders (id int PRIMARY KEY, item text)")
    server.sql(f"INSERT INTO orders VALUES (7, '{item}')")


@pytest.fixture(scope="module")
def warren(docker):
    server = Warren(
        docker.shared / "data",
        "--name-server",
        NAME_SERVER,
        environment={"DOCKER_HOST": docker.endpoint},
    )
    server.start()
    yield server
    server.stop()


def allowed(server, *destinations):
    name = fresh_name("orders")
    cli(server, name, *(word for destination in destinations for word in ("--allow", destination)), source=CLIENT)
    return name


def row(client, name, host, port):
    return answer_of(client, name, {"do": "row", "host": host, "port": port, "sql": SQL})


def state(server):
    """Rules, links and uplink. Without what is near: the host's networks change with the daemon, and the rules with them."""
    rules = re.sub(r"\tset near[46] \{.*?\n\t\}\n", "", router_rules(server), flags=re.DOTALL)
    return rules, host_rules(server), links(server), uplinks(server)


def test_a_row_of_the_allowed_database_and_of_no_other(warren, docker, on_machine, in_container):
    client = warren.client()
    before = state(warren)
    port = on_machine.port
    functions = {
        "machine": allowed(warren, f"host:{port}"),
        "container": allowed(warren, "container:orders-db:5432"),
        "network": allowed(warren, "network:shop:5432"),
        "neither": allowed(warren, "db.internal:5432", "host:1"),
        "internet": deploy(client, CLIENT, fresh_name("internet"), Timeout=60),
    }
    address = docker.run("inspect", "--format", "{{.NetworkSettings.Networks.shop.IPAddress}}", "orders-db")

    def check():
        assert row(client, functions["machine"], "host.warren.internal", port) == "a lamp"
        assert row(client, functions["container"], "orders-db", 5432) == "a chair"
        assert row(client, functions["network"], "db", 5432) == "a chair"
        assert row(client, functions["network"], "orders-db", 5432) == "a chair"
        # By address it is open since it was named, for these two and for nobody else.
        for name in ("machine", "neither", "internet"):
            assert row(client, functions[name], address, 5432) == "refused", name
            assert row(client, functions[name], "orders-db", 5432) == "unknown", name
        for name in ("container", "network", "neither", "internet"):
            assert row(client, functions[name], "169.254.1.2", port) == "refused", name
        for name in ("container", "network"):
            assert row(client, functions[name], "host.warren.internal", port) == "unknown", name
        assert reach(client, functions["internet"], [*CLOSED, *INTERNET]) == {
            **both(CLOSED, "refused"),
            **both(INTERNET, "world"),
        }

    check()
    docker.stop()
    now = state(warren)
    assert (now[1], now[3]) == (before[1], before[3])
    # Nothing but what its sandboxes had may be gone by now.
    assert now[0].count("goto refuse") == before[0].count("goto refuse")
    docker.start()
    docker.run("start", "orders-db")
    address = docker.run("inspect", "--format", "{{.NetworkSettings.Networks.shop.IPAddress}}", "orders-db")
    # Instances that the daemon ended are found out by their next call.
    for name in functions.values():
        wait_until(lambda name=name: call(client, name, {"do": "interfaces"}).error is None, RETURN_S, name)
    wait_until(
        lambda: row(client, functions["container"], "orders-db", 5432) == "a chair", RETURN_S, "the database is back"
    )
    check()
    for name in functions.values():
        client.delete_function(FunctionName=name)
    wait_until(lambda: state(warren) == before, RETURN_S, "rules, links and uplink as before")
