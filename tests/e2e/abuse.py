"""The abuse table of SPECIFICATION.md, read as a list of cases."""

import dataclasses
import re

from server import REPOSITORY

HEADING = "## Abuse"
COLUMNS = ["name", "what the handler does", "error", "message", "log line", "survives"]
# What an engine meets otherwise, and why: rows of a table of its own.
OTHERWISE = "## Abuse on {engine}"


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: what must come of one attack."""

    name: str
    what: str
    # Lambda's `errorType`; None where the call must be answered.
    error: str | None
    # What the whole message must match, or the answer's text where there is no error; `ID` stands for the request's id.
    message: str
    # What a line of the call's log, or the platform's in the log of the function, must match; None where none is asked for.
    log: str | None
    # Whether the next call finds the same instance.
    survives: bool

    def __str__(self):
        return self.name


def cases(engine="docker"):
    """Every row of the table, as an engine meets it."""
    found = {row[0]: row for row in rows(HEADING, COLUMNS)}
    for name, why, *otherwise in rows(OTHERWISE.format(engine=engine), ["name", "why", *COLUMNS[2:]]):
        assert name in found and why, name
        found[name] = [name, why, *otherwise]
    return [case(row) for row in found.values()]


def rows(heading, columns):
    """The rows of the table under a heading; none without it."""
    text = (REPOSITORY / "SPECIFICATION.md").read_text()
    section = re.search(rf"^{heading}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    if section is None:
        return []
    found = [cells(line) for line in section[1].splitlines() if line.startswith("|")]
    assert found[0] == columns, found[0]
    names = [row[0] for row in found[2:]]
    assert len(names) == len(set(names)), names
    return found[2:]


def cells(line):
    # A bar within a cell is written `\|`.
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def case(row):
    assert len(row) == len(COLUMNS), row
    name, what, error, message, log, survives = row
    assert survives in ("yes", "no"), row
    code = lambda cell: None if cell == "-" else cell.strip("`")
    return Case(name.strip("`"), what, code(error), code(message), code(log), survives == "yes")
