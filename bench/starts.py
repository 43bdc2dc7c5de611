"""What the first call of a function costs: its own start against a sandbox started ahead, and a frozen instance against a running one, on each engine. `python3 bench/starts.py` (as root, after `make setup`)."""

import argparse
import datetime
import http.client
import json
import os
import pathlib
import platform
import subprocess
import tempfile
import time
import urllib.request

import machine
import stats
from servers import REPO, Process, free_port

FREEZE_S = 1
# Longer than the start of any stem.
SETTLED_S = 2.5
CODE = {
    "python3.13": ("app.py", "def handler(event, context):\n    return context.function_name\n", "app.handler"),
    "nodejs20.x": ("index.js", "exports.handler = async (event, context) => context.functionName;\n", "index.handler"),
}


class Server:
    """With stems or without."""

    def __init__(self, binary, work, stem_mb):
        self.binary, self.work = binary, work / f"stems-{stem_mb}"
        self.work.mkdir()
        self.control = free_port()
        self.data = self.work / "data"
        self.url = f"http://127.0.0.1:{self.control}"
        flags = ["--listen", f"127.0.0.1:{self.control}", "--routes-listen", f"127.0.0.1:{free_port()}"]
        flags += ["--stem-memory-mb", str(stem_mb), "--freeze-s", str(FREEZE_S)]
        self.process = Process(self.work, "warren", [binary, "serve", "--data-dir", self.data, *flags], cwd=self.work)
        self.process.wait_for(f"{self.url}/healthz")
        keys = (self.data / "credentials").read_text().split()
        at = {name: value for name, equals, value in zip(keys, keys[1:], keys[2:]) if equals == "="}
        self.key = f"Bearer {at['aws_access_key_id']}:{at['aws_secret_access_key']}"
        self.connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=60)

    def deploy(self, engine, runtime, name):
        file, source, handler = CODE[runtime]
        code = self.work / name
        code.mkdir()
        (code / file).write_text(source)
        words = [self.binary, "deploy", code, "--name", name, "--runtime", runtime, "--handler", handler, "--engine", engine]
        words += ["--server", self.url, "--data-dir", self.data]
        subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, cwd=self.work)

    def call_ms(self, name):
        begin = time.perf_counter()
        self.connection.request("POST", f"/api/v1/functions/{name}/invoke", b"{}", {"Authorization": self.key})
        answer = json.loads(self.connection.getresponse().read())
        spent = 1000 * (time.perf_counter() - begin)
        assert name in json.dumps(answer), answer
        return spent

    def settle(self):
        """Waits until no more stems come."""
        count, since = None, time.monotonic()
        while time.monotonic() < since + SETTLED_S:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            now = next(line for line in lines if line.startswith("warren_stems "))
            if now != count:
                count, since = now, time.monotonic()
            time.sleep(0.1)

    def engines(self):
        request = urllib.request.Request(f"{self.url}/api/v1/engines", headers={"Authorization": self.key})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [engine["name"] for engine in json.load(answer)["engines"] if engine["usable"]]


def starts(cold, ahead, engines, count):
    """First calls of fresh functions, in turns; milliseconds by engine, runtime and server."""
    found = {}
    for number in range(count):
        for engine in engines:
            for runtime in CODE:
                name = f"{engine}-{runtime.split('.')[0]}-{number}"
                for how, server in (("cold", cold), ("ahead", ahead)) if number % 2 else (("ahead", ahead), ("cold", cold)):
                    server.deploy(engine, runtime, name)
                    server.settle()
                    found.setdefault((engine, runtime), {}).setdefault(how, []).append(server.call_ms(name))
    return found


def thaws(server, engines, count):
    """Calls of an instance that is frozen, and of the same one right after; milliseconds by engine."""
    found = {}
    for engine in engines:
        name = f"{engine}-thaw"
        server.deploy(engine, "python3.13", name)
        server.call_ms(name)
        for _ in range(count):
            time.sleep(FREEZE_S + 1)
            found.setdefault(engine, {}).setdefault("frozen", []).append(server.call_ms(name))
            time.sleep(0.2)
            found[engine].setdefault("running", []).append(server.call_ms(name))
    return found


def shown(values):
    return f"{stats.percentile(values, 50):.1f} ({min(values):.1f} to {max(values):.1f})"


def report(first, thawed):
    yield "| engine | runtime | own start, ms | claimed, ms | claimed / own start |"
    yield "|---|---|---:|---:|---:|"
    for (engine, runtime), of in first.items():
        ratio = stats.percentile(of["ahead"], 50) / stats.percentile(of["cold"], 50)
        yield f"| {engine} | {runtime} | {shown(of['cold'])} | {shown(of['ahead'])} | {ratio:.2f} |"
    yield ""
    yield "| engine | running, ms | frozen, ms |"
    yield "|---|---:|---:|"
    for engine, of in thawed.items():
        yield f"| {engine} | {shown(of['running'])} | {shown(of['frozen'])} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=REPO / "target/release/warren", type=pathlib.Path)
    parser.add_argument("--engines", help="separated by commas [default: all that can be used]")
    parser.add_argument("--count", default=12, type=int, help="first calls of each kind")
    parser.add_argument("--out", type=pathlib.Path, help="the tables as Markdown, and the figures beside them as JSON")
    asked = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as work:
        servers = []
        try:
            for stem_mb in (0, 512):
                servers.append(Server(asked.binary.resolve(), pathlib.Path(work), stem_mb))
            cold, ahead = servers
            engines = asked.engines.split(",") if asked.engines else ahead.engines()
            first = starts(cold, ahead, engines, asked.count)
            thawed = thaws(cold, engines, asked.count)
        finally:
            for server in servers:
                server.process.stop()
    command = f"python3 bench/starts.py --engines {','.join(engines)} --count {asked.count}"
    kind = machine.host_kind({"architecture": platform.machine(), "cores": os.cpu_count()})
    text = "\n".join(
        [
            f"# What a first call costs, {datetime.date.today()}, {kind}",
            "",
            f"Light functions, {asked.count} fresh ones of each kind, both servers in turns; medians (least to most) on the client's clock; load average before: {load_before:.1f}. Again: `{command}`.",
            "",
            *report(first, thawed),
            "",
        ]
    )
    print(text)
    if asked.out:
        asked.out.write_text(text)
        raw = {
            "command": command,
            "load_before": load_before,
            "first": {" ".join(key): of for key, of in first.items()},
            "thawed": thawed,
        }
        asked.out.with_suffix(".json").write_text(json.dumps(raw, indent=1) + "\n")


if __name__ == "__main__":
    main()
