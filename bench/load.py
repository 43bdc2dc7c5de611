"""Load on a server, every answer checked."""

import json
import subprocess

from servers import BENCH


class WrongAnswers(SystemExit):
    """A run that is not worth a figure."""


def wrk(ports, connections, seconds, path="/noop"):
    """wrk with one thread for each port; its connections are split evenly."""
    threads = len(ports)
    connections = max(connections, threads)
    done = subprocess.run(
        ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", BENCH / "wrk.lua", f"http://127.0.0.1:{ports[0]}{path}", "--"]
        + [str(port) for port in ports],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines or not lines[-1].startswith("{"):
        raise WrongAnswers(f"wrk failed:\n{done.stdout}")
    return checked(json.loads(lines[-1]), f"port {ports[0]}, {connections} connections")


def checked(run, what):
    """The run with its rate, if every answer was right and none came twice."""
    # A request under way at the end is counted by neither side; an answer that was not looked at is a fault.
    if run["wrong"] or run["repeats"] or run["socket_errors"] or run["checked"] != run["requests"] or not run["requests"]:
        raise WrongAnswers(f"wrong answers ({what}): {json.dumps(run)}")
    run["instances"] = len(run["answers"])
    run["rate"] = run["requests"] / run["seconds"]
    return run
