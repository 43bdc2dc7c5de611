"""What recording calls costs: two servers, one with records and one without, loaded in turn. `python3 bench/records.py` (as root, after `make setup`)."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import tempfile
import urllib.request

import machine
import stats
from load import wrk
from servers import PEERS, REPO, Process, free_port

CONNECTIONS = (1, 16)


class Server:
    """With one function, a no-op in JavaScript at the route /noop."""

    def __init__(self, binary, work, engine, records):
        self.work = work / records
        self.work.mkdir()
        self.control, self.routes = free_port(), free_port()
        url = f"http://127.0.0.1:{self.control}"
        data = self.work / "data"
        flags = ["--listen", f"127.0.0.1:{self.control}", "--routes-listen", f"127.0.0.1:{self.routes}", "--records", records]
        self.process = Process(self.work, "warren", [binary, "serve", "--data-dir", data, *flags], cwd=self.work)
        self.process.wait_for(f"{url}/healthz")
        self.metrics_url = f"{url}/metrics"
        code = self.work / "code"
        code.mkdir()
        for name in ("warren.js", "noop.js"):
            (code / name).write_text((PEERS / name).read_text())
        deploy = [binary, "deploy", code, "--name", "noop", "--runtime", "nodejs20.x", "--handler", "warren.handler"]
        deploy += ["--route", "GET /noop", "--engine", engine, "--server", url, "--data-dir", data]
        subprocess.run([str(word) for word in deploy], check=True, stdout=subprocess.DEVNULL, cwd=self.work)

    def cpu_us(self):
        """Processor time of the server's threads so far, in microseconds: the kernel's own count, not that of its clock's ticks."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1000

    def load(self, connections, seconds):
        """Requests a second, and processor time of the server for each."""
        before = self.cpu_us()
        run = wrk([self.routes], connections, seconds)
        return {"rate": run["rate"], "server_us": (self.cpu_us() - before) / run["requests"]}

    def metric(self, name):
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def measure(on, off, rounds, seconds):
    """Runs by connections and server, round by round; each round begins with the other one."""
    runs = {count: {"on": [], "off": []} for count in CONNECTIONS}
    for number in range(rounds):
        for count in CONNECTIONS:
            pair = [("on", on), ("off", off)]
            for name, server in pair if number % 2 else pair[::-1]:
                runs[count][name].append(server.load(count, seconds))
    return runs


def table(runs):
    yield "| at a time | on, requests/s | off, requests/s | on / off: median (95 % interval) | server's processor time a call, on and off, us | more with records, us (95 % interval) |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for count, found in runs.items():
        of = {(name, key): [run[key] for run in found[name]] for name in found for key in ("rate", "server_us")}
        ratios = stats.paired_ratios(of["on", "rate"], of["off", "rate"])
        more = [a - b for a, b in zip(of["on", "server_us"], of["off", "server_us"])]
        middle = {key: stats.percentile(values, 50) for key, values in of.items()}
        yield (
            f"| {count} | {middle['on', 'rate']:,.0f} | {middle['off', 'rate']:,.0f} | {shown(ratios, 3)} "
            f"| {middle['on', 'server_us']:.1f}, {middle['off', 'server_us']:.1f} | {shown(more, 2)} |"
        )


def shown(values, digits):
    low, high = stats.bootstrap_interval(values)
    return f"{stats.percentile(values, 50):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=REPO / "target/release/warren", type=pathlib.Path)
    parser.add_argument("--engine", default="docker")
    parser.add_argument("--rounds", default=15, type=int)
    parser.add_argument("--seconds", default=4, type=int)
    parser.add_argument("--out", type=pathlib.Path, help="the table as Markdown, and the rates beside it as JSON")
    asked = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as work:
        started = []
        try:
            for records in ("on", "off"):
                started.append(Server(asked.binary.resolve(), pathlib.Path(work), asked.engine, records))
            on, off = started
            for server in started:
                # The first call starts the instance.
                urllib.request.urlopen(f"http://127.0.0.1:{server.routes}/noop", timeout=60).close()
                wrk([server.routes], 16, 2)
            runs = measure(on, off, asked.rounds, asked.seconds)
            kept, dropped = on.metric("warren_records_written_total"), on.metric("warren_records_dropped_total")
        finally:
            for server in started:
                server.process.stop()
    command = f"python3 bench/records.py --engine {asked.engine} --rounds {asked.rounds} --seconds {asked.seconds}"
    text = "\n".join(
        [
            f"# What recording costs, {datetime.date.today()}, {machine.host_kind({'architecture': platform.machine(), 'cores': os.cpu_count()})}",
            "",
            f"{asked.rounds} interleaved rounds of {asked.seconds} s on {asked.engine}; load average before: {load_before:.1f}. Again: `{command}`.  ",
            f"Records written: {kept:,.0f}; dropped: {dropped:,.0f}.",
            "",
            *table(runs),
            "",
        ]
    )
    print(text)
    if asked.out:
        asked.out.write_text(text)
        raw = {"command": command, "load_before": load_before, "kept": kept, "dropped": dropped, "runs": runs}
        asked.out.with_suffix(".json").write_text(json.dumps(raw, indent=1) + "\n")


if __name__ == "__main__":
    main()
