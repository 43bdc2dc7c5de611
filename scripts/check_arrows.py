#!/usr/bin/env python3
"""Checks that crates depend on each other one way only: on those in their row, and on what these may use themselves.

Development dependencies are looser: they may name any crate that does not lead back.
"""

import json
import subprocess
import sys

ROWS = {
    "model": [],
    "protocol": ["model"],
    "agent": ["protocol"],
    "store": ["model"],
    "package": ["model"],
    "runtimes": ["model"],
    "network": ["model"],
    "engine": ["model", "protocol", "runtimes", "network"],
    "registry": ["store", "package", "runtimes", "engine"],
    "scheduler": ["model"],
    "invoker": ["scheduler", "registry", "telemetry"],
    "telemetry": ["model", "store"],
    "client": ["model"],
    "compare": ["model", "telemetry", "client"],
    "api": ["registry", "invoker", "telemetry"],
}
# The binary wires everything together; nothing depends on it.
BINARY = "warren"


def reachable(crate):
    """What a crate may use: its row, and the rows of those."""
    found, pending = set(), list(ROWS[crate])
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += ROWS[name]
    return found


def faults(packages):
    ours = {package["name"] for package in packages}
    for package in packages:
        crate = short(package["name"])
        if crate == BINARY:
            continue
        if crate not in ROWS:
            yield f"{crate}: a new crate needs a row in scripts/check_arrows.py and in ARCHITECTURE.md"
            continue
        for dependency in package["dependencies"]:
            if dependency["name"] not in ours:
                continue
            other = short(dependency["name"])
            if dependency["kind"] == "dev":
                if other == BINARY or crate in reachable(other):
                    yield f"{crate}: tests depend on {other}, which depends on {crate}"
            elif other not in reachable(crate):
                may = ", ".join(sorted(reachable(crate))) or "none of ours"
                yield f"{crate} depends on {other}; it may depend on {may}"


def short(name):
    return name.removeprefix("warren-")


def main():
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    packages = json.loads(answer)["packages"]
    found = sorted(set(faults(packages)))
    for fault in found:
        print(f"crate arrows: {fault}", file=sys.stderr)
    if found:
        return 1
    print(f"crate arrows: {len(packages)} crates, one way")
    return 0


if __name__ == "__main__":
    sys.exit(main())
