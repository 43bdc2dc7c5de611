"""The abuse table of SPECIFICATION.md, read as a list of cases."""

import dataclasses
import re

from server import REPOSITORY

HEADING = "## Abuse"
COLUMNS = ["name", "what the handler does", "error", "message", "log line", "survives"]


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


def cases():
    """Every row of the table."""
    text = (REPOSITORY / "SPECIFICATION.md").read_text()
    section = re.search(rf"^{HEADING}\n(.*?)(?=^## |\Z)", text, re.S | re.M)[1]
    rows = [cells(line) for line in section.splitlines() if line.startswith("|")]
    assert rows[0] == COLUMNS, rows[0]
    return [case(row) for row in rows[2:]]


def cells(line):
    # A bar within a cell is written `\|`.
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def case(row):
    assert len(row) == len(COLUMNS), row
    name, what, error, message, log, survives = row
    assert survives in ("yes", "no"), row
    code = lambda cell: None if cell == "-" else cell.strip("`")
    return Case(name.strip("`"), what, code(error), code(message), code(log), survives == "yes")
