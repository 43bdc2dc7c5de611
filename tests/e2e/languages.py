"""The languages that pass one suite, and the packages of its handlers (tests/fixtures/functions)."""

import dataclasses
import io
import os
import pathlib
import shutil
import zipfile

import functions
from server import REPOSITORY

HANDLERS = REPOSITORY / "tests/fixtures/functions"
BASH_RECIPE = REPOSITORY / "tests/fixtures/runtimes/bash"
RUST_BOOTSTRAP = pathlib.Path(
    os.environ.get("WARREN_TEST_RUST_BOOTSTRAP", REPOSITORY / "target/fixtures/release/bootstrap")
)


@dataclasses.dataclass(frozen=True)
class Language:
    """One runtime, and what is its own in the suite."""

    runtime: str
    # Folder of its handlers.
    family: str
    handler: str
    # Words of the last stack frame of a raised error; None where errors have no stack.
    stack: str | None

    def __str__(self):
        return self.runtime

    def package(self):
        if self.family == "rust":
            return zip_of_files({"bootstrap": RUST_BOOTSTRAP.read_bytes()})
        folder = HANDLERS / self.family
        return zip_of_files(
            {
                str(path.relative_to(folder)): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file() and "__pycache__" not in path.parts
            }
        )


PYTHON = Language("python3.13", "python", "app.handler", "in refuse_with")
NODES = [
    Language(f"nodejs{version}.x", "nodejs", "index.handler", "    at refuse (/var/task/index.js:")
    for version in (20, 22, 24)
]
RUST = Language("provided.al2023", "rust", "bootstrap", None)
BASH = Language("bash5", "bash", "app.handler", "at refuse_with (/var/task/app.sh:")
ALL = [PYTHON, *NODES, RUST, BASH]


def zip_of_files(files):
    """A package of these files, all of them executable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def add_bash(server):
    """Makes Bash a language of a server that is not started yet: its recipe is copied, nothing else."""
    shutil.copytree(BASH_RECIPE, server.folder / "recipes" / "bash")


def deploy_suite(client, language, name=None, **overrides):
    """Deploys the suite's handler of a language; gives its name."""
    request = {"Runtime": language.runtime, "Handler": language.handler, "Code": {"ZipFile": language.package()}}
    return functions.deploy(client, "", name, **{**request, **overrides})
