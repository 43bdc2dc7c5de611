"""What recording calls costs: two servers, one with records and one without, loaded in turn. `python3 bench/records.py` (as root, after `make setup`)."""

import os
import pathlib
import tempfile
import urllib.request

import page
import servers
import stats
from load import wrk
from servers import PEERS

CONNECTIONS = (1, 16)


class Server(servers.Server):
    """With one function, a no-op in JavaScript at the route /noop."""

    def __init__(self, binary, work, engine, records):
        super().__init__(binary, work / records, "--records", records)
        files = {name: (PEERS / name).read_text() for name in ("warren.js", "noop.js")}
        self.deploy("noop", files, "nodejs20.x", "warren.handler", "--route", "GET /noop", "--engine", engine)

    def load(self, connections, seconds):
        """Requests a second, and processor time of the server for each."""
        before = self.cpu_us()
        run = wrk([self.routes], connections, seconds)
        return {"rate": run["rate"], "server_us": (self.cpu_us() - before) / run["requests"]}


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
    parser = page.arguments(__doc__)
    parser.add_argument("--engine", default="docker")
    parser.add_argument("--rounds", default=15, type=int)
    parser.add_argument("--seconds", default=4, type=int)
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
                server.stop()
    page.publish(
        asked.out,
        "What recording costs",
        f"{asked.rounds} interleaved rounds of {asked.seconds} s on {asked.engine}",
        f"python3 bench/records.py --engine {asked.engine} --rounds {asked.rounds} --seconds {asked.seconds}",
        load_before,
        [f"Records written: {kept:,.0f}; dropped: {dropped:,.0f}.", "", *table(runs)],
        {"kept": kept, "dropped": dropped, "runs": runs},
    )


if __name__ == "__main__":
    main()
