"""What the first call of a function costs: its own start against a sandbox started ahead, and a frozen instance against a running one, on each engine. `python3 bench/starts.py` (as root, after `make setup`)."""

import http.client
import json
import os
import pathlib
import tempfile
import time

import page
import servers
import stats

FREEZE_S = 1
# Longer than the start of any stem.
SETTLED_S = 2.5
CODE = {
    "python3.13": ("app.py", "def handler(event, context):\n    return context.function_name\n", "app.handler"),
    "nodejs20.x": ("index.js", "exports.handler = async (event, context) => context.functionName;\n", "index.handler"),
}


class Server(servers.Server):
    """With stems or without."""

    def __init__(self, binary, work, stem_mb):
        super().__init__(binary, work / f"stems-{stem_mb}", "--stem-memory-mb", stem_mb, "--freeze-s", FREEZE_S)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=60)

    def deploy_light(self, engine, runtime, name):
        file, source, handler = CODE[runtime]
        self.deploy(name, {file: source}, runtime, handler, "--engine", engine)

    def call_ms(self, name):
        begin = time.perf_counter()
        self.connection.request("POST", f"/api/v1/functions/{name}/invoke", b"{}", self.bearer)
        answer = json.loads(self.connection.getresponse().read())
        spent = 1000 * (time.perf_counter() - begin)
        assert name in json.dumps(answer), answer
        return spent

    def settle(self):
        """Waits until no more stems come."""
        count, since = None, time.monotonic()
        while time.monotonic() < since + SETTLED_S:
            now = self.metric("warren_stems ")
            if now != count:
                count, since = now, time.monotonic()
            time.sleep(0.1)

    def engines(self):
        return [engine["name"] for engine in self.ask("/engines")["engines"] if engine["usable"]]


def starts(cold, ahead, engines, count):
    """First calls of fresh functions, in turns; milliseconds by engine, runtime and server."""
    found = {}
    for number in range(count):
        for engine in engines:
            for runtime in CODE:
                name = f"{engine}-{runtime.split('.')[0]}-{number}"
                for how, server in (("cold", cold), ("ahead", ahead)) if number % 2 else (("ahead", ahead), ("cold", cold)):
                    server.deploy_light(engine, runtime, name)
                    server.settle()
                    found.setdefault((engine, runtime), {}).setdefault(how, []).append(server.call_ms(name))
    return found


def thaws(server, engines, count):
    """Calls of an instance that is frozen, and of the same one right after; milliseconds by engine."""
    found = {}
    for engine in engines:
        name = f"{engine}-thaw"
        server.deploy_light(engine, "python3.13", name)
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
    parser = page.arguments(__doc__)
    parser.add_argument("--engines", help="separated by commas [default: all that can be used]")
    parser.add_argument("--count", default=12, type=int, help="first calls of each kind")
    asked = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as work:
        started = []
        try:
            for stem_mb in (0, 512):
                started.append(Server(asked.binary.resolve(), pathlib.Path(work), stem_mb))
            cold, ahead = started
            engines = asked.engines.split(",") if asked.engines else ahead.engines()
            first = starts(cold, ahead, engines, asked.count)
            thawed = thaws(cold, engines, asked.count)
        finally:
            for server in started:
                server.stop()
    page.publish(
        asked.out,
        "What a first call costs",
        f"Light functions, {asked.count} fresh ones of each kind, both servers in turns; medians (least to most) on the client's clock",
        f"python3 bench/starts.py --engines {','.join(engines)} --count {asked.count}",
        load_before,
        report(first, thawed),
        {"first": {" ".join(key): of for key, of in first.items()}, "thawed": thawed},
    )


if __name__ == "__main__":
    main()
