"""The page of a benchmark of its own: printed, and with its figures in files if they are asked for."""

import argparse
import datetime
import json
import os
import pathlib
import platform

import machine
from servers import REPO


def arguments(description):
    """A parser with the flags that all have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--binary", default=REPO / "target/release/warren", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, help="the tables as Markdown, and the figures beside them as JSON")
    return parser


def publish(out, title, how, command, load_before, lines, figures):
    """`how` it was measured is half a sentence; `figures` are what JSON can say."""
    kind = machine.host_kind({"architecture": platform.machine(), "cores": os.cpu_count()})
    head = f"# {title}, {datetime.date.today()}, {kind}"
    again = f"{how}; load average before: {load_before:.1f}. Again: `{command}`."
    text = "\n".join([head, "", again, "", *lines, ""])
    print(text)
    if out:
        out.write_text(text)
        raw = {"command": command, "load_before": load_before, **figures}
        out.with_suffix(".json").write_text(json.dumps(raw, indent=1) + "\n")
