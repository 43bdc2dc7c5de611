"""What a start costs a function whose Init is slow, with and without snapshots: on gVisor, in turns. `python3 bench/snapshots.py` (as root, after `make setup`)."""

import http.client
import json
import os
import pathlib
import tempfile
import time

import page
import servers
import stats

ENGINE = "gvisor"
# An instance ends when it has idled for so long, so that each call starts one.
IDLE_S = 1
# A checkpoint is made within a few seconds.
MADE_S = 60
FUNCTIONS = {
    "Python, imports and clients of boto3": (
        "python3.13",
        {"app.py": "import boto3\n\nCLIENTS = [boto3.client(name, region_name='us-east-1') for name in ('s3', 'dynamodb', 'sqs')]\n\n\ndef handler(event, context):\n    return len(CLIENTS)\n"},
        "app.handler",
    ),
    "Python, 500 ms of nothing": (
        "python3.13",
        {"app.py": "import time\n\ntime.sleep(0.5)\n\n\ndef handler(event, context):\n    return 3\n"},
        "app.handler",
    ),
    "JavaScript, 500 ms of work": (
        "nodejs20.x",
        {"index.js": "const end = Date.now() + 500;\nwhile (Date.now() < end);\nexports.handler = async () => 3;\n"},
        "index.handler",
    ),
}


class Server(servers.Server):
    def __init__(self, binary, work):
        super().__init__(binary, work / "server", "--stem-memory-mb", 0, "--idle-s", IDLE_S, "--freeze-s", 0)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=60)

    def call_ms(self, name):
        begin = time.perf_counter()
        self.connection.request("POST", f"/api/v1/functions/{name}/invoke", b"{}", self.bearer)
        answer = json.loads(self.connection.getresponse().read())
        spent = 1000 * (time.perf_counter() - begin)
        assert "3" in json.dumps(answer), answer
        return spent

    def wait_for_image(self, name):
        end = time.monotonic() + MADE_S
        while "instances are restored" not in (state := self.ask(f"/functions/{name}")["snap_start_state"]):
            if time.monotonic() > end:
                raise SystemExit(f"{name}: {state}")
            time.sleep(0.2)

    def waits(self, name):
        return [call["wait"] for call in self.ask(f"/functions/{name}/calls")["calls"]]


def measure(server, count):
    """Milliseconds of first calls on the client's clock, by function, started and restored."""
    found = {}
    for number, (title, (runtime, files, handler)) in enumerate(FUNCTIONS.items()):
        names = {"started": f"plain-{number}", "restored": f"snap-{number}"}
        server.deploy(names["started"], files, runtime, handler, "--engine", ENGINE, "--memory", "512")
        server.deploy(names["restored"], files, runtime, handler, "--engine", ENGINE, "--memory", "512", "--snap-start")
        server.call_ms(names["restored"])
        server.wait_for_image(names["restored"])
        of = found.setdefault(title, {how: [] for how in names})
        for turn in range(count):
            for how in sorted(names, reverse=turn % 2 == 0):
                time.sleep(IDLE_S + 1.5)
                of[how].append(server.call_ms(names[how]))
        # Newest first; the oldest made the image.
        time.sleep(1)
        assert server.waits(names["restored"])[:count] == ["restore"] * count, server.waits(names["restored"])
        assert set(server.waits(names["started"])) == {"start"}, server.waits(names["started"])
    return found


def shown(values):
    return f"{stats.percentile(values, 50):.0f} ({min(values):.0f} to {max(values):.0f})"


def report(found):
    yield "| function | started, ms | restored, ms | started / restored |"
    yield "|---|---:|---:|---:|"
    for title, of in found.items():
        ratio = stats.percentile(of["started"], 50) / stats.percentile(of["restored"], 50)
        yield f"| {title} | {shown(of['started'])} | {shown(of['restored'])} | {ratio:.2f} |"


def main():
    parser = page.arguments(__doc__)
    parser.add_argument("--count", default=10, type=int, help="calls of each kind")
    asked = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as work:
        server = Server(asked.binary.resolve(), pathlib.Path(work))
        try:
            found = measure(server, asked.count)
        finally:
            server.stop()
    page.publish(
        asked.out,
        "What a snapshot saves",
        f"{asked.count} calls of each kind in turns, each on an instance of its own; medians (least to most) on the client's clock",
        f"python3 bench/snapshots.py --count {asked.count}",
        load_before,
        report(found),
        {"found": found},
    )


if __name__ == "__main__":
    main()
