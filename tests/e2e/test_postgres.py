"""Functions in PostgreSQL: what is stored, what happens while it is away, who owns it, and how functions get there."""

import json
import os
import sqlite3
import subprocess
import threading
import time

import pytest
from botocore.exceptions import ClientError

import functions
import postgres
from calls import Background, answer_of, many_callers, wait_until
from functions import deploy, fresh_name
from server import BINARY, Warren

OUTAGE_S = 20
CALLERS = 4
# A change of another writer is seen within a second; tests allow five times that.
NOTICE_S = 5

VERSION = "SELECT runtime, handler, timeout_s, memory_mb FROM versions WHERE function = '{}' AND version = '$LATEST'"
ROUTE = "SELECT method, path FROM routes WHERE function = '{}'"


@pytest.fixture(scope="module")
def database():
    """One PostgreSQL server for this file; each test's Warren has a database of its own in it."""
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed; `scripts/setup.sh test` does it")
    server = postgres.Postgres()
    yield server
    server.remove()


@pytest.fixture
def empty(database):
    """The database without what earlier tests left in it."""
    if database.process is None:
        database.run()
    database.sql("DROP DATABASE warren WITH (FORCE)", database="postgres")
    database.sql("CREATE DATABASE warren", database="postgres")
    return database


@pytest.fixture
def start(tmp_path):
    """Starts servers; at the end all are stopped, and those that were killed clean up first."""
    started = []

    def start_server(name="data", **settings):
        server = Warren(tmp_path / name, **settings)
        started.append(server)
        return server.start()

    yield start_server
    for server in started:
        if server.process.poll() not in (None, 0):
            server.start()
        server.stop()


def on_postgres(database):
    return {"WARREN_DATABASE": database.url}


def warren(*arguments, status=0, **environment):
    """The command line; gives what it printed."""
    done = subprocess.run(
        [BINARY, *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def client_settings(server):
    return {"WARREN_SERVER": server.url, "WARREN_DATA_DIR": str(server.folder)}


def sqlite_rows(server, statement):
    with sqlite3.connect(server.folder / "warren.db") as connection:
        return [tuple(map(str, row)) for row in connection.execute(statement)]


def assert_reads_back(server, client, rows, name):
    """boto3, the command line and SQL say the same of the function."""
    configuration = client.get_function(FunctionName=name)["Configuration"]
    assert (configuration["Runtime"], configuration["Timeout"], configuration["MemorySize"]) == ("python3.13", 7, 256)
    shown = json.loads(warren("get", name, "--json", **client_settings(server)))
    assert (shown["name"], shown["runtime"], shown["timeout_s"], shown["routes"]) == (
        name,
        "python3.13",
        7,
        [f"GET /{name}"],
    )
    assert rows(VERSION.format(name)) == [("python3.13", "app.handler", "7", "256")]
    assert rows(ROUTE.format(name)) == [("GET", f"/{name}")]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_reads_back_equal_also_after_a_kill(request, start, tmp_path, kind):
    settings = on_postgres(request.getfixturevalue("empty")) if kind == "postgres" else {}
    server = start(**settings)
    rows = (
        request.getfixturevalue("empty").sql
        if kind == "postgres"
        else lambda statement: sqlite_rows(server, statement)
    )
    (tmp_path / "app.py").write_text(functions.ECHO)
    name = fresh_name()
    warren(
        *["deploy", tmp_path / "app.py", "--name", name, "--runtime", "python3.13"],
        *["--handler", "app.handler", "--route", f"GET /{name}", "--timeout", "7", "--memory", "256"],
        **client_settings(server),
    )
    client = server.client()
    assert_reads_back(server, client, rows, name)
    server.process.kill()
    server.process.wait()
    server.start()
    assert_reads_back(server, client, rows, name)
    assert answer_of(client, name, {"a": 1})["event"] == {"a": 1}
    assert server.fetch("GET", f"/{name}")[0] == 200
    assert (server.folder / "warren.db").exists() == (kind == "sqlite")


def refusal_of(change):
    """How a change was refused; None if it was made."""
    begin = time.monotonic()
    try:
        change()
    except ClientError as refusal:
        return refusal.response, time.monotonic() - begin
    return None


def test_an_outage_stops_changes_and_no_call(empty, start):
    server = start(**on_postgres(empty))
    client = many_callers(server)
    warm, cold = deploy(client, functions.ECHO), deploy(client, functions.ECHO)
    answer_of(client, warm, {})
    stop = threading.Event()

    def call_on():
        calls = 0
        while not stop.is_set():
            assert answer_of(client, warm, {"n": calls})["event"] == {"n": calls}
            calls += 1
        return calls

    callers = [Background(call_on) for _ in range(CALLERS)]
    time.sleep(1)
    empty.stop()
    begin = time.monotonic()
    time.sleep(1)
    # A function that has no instance is started.
    assert answer_of(client, cold, {"cold": True})["event"] == {"cold": True}
    refused = []
    while time.monotonic() < begin + OUTAGE_S:
        refused.append(refusal_of(lambda: client.update_function_configuration(FunctionName=warm, Timeout=9)))
        refused.append(refusal_of(lambda: deploy(client, functions.ECHO)))
        assert client.get_function(FunctionName=warm)["Configuration"]["Timeout"] == 3
        time.sleep(1)
    for response, seconds in refused:
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 503, response
        assert response["Error"]["Code"] == "ServiceUnavailableException"
        assert "database" in response["Error"]["Message"]
        assert int(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) > 0
        assert seconds < 5, "refused late"
    empty.run()
    wait_until(
        lambda: refusal_of(lambda: client.update_function_configuration(FunctionName=warm, Timeout=9)) is None,
        NOTICE_S,
        "changes are made again",
    )
    functions.wait(client, "function_updated_v2", warm)
    stop.set()
    calls = sum(caller.join() for caller in callers)
    assert empty.sql(VERSION.format(warm))[0][2] == "9"
    assert {row[0] for row in empty.sql("SELECT name FROM functions")} == {warm, cold}
    answer_of(client, deploy(client, functions.ECHO), {})
    print(f"\noutage of {OUTAGE_S} s: {calls} calls, none failed; {len(refused)} changes refused")
    assert postgres.PASSWORD not in server.log_path.read_text()


def test_what_another_writer_changed_is_seen(empty, start):
    server = start(**on_postgres(empty))
    client = server.client()
    name = deploy(client, functions.ECHO)
    begin = time.monotonic()
    empty.sql(f"UPDATE versions SET description = 'by SQL' WHERE function = '{name}'")
    wait_until(
        lambda: client.get_function(FunctionName=name)["Configuration"]["Description"] == "by SQL",
        NOTICE_S,
        "a change by SQL is seen",
    )
    print(f"\nseen after {time.monotonic() - begin:.3f} s")
    empty.sql(f"DELETE FROM functions WHERE name = '{name}'")
    wait_until(lambda: not client.list_functions()["Functions"], NOTICE_S, "it is gone")


def test_one_server_owns_a_database(empty, start, tmp_path):
    server = start(**on_postgres(empty))
    other = tmp_path / "other"
    said = warren("serve", "--data-dir", other, status=1, WARREN_LISTEN="127.0.0.1:0", WARREN_ROUTES_LISTEN="127.0.0.1:0", **on_postgres(empty))
    assert f"process {server.process.pid} on" in said, said
    assert postgres.PASSWORD not in said
    # The one that owns it loses its connections, not the database.
    empty.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'warren'")
    client = server.client()
    wait_until(
        lambda: refusal_of(lambda: deploy(client, functions.ECHO)) is None, NOTICE_S, "changes are made again"
    )


def test_migrate_moves_everything(empty, start, tmp_path):
    server = start()
    client = server.client()
    name = deploy(client, functions.ECHO, Description="moved", Timeout=7, Tags={"warren:route": "GET /moved"})
    client.publish_version(FunctionName=name)
    before = client.get_function(FunctionName=name)
    server.stop()
    # The code in the folder is not that of an empty database.
    flags = ["--data-dir", server.folder]
    anywhere = {"WARREN_LISTEN": "127.0.0.1:0", "WARREN_ROUTES_LISTEN": "127.0.0.1:0"}
    said = warren("serve", *flags, status=1, **anywhere, **on_postgres(empty))
    assert "warren migrate" in said, said
    said = warren("migrate", *flags, **on_postgres(empty))
    assert "moved 1 functions" in said and postgres.PASSWORD not in said, said
    # Nor that of a new SQLite file.
    said = warren("serve", *flags, status=1, **anywhere)
    assert "another database" in said, said
    assert not (server.folder / "warren.db").exists()
    server.settings = on_postgres(empty)
    server.start()
    client = server.client()
    after = client.get_function(FunctionName=name)
    assert after["Configuration"] == before["Configuration"] and after["Tags"] == before["Tags"]
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1"]
    assert server.fetch("GET", "/moved")[0] == 200


def test_a_newer_schema_is_refused_by_name(empty, start, tmp_path):
    server = start(**on_postgres(empty))
    server.stop()
    empty.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)"
        " VALUES (9999, 'future', true, '', 0)"
    )
    said = warren("serve", "--data-dir", server.folder, status=1, WARREN_LISTEN="127.0.0.1:0", WARREN_ROUTES_LISTEN="127.0.0.1:0", **on_postgres(empty))
    assert "migration 9999" in said, said
    assert postgres.PASSWORD not in said
