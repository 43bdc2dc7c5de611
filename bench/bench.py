"""Measures Warren and its peers, interleaved. Started by scripts/bench.sh; what it means: bench/README.md."""

import datetime
import json
import os
import sys
import time

import machine
import report
import servers
import stats
from load import checked, wrk
from servers import REPO


def number(name, default):
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise SystemExit(f"{name} is {text}, not a whole number")
    return int(text)


SETTINGS = {
    "rounds": max(number("ROUNDS", 3), 1),
    "seconds": max(number("SECONDS_EACH", 10), 1),
    "connections": [1, 16],
    "cold": number("COLD", 10),
    "warm_up_seconds": number("WARM_UP", 3),
}
# Repeats the run with settings that differ from the defaults.
COMMAND = " ".join([f"{key}={os.environ[key]}" for key in ("ROUNDS", "SECONDS_EACH", "COLD", "WARM_UP") if key in os.environ] + ["make bench"])


def say(text):
    print(text, file=sys.stderr, flush=True)


class Bench:
    def __init__(self, warren, raw, framework, workerd):
        self.warren, self.raw, self.framework, self.workerd = warren, raw, framework, workerd
        self.route_port = warren.routes
        self.runs = []
        # Instances that Warren used at this many connections, the last time.
        self.instances = {}

    def servers(self, connections):
        """Names in the order of this round's first run; the order turns from round to round."""
        names = ["raw", "framework", "workerd", "warren_route", "warren_lean", "warren_sdk"]
        names += [name for name, *_ in servers.OFFICIAL_CLIENTS]
        if connections > 1 and self.instances.get(connections, 1) > 1:
            names.insert(2, "framework_many")
        return names

    def load(self, name, connections, seconds):
        if name in ("warren_lean", "warren_sdk"):
            kind = name.removeprefix("warren_")
            return checked(self.warren.client("load", kind, connections, seconds), name)
        if name in (client for client, *_ in servers.OFFICIAL_CLIENTS):
            return wrk([self.route_port], connections, seconds, path=f"/{name}")
        if name == "framework_many":
            count = min(self.instances[connections], connections)
            self.framework.grow(count)
            return wrk(self.framework.ports[:count], connections, seconds)
        ports = {"raw": self.raw, "framework": self.framework, "workerd": self.workerd}
        return wrk(ports[name].ports[:1] if name in ports else [self.route_port], connections, seconds)

    def warm_up(self):
        for connections in SETTINGS["connections"]:
            for name in self.servers(connections):
                run = self.load(name, connections, SETTINGS["warm_up_seconds"])
                if name == "warren_route":
                    self.instances[connections] = run["instances"]
            if self.instances[connections] > 1 and connections > 1:
                self.load("framework_many", connections, SETTINGS["warm_up_seconds"])

    def round(self, index):
        for connections in SETTINGS["connections"]:
            names = self.servers(connections)
            turn = index % len(names)
            for name in names[turn:] + names[:turn]:
                self.measure(index, name, connections)

    def measure(self, index, name, connections):
        load = os.getloadavg()[0]
        begun_us = time.time_ns() // 1000
        run = self.load(name, connections, SETTINGS["seconds"])
        if name == "warren_route":
            durations = self.warren.durations_us(begun_us)
            if durations:
                run["report_us"] = {f"p{p}": stats.percentile(durations, p) for p in (50, 95, 99)} | {"lines": len(durations)}
        run |= {"round": index, "server": name, "connections": connections, "load": load}
        self.runs.append(run)
        say(f"  round {index + 1}, {connections:2} at a time, {name:14} {run['rate']:9,.0f} requests/s, p50 {run['p50_us']:6,} us, {run['instances']} process(es)")


def main():
    binary = os.environ.get("WARREN_SERVER", REPO / "target/release/warren")
    date = datetime.date.today().isoformat()
    description = machine.describe(binary)
    started = []
    with servers.Workplace() as work:
        try:
            warren = servers.Warren(binary, work)
            started.append(warren)
            peers = [servers.raw(work), servers.framework(work), servers.workerd_peer(work)]
            started += peers
            for peer in peers:
                peer.grow(1)
            say("deploying (the first time makes the language's file system)")
            warren.deploy_all()
            cold = []
            if SETTINGS["cold"]:
                say(f"{SETTINGS['cold']} cold starts")
                cold = warren.client("cold", *[warren.archive(f"cold-{n}") for n in range(SETTINGS["cold"])])
            bench = Bench(warren, *peers)
            say("warming up")
            bench.warm_up()
            for index in range(SETTINGS["rounds"]):
                bench.round(index)
            memory = warren.memory()
        finally:
            for server in reversed(started):
                server.stop()
    result = {
        "date": date,
        "host_kind": os.environ.get("HOST_KIND") or machine.host_kind(description),
        "command": COMMAND,
        "settings": SETTINGS,
        "machine": description,
        "runs": [{key: value for key, value in run.items() if key != "first_wrong"} for run in bench.runs],
        "cold": cold,
        "memory": memory,
    }
    write(result)


def write(result):
    folder = servers.BENCH / "results"
    folder.mkdir(exist_ok=True)
    stem = folder / f"{result['date']}-{result['host_kind']}"
    text = report.markdown(result)
    for path, content in [(stem.with_suffix(".md"), text), (stem.with_suffix(".json"), json.dumps(result, indent=1) + "\n")]:
        path.write_text(content)
        if "SUDO_UID" in os.environ:
            os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))
    print(text)
    say(f"written: {stem.relative_to(REPO)}.md and .json")


if __name__ == "__main__":
    main()
