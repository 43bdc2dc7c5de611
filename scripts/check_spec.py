#!/usr/bin/env python3
"""Checks that every test and file that the documents name is there."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMED = re.compile(r"`([\w./-]+)(?:::(\w+))?`")
SPECIFICATION = "SPECIFICATION.md"
# Of these only paths of the repository are looked at: other paths in them are on a user's machine or inside a sandbox.
OTHERS = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"]
TOP = ("crates/", "tests/", "scripts/", "docs/", "runtimes/", "bench/", "examples/")


def names_file(path):
    """Whether it is a file with a suffix or a folder, as opposed to a route or a crate."""
    return path.startswith(TOP) and (path.endswith("/") or "." in path.rsplit("/", 1)[-1])


def faults(document):
    for path, test in NAMED.findall((ROOT / document).read_text()):
        # An absolute path is one in a sandbox, or of a request.
        if "/" not in path or path.startswith("/") or (document != SPECIFICATION and not names_file(path)):
            continue
        file = ROOT / path
        if not file.exists():
            yield f"{path} is not there"
        elif path.endswith("/") and not file.is_dir():
            yield f"{path} is no folder"
        elif test and f"def {test}(" not in file.read_text() and f"fn {test}(" not in file.read_text():
            yield f"{path} has no test {test}"


def main():
    found = [f"{document}: {fault}" for document in [SPECIFICATION, *OTHERS] for fault in sorted(set(faults(document)))]
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print("every test and file that the documents name is there")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
