"""A PostgreSQL server of a test's own: Debian's programs, a folder, a Unix socket and no other address unless one is named."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

# Who runs it where the tests run as root, which PostgreSQL refuses.
NOBODY = 65534
START_S = 60
PASSWORD = "not-to-be-shown"


def programs():
    """The folder of the newest version's programs; None where there is no PostgreSQL."""
    found = pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in found), key=lambda path: float(path.parent.name), default=None)


class Postgres:
    """Starts empty; `stop` and `run` are an outage. `listen` names addresses beside the socket, at `port`; it trusts everybody there, or asks for a `password`."""

    def __init__(self, listen="", port=5432, password=None):
        self.listen, self.port = listen, port
        # The path of a socket has 107 bytes at most, so not the test's own folder.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="warren-pg-"))
        self.process = None
        if os.getuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
        options = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--no-locale", "--username=warren"]
        subprocess.run(
            self.command("initdb", *options, "--pgdata", self.folder / "data"),
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
        )
        if listen:
            with (self.folder / "data/pg_hba.conf").open("a") as rules:
                rules.write("host all all all trust\n")
        if password is not None:
            (self.folder / "data/pg_hba.conf").write_text("local all all trust\nhost all all all scram-sha-256\n")
        self.run()
        self.sql("CREATE DATABASE warren", database="postgres")
        if password is not None:
            self.sql(f"ALTER USER warren PASSWORD '{password}'")

    def command(self, program, *arguments):
        as_nobody = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"] if os.getuid() == 0 else []
        # It ends when the tests do, however they end.
        start = ["setpriv", "--pdeathsig", "QUIT", *as_nobody]
        return list(map(str, [*start, programs() / program, *arguments]))

    @property
    def url(self):
        """With a password, which no log may have; the server trusts everyone."""
        return f"postgres:///warren?user=warren&password={PASSWORD}&host={self.folder}"

    @property
    def options(self):
        """Of the program `postgres`."""
        settings = [f"listen_addresses={self.listen}", f"port={self.port}", "fsync=off"]
        words = [word for setting in settings for word in ("-c", setting)]
        return ["-D", str(self.folder / "data"), "-k", str(self.folder), *words]

    def run(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command("postgres", *self.options), stderr=log, cwd="/"
            )
        ready = self.command("pg_isready", "-q", "-h", self.folder, "-p", self.port)
        deadline = time.monotonic() + START_S
        while subprocess.run(ready, cwd="/").returncode != 0:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self):
        """At once, with all connections."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
            self.process = None

    def sql(self, statement, database="warren"):
        """What `psql` prints: rows of columns, all as text."""
        ask = ["-qAtX", "-v", "ON_ERROR_STOP=1", "-U", "warren", "-d", database, "-h", self.folder, "-p", self.port]
        done = subprocess.run(
            self.command("psql", *ask, "-c", statement), capture_output=True, text=True, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        return [tuple(line.split("|")) for line in done.stdout.splitlines()]

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder)
