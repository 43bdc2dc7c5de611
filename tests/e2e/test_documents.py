"""The commands of the README's tour, run as they stand there, in their order, against a server whose examples are deployed as `make run` does."""

import os
import pathlib
import subprocess
import sys

from server import BINARY, REPOSITORY

# A command that goes on by itself is given this long.
FOLLOW_S = 3
COMMAND_S = 300


def tour():
    """The commands of the tour: the indented lines."""
    text = (REPOSITORY / "README.md").read_text()
    section = text.split("## 60-second tour", 1)[1].split("\n## ", 1)[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


def script(commands, warren):
    """One shell script of them: some set variables that the next ones need."""
    lines = ["set -euo pipefail"]
    for command in commands:
        command = command.replace("http://127.0.0.1:7071", warren.routes_url)
        if "--follow" in command:
            # It follows for ever; that the bound ends it (124) is its success.
            command = f"timeout {FOLLOW_S} {command} || [ $? -eq 124 ]"
        lines += [f"echo '== '{_quoted(command)}", command]
    return "\n".join(lines).replace("target/release/warren", BINARY)


def _quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def test_tour_of_the_readme(warren, tmp_path):
    tools = pathlib.Path(sys.executable).parent
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "PATH": f"{tools}:{os.environ['PATH']}",
        "WARREN_SERVER": warren.url,
        "WARREN_DATA_DIR": str(warren.folder),
    }
    deploy = [BINARY, "deploy", "examples/hello-python", "--runtime", "python3.13"]
    deploy += ["--handler", "app.handler", "--route", "GET /hello"]
    subprocess.run(deploy, check=True, cwd=REPOSITORY, env=environment, timeout=COMMAND_S)
    commands = [command.replace("out.json", str(tmp_path / "out.json")) for command in tour()]
    ran = subprocess.run(
        ["bash", "-c", script(commands, warren)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Hello, Ada!" in ran.stdout
    assert "Hello, Ada!" in (tmp_path / "out.json").read_text()
    assert '"a":2' in ran.stdout.replace(" ", "")
    assert "REPORT RequestId:" in ran.stdout
