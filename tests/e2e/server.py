"""A Warren server as a test has it: started in a folder of its own, spoken to by real clients."""

import configparser
import contextlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

import model_check
from host_view import leftovers

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("WARREN_BINARY", str(REPOSITORY / "target/release/warren"))
REGION = "us-east-1"
ACCOUNT = "000000000000"
START_S = 60
STOP_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(folder, *flags, **settings):
    """A server of these flags and settings from its start to its end, which must leave nothing."""
    server = Warren(folder, *flags, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert leftovers(server) == {}


class Warren:
    """One server process and its clients; `flags` and `settings` (variables) are for it, `through` is what comes before its command."""

    def __init__(self, folder: pathlib.Path, *flags, through=(), environment=None, **settings):
        self.folder = folder
        self.flags = flags
        self.through = list(through)
        self.settings = {**(environment or {}), **settings}
        self.log_path = folder.parent / (folder.name + ".log")
        self.control = ("127.0.0.1", free_port())
        self.routes = ("127.0.0.1", free_port())
        self.process = None

    @property
    def url(self):
        return "http://%s:%d" % self.control

    @property
    def routes_url(self):
        return "http://%s:%d" % self.routes

    def start(self):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.through
                + [BINARY, "serve", "--data-dir", str(self.folder)]
                + ["--listen", "%s:%d" % self.control]
                + ["--routes-listen", "%s:%d" % self.routes, *self.flags],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.settings},
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended at its start:\n{self.log_tail()}")
            try:
                with urllib.request.urlopen(self.url + "/healthz", timeout=2) as answer:
                    assert json.load(answer)["status"] == "ok"
                self.assert_engine()
                return self
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the server did not answer within {START_S} s:\n{self.log_tail()}")

    def assert_engine(self):
        """Where one was asked for, functions that name none really run on that one."""
        asked = {**os.environ, **self.settings}.get("WARREN_DEFAULT_ENGINE")
        if asked is not None:
            request = urllib.request.Request(self.url + "/api/v1/engines", headers={"Authorization": "Bearer %s:%s" % self.keys()})
            with urllib.request.urlopen(request, timeout=30) as answer:
                engines = json.load(answer)["engines"]
            assert [engine["name"] for engine in engines if engine["default"]] == [asked], engines

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop within {STOP_S} s:\n{self.log_tail()}")

    def log_tail(self):
        return self.log_path.read_text(errors="replace")[-4000:]

    def keys(self):
        profile = configparser.ConfigParser()
        profile.read(self.folder / "credentials")
        section = profile[profile.sections()[0]]
        return section["aws_access_key_id"], section["aws_secret_access_key"]

    def client(self, service="lambda", checked=True, validated=True, **overrides):
        """A boto3 client that does not retry; each of its Lambda answers is held against botocore's model.

        Without `validated` it sends what botocore itself would refuse.
        """
        key_id, secret = self.keys()
        settings = {
            "endpoint_url": self.url,
            "region_name": REGION,
            "aws_access_key_id": key_id,
            "aws_secret_access_key": secret,
            "config": Config(
                retries={"total_max_attempts": 1}, read_timeout=120, parameter_validation=validated
            ),
        }
        client = boto3.client(service, **{**settings, **overrides})
        if checked and service == "lambda":
            client.meta.events.register("after-call.lambda.*", model_check.after_call)
        return client

    def fetch(self, method, target, headers=None, body=None):
        """A plain request to the routes address; gives status, headers and body."""
        connection = http.client.HTTPConnection(*self.routes, timeout=60)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()
