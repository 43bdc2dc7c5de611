#!/usr/bin/env python3
"""Checks that every test and file that SPECIFICATION.md names is there."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMED = re.compile(r"`([\w./-]+)(?:::(\w+))?`")


def faults(text):
    for path, test in NAMED.findall(text):
        if "/" not in path:
            continue
        file = ROOT / path
        if not file.exists():
            yield f"{path} is not there"
        elif test and f"def {test}(" not in file.read_text() and f"fn {test}(" not in file.read_text():
            yield f"{path} has no test {test}"


def main():
    text = (ROOT / "SPECIFICATION.md").read_text()
    found = sorted(set(faults(text)))
    for fault in found:
        print(f"SPECIFICATION.md: {fault}", file=sys.stderr)
    if not found:
        print("SPECIFICATION.md: every named test is there")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
