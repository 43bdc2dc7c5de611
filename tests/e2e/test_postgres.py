"""Functions in PostgreSQL: what is stored, what happens while it is away, who owns it, and how functions get there."""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.request

import pytest
from botocore.exceptions import ClientError

import functions
import postgres
from calls import Background, answer_of, many_callers, wait_until
from functions import deploy, fresh_name
from server import BINARY, Warren, free_port

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
    """The command line; gives what it printed. No status is looked at if it is None."""
    done = subprocess.run(
        [BINARY, *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert status is None or done.returncode == status, (done.stdout, done.stderr)
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
    assert f"process {server.process.pid} on" in said and "end that one first" in said, said
    assert postgres.PASSWORD not in said
    # The one that owns it loses its connections, not the database.
    empty.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'warren'")
    client = server.client()
    wait_until(
        lambda: refusal_of(lambda: deploy(client, functions.ECHO)) is None, NOTICE_S, "changes are made again"
    )


def test_a_database_that_does_not_open_says_why_and_what_next(tmp_path):
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed; `scripts/setup.sh test` does it")
    port, nobody = free_port(), free_port()
    server = postgres.Postgres(listen="127.0.0.1", port=port, password=postgres.PASSWORD)
    given, wrong = f"warren:{postgres.PASSWORD}", "warren:wrong"
    cases = [
        (f"{given}@127.0.0.1:{nobody}/warren", ["nobody listens", f"127.0.0.1:{nobody}", "onnection refused", "start PostgreSQL there"]),
        (f"/warren?user=warren&host={tmp_path}", ["no server at the socket", str(tmp_path), "start PostgreSQL"]),
        (f"{given}@no-such-host.invalid/warren", ["no-such-host.invalid:5432 can't be reached", "look at host and port"]),
        (f"{wrong}@127.0.0.1:{port}/warren", ["the password of the user warren is wrong", "look at both"]),
        (f"warren@127.0.0.1:{port}/warren", ["asks for a password of the user warren, and none was given", "PGPASSWORD"]),
        (f"{given}@127.0.0.1:{port}/warren?sslmode=require", ["sslmode=require", "ssl = on", "sslmode=disable", "does not support TLS"]),
        (f"{given}@127.0.0.1:{port}/none", ["no database of this name", "createdb"]),
    ]
    try:
        for url, words in cases:
            settings = {"WARREN_DATABASE": f"postgres://{url}", "WARREN_LISTEN": "127.0.0.1:0", "WARREN_ROUTES_LISTEN": "127.0.0.1:0"}
            said = warren("serve", "--data-dir", tmp_path / "data", status=1, **settings)
            for word in words:
                assert word in said, (word, said)
            # Once, and not where in PostgreSQL's source it was said.
            assert said.count("authentication failed") <= 1 and " at line " not in said, said
            assert "pool timed out" not in said and postgres.PASSWORD not in said and "wrong@" not in said, said
            looked = warren("doctor", "--json", "--data-dir", tmp_path / "data", status=1, **settings)
            report, _ = json.JSONDecoder().raw_decode(looked)
            looked = {check["part"]: check for check in report["this_machine"]}["database"]
            assert looked["verdict"] == "missing" and words[0] in looked["found"], looked
    finally:
        server.remove()


def test_code_that_is_in_another_data_folder_is_named(empty, start):
    server = start(**on_postgres(empty))
    client = server.client()
    name = deploy(client, functions.ECHO, Tags={"warren:route": "GET /named"})
    again = deploy(client, functions.ECHO + "# again")
    digests = {each: json.loads(warren("get", each, "--json", **client_settings(server)))["code"]["sha256"] for each in (name, again)}
    server.stop()
    # The same database, and a data folder without its code.
    other = start("other", **on_postgres(empty))
    client = other.client()
    for each, digest in digests.items():
        response, _ = refusal_of(lambda: answer_of(client, each))
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 500, response
        for words in [digest, str(other.folder), "--data-dir", "'blobs'", "UpdateFunctionCode"]:
            assert words in response["Error"]["Message"], (words, response)
        shown = client.get_function(FunctionName=each)["Configuration"]
        assert shown["State"] == "Failed" and digest in shown["StateReason"], shown
        assert digest in warren("get", each, **client_settings(other))
        assert digest in warren("invoke", each, status=1, **client_settings(other))
    status, _, body = other.fetch("GET", "/named")
    assert status == 500 and b"code is not on this server" in body and str(other.folder).encode() not in body
    assert "2 functions" in problems_of(other)["code"]
    looked = warren("doctor", status=None, **client_settings(other), **on_postgres(empty))
    assert "2 functions" in looked and "blobs" in looked and postgres.PASSWORD not in looked, looked
    assert "postgres answers" in looked and "revision" in looked, looked
    log = other.log_path.read_text()
    assert "functions can't be called: their code is not in the data folder" in log and digests[name] in log
    # The same code once more is code that is there.
    client.update_function_code(FunctionName=again, ZipFile=functions.zip_of(functions.ECHO + "# again"))
    functions.wait(client, "function_updated_v2", again)
    assert answer_of(client, again, {"a": 1})["event"] == {"a": 1}
    assert "1 functions" in problems_of(other)["code"]
    # So is what is copied, without a restart.
    shutil.copytree(server.folder / "blobs", other.folder / "blobs", dirs_exist_ok=True)
    wait_until(lambda: problems_of(other) == {}, NOTICE_S, "the code is found")
    assert answer_of(client, name, {"a": 1})["event"] == {"a": 1}
    assert client.get_function(FunctionName=name)["Configuration"]["State"] == "Active"
    # What is taken away from a server that runs is named at the next start of an instance.
    cold = deploy(client, functions.ECHO + "# cold")
    for taken in [*other.folder.glob("blobs/sha256/*/*"), *other.folder.glob("code/*/")]:
        shutil.rmtree(taken) if taken.is_dir() else taken.unlink()
    response, _ = refusal_of(lambda: answer_of(client, cold))
    assert "sha256" in response["Error"]["Message"], response


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
    said = warren("migrate", *flags, status=1, **on_postgres(empty))
    assert "moved already" in said and "warren.db.moved" in said and "they are in postgres://" in said, said
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
    # What is there at each start is no news.
    assert "already exists" not in server.log_path.read_text()
    server.stop()
    # Nothing moves into a database that another one uses.
    other = start("other")
    other.stop()
    said = warren("migrate", "--data-dir", other.folder, status=1, **on_postgres(empty))
    assert "empty database only" in said and "createdb" in said and "1 functions" in said, said
    assert (other.folder / "warren.db").exists()


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


def health_of(server):
    with urllib.request.urlopen(server.url + "/healthz", timeout=10) as answer:
        return json.load(answer)


def problems_of(server):
    """Part and state of what is not as it should be."""
    return {problem["part"]: problem["found"] for problem in health_of(server)["problems"]}


def zips_of(server):
    return {path.name for path in server.folder.glob("blobs/sha256/*/*")}


def test_an_older_database_costs_no_code(empty, start):
    """A backup is put back, and then the newer state again: all code is there."""
    server = start(**on_postgres(empty))
    deploy(server.client(), functions.ECHO)
    server.stop()
    empty.sql("CREATE DATABASE older TEMPLATE warren", database="postgres")
    server.start()
    names = [deploy(server.client(), functions.ECHO + f"# {number}") for number in range(2)]
    server.stop()
    zips = zips_of(server)
    assert len(zips) == 3
    empty.sql("ALTER DATABASE warren RENAME TO newer", database="postgres")
    empty.sql("ALTER DATABASE older RENAME TO warren", database="postgres")
    for _ in range(2):
        server.start()
        assert "older than the data folder" in problems_of(server)["code removal"]
        said = warren("doctor", status=None, **client_settings(server))
        assert "removal-stopped" in said, said
        server.stop()
        assert zips_of(server) == zips
    empty.sql("DROP DATABASE warren", database="postgres")
    empty.sql("ALTER DATABASE newer RENAME TO warren", database="postgres")
    (server.folder / "removal-stopped").unlink()
    server.start()
    assert problems_of(server) == {}
    for name in names:
        assert answer_of(server.client(), name, {"a": 1})["event"] == {"a": 1}


def test_a_folder_of_another_database_changes_nothing_there(empty, start, tmp_path):
    server = start(**on_postgres(empty))
    deploy(server.client(), functions.ECHO)
    server.stop()
    other = start("other")
    other.stop()
    (other.folder / "warren.db").unlink()
    before = empty.sql("SELECT * FROM meta")
    anywhere = {"WARREN_LISTEN": "127.0.0.1:0", "WARREN_ROUTES_LISTEN": "127.0.0.1:0"}
    said = warren("serve", "--data-dir", other.folder, status=1, **anywhere, **on_postgres(empty))
    assert "another database" in said and "sqlite" in said, said
    assert empty.sql("SELECT * FROM meta") == before
    # Nor is a file of another one brought up to date.
    third = start("third")
    third.stop()
    for file in other.folder.glob("warren.db*"):
        file.unlink()
    for file in third.folder.glob("warren.db*"):
        shutil.copy(file, other.folder)
    with contextlib.closing(sqlite3.connect(other.folder / "warren.db")) as connection, connection:
        connection.execute("DROP TABLE _sqlx_migrations")
    for command in (["serve"], ["migrate", "--database", empty.url]):
        said = warren(*command, "--data-dir", other.folder, status=1, **anywhere)
        assert "another database" in said, said
        assert sqlite_rows(other, "SELECT name FROM sqlite_master WHERE name = '_sqlx_migrations'") == []
    for file in other.folder.glob("warren.db*"):
        file.unlink()
    # Nor in an empty one.
    empty.sql("CREATE DATABASE other", database="postgres")
    url = empty.url.replace("/warren?", "/other?")
    said = warren("serve", "--data-dir", other.folder, status=1, **anywhere, WARREN_DATABASE=url)
    assert "another database" in said, said
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert empty.sql(tables, database="other") == []
    empty.sql("DROP DATABASE other", database="postgres")


def test_a_server_that_lost_its_database_is_frozen(empty, start):
    server = start(**on_postgres(empty))
    client = server.client()
    name = deploy(client, functions.ECHO)
    answer_of(client, name)
    empty.sql("UPDATE meta SET owner = 'another', holder = 'the other one'")
    wait_until(lambda: "lost" in problems_of(server).get("database", ""), NOTICE_S, "the loss is noticed")
    # Nothing of what happens there counts here any more.
    empty.sql("TRUNCATE functions CASCADE")
    for _ in range(3):
        response, seconds = refusal_of(lambda: deploy(client, functions.ECHO))
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 503 and seconds < 5
        assert "the other one" in response["Error"]["Message"]
        assert answer_of(client, name, {"a": 1})["event"] == {"a": 1}
        assert client.get_function(FunctionName=name)
        time.sleep(1)
    assert zips_of(server)


ENVIRONMENT = """
import os

def handler(event, context):
    return os.environ["WHICH"]
"""


def test_sql_reaches_warm_instances_and_harms_one_function(empty, start):
    server = start(**on_postgres(empty))
    client = server.client()
    name = deploy(client, ENVIRONMENT, Environment={"Variables": {"WHICH": "first"}})
    other = deploy(client, functions.ECHO)
    assert answer_of(client, name) == "first"
    environment = json.dumps({"WHICH": "second"})
    empty.sql(f"UPDATE versions SET environment = '{environment}' WHERE function = '{name}'")
    wait_until(lambda: answer_of(client, name) == "second", NOTICE_S * 4, "the instance is replaced")
    empty.sql(f"UPDATE versions SET memory_mb = 1 WHERE function = '{name}'")
    wait_until(lambda: "functions" in problems_of(server), NOTICE_S, "the damage is noticed")
    for ask in [
        lambda: client.get_function(FunctionName=name),
        lambda: answer_of(client, name),
        lambda: deploy(client, functions.ECHO, name),
    ]:
        response, _ = refusal_of(ask)
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 500, response
        assert "can't be read" in response["Error"]["Message"]
    assert "memory_mb" in server.log_path.read_text()
    # All else goes on.
    assert answer_of(client, other, {"a": 1})["event"] == {"a": 1}
    answer_of(client, deploy(client, functions.ECHO))
    empty.sql(f"UPDATE versions SET memory_mb = 128 WHERE function = '{name}'")
    wait_until(lambda: problems_of(server) == {}, NOTICE_S, "it is well again")
    assert answer_of(client, name) == "second"


MANY = 3_000
KILLS = 8


def copies(folder, name):
    """Many functions more like this one."""
    with contextlib.closing(sqlite3.connect(folder / "warren.db")) as connection, connection:
        for table, key in [("functions", "name"), ("versions", "function")]:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            rest = ", ".join(column for column in columns if column != key)
            connection.execute(
                f"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {MANY - 1})"
                f" INSERT INTO {table} ({key}, {rest}) SELECT '{name}-' || n, {rest} FROM {table}, n WHERE {key} = '{name}'"
            )


def test_migrate_killed_at_any_moment_moves_all_or_nothing(empty, start):
    server = start()
    name = deploy(server.client(), functions.ECHO, "many")
    server.stop()
    copies(server.folder, name)
    before = server.folder.parent / "before"
    command = [BINARY, "migrate", "--data-dir", str(server.folder)]
    environment = {**os.environ, **on_postgres(empty)}
    shutil.copytree(server.folder, before)
    counts, seconds = [], None
    # The first is not killed: it says how long one takes.
    for kill in range(KILLS + 1):
        shutil.rmtree(server.folder)
        shutil.copytree(before, server.folder)
        empty.sql("DROP DATABASE warren WITH (FORCE)", database="postgres")
        empty.sql("CREATE DATABASE warren", database="postgres")
        begin = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if seconds is None:
            assert process.wait(240) == 0
            seconds = time.monotonic() - begin
        else:
            time.sleep(random.uniform(0.3, 1.1) * seconds)
            process.send_signal(signal.SIGKILL)
            process.wait()
        there = empty.sql("SELECT to_regclass('functions')")
        count = int(empty.sql("SELECT count(*) FROM functions")[0][0]) if there != [("",)] else 0
        assert count in (0, MANY), "all or nothing"
        assert count == MANY or (server.folder / "warren.db").exists()
        counts.append(count)
        # Again, to its end, also after one that had come to it.
        if (server.folder / "warren.db").exists():
            warren("migrate", "--data-dir", server.folder, **on_postgres(empty))
        assert empty.sql("SELECT count(*) FROM functions") == [(str(MANY),)]
        assert empty.sql("SELECT count(*) FROM versions") == [(str(MANY),)]
        assert not (server.folder / "warren.db").exists()
    print(f"\n{MANY} functions moved in {seconds:.2f} s; at the kills {counts[1:]} were there")
    server.settings = on_postgres(empty)
    server.start()
    assert problems_of(server) == {}
    assert answer_of(server.client(), name, {"a": 1})["event"] == {"a": 1}
