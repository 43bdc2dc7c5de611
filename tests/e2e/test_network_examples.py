"""The commands of docs/networks.md, run as they stand there; what they name is a stand-in (world.py), the database a real one."""

import http.server
import os
import pathlib
import shutil
import site
import subprocess

import pytest

import postgres
import world as stand_ins
from calls import answer_of, call
from postgres import Postgres
from server import BINARY, REPOSITORY, Warren
from world import INTERNET, NAME_SERVER, ZONE, World, inside

pytestmark = [
    pytest.mark.skipif(
        stand_ins.missing() is not None, reason=f"this machine lacks {stand_ins.missing()}"
    ),
    pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL is not installed"),
]

COMMAND_S = 300
PACKAGES = pathlib.Path(site.getsitepackages()[0])
# What `pip install -t examples/orders pg8000` puts there.
LIBRARIES = ["pg8000*", "scramp*", "asn1crypto*", "python_dateutil*", "dateutil", "six*"]


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a page")

    def log_message(self, *_):
        pass


@pytest.fixture
def world():
    """Its internet has a page, its neighbour a database; the test's thread is on its host."""
    made = World()
    pages = database = None
    try:
        made.make()
        with inside(made.rest):
            pages = http.server.ThreadingHTTPServer((INTERNET[0], 80), Page)
            made.serve(pages.serve_forever)
            database = Postgres(ZONE["db.internal"][0], 5432)
        database.sql("CREATE ROLE orders LOGIN")
        database.sql("CREATE DATABASE orders OWNER orders")
        database.sql("CREATE TABLE orders (id int PRIMARY KEY, item text)", database="orders")
        database.sql("INSERT INTO orders VALUES (7, 'a lamp')", database="orders")
        database.sql("GRANT SELECT ON orders TO orders", database="orders")
        with inside(made.host):
            yield made
    finally:
        if pages is not None:
            pages.shutdown()
            pages.server_close()
        if database is not None:
            database.remove()
        made.remove()


def commands():
    """Those that deploy an example."""
    lines = (REPOSITORY / "docs/networks.md").read_text().splitlines()
    found = [line.strip() for line in lines if line.startswith("    warren deploy examples/")]
    assert len(found) >= 3
    return found


@pytest.mark.skipif(
    not (PACKAGES / "pg8000").is_dir(), reason="pg8000 is not installed; `scripts/setup.sh test` does it"
)
def test_the_examples_reach_what_they_name(world, tmp_path):
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    for found in (path for name in LIBRARIES for path in PACKAGES.glob(name)):
        target = tmp_path / "examples/orders" / found.name
        (shutil.copytree if found.is_dir() else shutil.copy)(found, target)
    server = Warren(tmp_path / "data", "--name-server", NAME_SERVER)
    server.start()
    try:
        for command in commands():
            deployed = subprocess.run(
                ["bash", "-c", command.replace("warren deploy", f"{BINARY} deploy", 1)],
                cwd=tmp_path,
                env={**os.environ, "WARREN_SERVER": server.url, "WARREN_DATA_DIR": str(server.folder)},
                capture_output=True,
                text=True,
                timeout=COMMAND_S,
            )
            assert deployed.returncode == 0, (command, deployed.stderr)
        client = server.client()
        page = {"url": "http://db.example/"}
        assert answer_of(client, "fetch", page) == {"status": 200, "bytes": 6, "begins": "a page"}
        sales = {"sales": {"lamp": [3, 4], "chair": [1]}}
        assert answer_of(client, "report", sales)["total"] == 8
        assert answer_of(client, "orders", {"id": 7}) == [{"id": 7, "item": "a lamp"}]
        # And nothing else: the database's host at another port, for one that has the internet; the page for one that has the database.
        refused = call(client, "fetch", {"url": "http://db.internal:5432/"})
        assert refused.error and b"refused" in refused.payload, refused
        client.update_function_configuration(FunctionName="orders", Environment={"Variables": {"PGHOST": "db.example"}})
        client.get_waiter("function_updated_v2").wait(FunctionName="orders")
        unknown = call(client, "orders", {"id": 7})
        assert unknown.error and b"InterfaceError" in unknown.payload, unknown
    finally:
        server.stop()
