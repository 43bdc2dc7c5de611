"""Starting and stopping what is measured. Everything listens on loopback only."""

import configparser
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

BENCH = Path(__file__).resolve().parent
REPO = BENCH.parent
PEERS = BENCH / "peers"
MODULES = PEERS / "node_modules"
# Seconds that a server may take before it answers.
PATIENCE = 60


def only(pattern):
    """The one file that an npm package for this kind of machine brings."""
    found = sorted(MODULES.glob(pattern))
    if not found:
        raise SystemExit(f"bench/peers/node_modules has no {pattern}: run `make bench`, which installs it")
    return found[0]


def node():
    return only("node-linux-*/bin/node")


def workerd():
    return only("@cloudflare/workerd-linux-*/bin/workerd")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server of ours, with its output in a file."""

    def __init__(self, work, name, command, **more):
        self.log = work / f"{name}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **more
            )

    def wait_for(self, url):
        """Until it answers; one that does not is ended."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    answer.read()
                    return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.stop(5)
                    raise SystemExit(f"no answer at {url}:\n{self.log.read_text()[-2000:]}")
                time.sleep(0.02)

    def stop(self, patience=60):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Peer:
    """One or more equal processes, each on a port of its own."""

    def __init__(self, work, name, command):
        """`command` gives the words for a port."""
        self.work, self.name, self.command = work, name, command
        self.processes, self.ports = [], []

    def grow(self, count):
        while len(self.ports) < count:
            port = free_port()
            started = Process(self.work, f"{self.name}-{len(self.ports)}", self.command(port), cwd=PEERS)
            started.wait_for(f"http://127.0.0.1:{port}/noop")
            self.processes.append(started)
            self.ports.append(port)

    def stop(self):
        for process in self.processes:
            process.stop(5)


def raw(work):
    return Peer(work, "raw", lambda port: [node(), "raw.js", port])


def framework(work):
    main = MODULES / "@google-cloud/functions-framework/build/src/main.js"
    # Its default address is every interface; only loopback is called.
    return Peer(work, "framework", lambda port: [node(), main, "--target=noop", "--source=framework.js", "--port", port])


def workerd_peer(work):
    return Peer(work, "workerd", lambda port: [workerd(), "serve", "workerd.capnp", "--socket-addr", f"http=127.0.0.1:{port}"])


# Functions on AWS's own clients of the Runtime API: name in the results, runtime, handler, files of the archive.
OFFICIAL_CLIENTS = [
    ("warren_awslambdaric", "python3.13-ric", "noop.handler", {"noop.py": PEERS / "noop.py"}),
    ("warren_aws_lambda_ric", "nodejs20-ric", "warren.handler", {name: PEERS / name for name in ("warren.js", "noop.js")}),
    ("warren_lambda_runtime", "provided.al2023", "bootstrap", {"bootstrap": REPO / "target/fixtures/release/noop"}),
]


class Server:
    """A Warren server with a data folder of its own; `flags` are for it."""

    def __init__(self, binary, work, *flags):
        self.binary, self.work = Path(binary), work
        self.data = work / "data"
        self.control, self.routes = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.control}"
        command = [self.binary, "serve", "--data-dir", self.data]
        command += ["--listen", f"127.0.0.1:{self.control}", "--routes-listen", f"127.0.0.1:{self.routes}", *flags]
        work.mkdir(exist_ok=True)
        # A warren.toml beside the repository is not for us.
        self.process = Process(work, "warren", command, cwd=work)
        self.process.wait_for(f"{self.url}/healthz")
        keys = configparser.ConfigParser()
        keys.read(self.data / "credentials")
        section = keys[keys.sections()[0]]
        self.key_id, self.secret = section["aws_access_key_id"], section["aws_secret_access_key"]
        self.bearer = {"Authorization": f"Bearer {self.key_id}:{self.secret}"}

    def deploy(self, name, files, runtime, handler, *flags):
        """A function of these files, by name inside and text."""
        code = self.work / f"code-{name}"
        code.mkdir()
        for inside, text in files.items():
            (code / inside).write_text(text)
        command = [self.binary, "deploy", code, "--name", name, "--runtime", runtime, "--handler", handler, *flags]
        command += ["--server", self.url, "--data-dir", self.data]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, cwd=self.work)

    def ask(self, path):
        """An answer of the native API."""
        request = urllib.request.Request(f"{self.url}/api/v1{path}", headers=self.bearer)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def metric(self, beginning):
        """The sum of the samples in /metrics that begin like this."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(beginning))

    def cpu_us(self):
        return cpu_us(self.process.process.pid)

    def stop(self):
        self.process.stop()


def cpu_us(pid):
    """Processor time of a process so far, in microseconds: all its threads, those that have ended too, by the kernel's own count and not in its clock's ticks."""
    # The clock that clock_getcpuclockid(3) gives; Python has no name for it.
    return time.clock_gettime_ns((~pid << 3) | 2) / 1000


class Warren(Server):
    """Default settings, one function, and one more for each official client."""

    def __init__(self, binary, work):
        shutil.copytree(REPO / "tests/fixtures/runtimes", work / "data/recipes")
        super().__init__(binary, work)
        # Other servers on this Docker daemon may have a function of the same name.
        self.function = f"bench-{os.urandom(4).hex()}"

    def archive(self, change):
        path = self.work / f"noop-{change}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("warren.js", "noop.js"):
                archive.writestr(name, f"// {change}\n" + (PEERS / name).read_text())
        return path

    def deploy_all(self):
        self.client("deploy", self.archive("first"), "nodejs20.x", "warren.handler", "/noop")
        for name, runtime, handler, files in OFFICIAL_CLIENTS:
            path = self.work / f"{name}.zip"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for inside, source in files.items():
                    entry = zipfile.ZipInfo(inside)
                    entry.external_attr = 0o755 << 16
                    archive.writestr(entry, source.read_bytes())
            self.client("deploy", path, runtime, handler, f"/{name}", function=f"{self.function}-{name}")

    def client(self, command, *more, function=None):
        done = subprocess.run(
            [str(word) for word in (node(), PEERS / "client.mjs", command, self.url, function or self.function, *more)],
            env={**os.environ, "AWS_ACCESS_KEY_ID": self.key_id, "AWS_SECRET_ACCESS_KEY": self.secret, "NODE_NO_WARNINGS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"client.mjs {command} failed:\n{done.stderr[-3000:]}\n{self.process.log.read_text()[-2000:]}")
        return json.loads(done.stdout)

    def log_lines(self):
        """The function's log files, as far as they are kept."""
        for path in sorted((self.data / "logs" / self.function).glob("*")):
            with open(path, errors="replace") as file:
                yield from file

    def durations_us(self, since_us):
        """`Duration` of the REPORT lines since a moment, in microseconds (10 us steps)."""
        found = []
        for line in self.log_lines():
            time_us, _, rest = line.partition("\t")
            if int(time_us) >= since_us and (match := re.search(r"\tREPORT .*?\tDuration: ([0-9.]+) ms", rest)):
                found.append(float(match[1]) * 1000)
        return found

    def agents(self):
        """Host-side process ids of PID 1 of each instance."""
        filters = urllib.parse.quote(json.dumps({"label": [f"warren.function={self.function}"]}))
        pids = []
        for container in docker(f"/containers/json?filters={filters}"):
            pid = docker(f"/containers/{container['Id']}/json")["State"]["Pid"]
            if pid:
                pids.append(pid)
        return pids

    def memory(self):
        """VmRSS in kB of the server, of the agents and of their runtimes."""
        agents = self.agents()
        runtimes = [child for agent in agents for child in children(agent)]
        return {
            "server_kb": rss_kb(self.process.process.pid),
            "agents_kb": [rss_kb(pid) for pid in agents],
            "runtimes_kb": [rss_kb(pid) for pid in runtimes],
        }


def rss_kb(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def docker(path):
    """GET on the daemon that Warren uses."""
    endpoint = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    scheme, _, address = endpoint.partition("://")
    connection = UnixConnection(address) if scheme == "unix" else http.client.HTTPConnection(address)
    try:
        connection.request("GET", path)
        return json.load(connection.getresponse())
    finally:
        connection.close()


class Workplace:
    """A folder for data and logs of one benchmark, removed if all went well."""

    def __enter__(self):
        base = REPO / "target/bench"
        base.mkdir(parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(dir=base))
        return self.path

    def __exit__(self, kind, *_):
        if kind is None:
            shutil.rmtree(self.path)
        else:
            print(f"logs are kept in {self.path.relative_to(REPO)}")
