"""The languages that pass one suite, and the packages of its handlers (tests/fixtures/functions)."""

import contextlib
import dataclasses
import io
import os
import pathlib
import shutil
import zipfile

import functions
from server import REPOSITORY, Warren

HANDLERS = REPOSITORY / "tests/fixtures/functions"
RECIPES = REPOSITORY / "tests/fixtures/runtimes"
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
    # Programs of the host without which its root file system can't be made.
    tools: tuple[str, ...] = ()

    def __str__(self):
        return self.runtime

    def missing(self):
        """What this machine lacks for it; nothing if it can be tested."""
        if self.family == "rust" and not RUST_BOOTSTRAP.exists():
            return f"{RUST_BOOTSTRAP} is not built"
        tools = [tool for tool in self.tools if shutil.which(tool) is None]
        return f"not installed: {', '.join(tools)}" if tools else None

    def package(self):
        if self.family == "rust":
            return zip_of_files({"bootstrap": RUST_BOOTSTRAP.read_bytes()})
        return zip_of_folder(HANDLERS / self.family)


PYTHON = Language("python3.13", "python", "app.handler", "in refuse_with")
NODES = [
    Language(f"nodejs{version}.x", "nodejs", "index.handler", "    at refuse (/var/task/index.js:")
    for version in (20, 22, 24)
]
RUST = Language("provided.al2023", "rust", "bootstrap", None)
BASH = Language("bash5", "bash", "app.handler", "at refuse_with (/var/task/app.sh:")
# AWS's own clients of the Runtime API, unmodified. Rust's is the third of them.
PYTHON_CLIENT = Language("python3.13-ric", "python", "app.handler", "in refuse_with", ("python3",))
NODE_CLIENT = Language(
    "nodejs20-ric",
    "nodejs",
    "index.handler",
    "    at refuse (/var/task/index.js:",
    ("npm", "g++", "make", "cmake", "autoreconf", "libtoolize"),
)
OFFICIAL_CLIENTS = [PYTHON_CLIENT, NODE_CLIENT, RUST]
ALL = [PYTHON, *NODES, RUST, BASH, PYTHON_CLIENT, NODE_CLIENT]


def zip_of_folder(folder):
    """A package of a folder's files."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return zip_of_files({str(path.relative_to(folder)): path.read_bytes() for path in files})


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


@contextlib.contextmanager
def server(folder):
    """A server that knows the tests' own languages too: their recipes are copied into its data folder, nothing else."""
    warren = Warren(folder)
    shutil.copytree(RECIPES, warren.folder / "recipes")
    warren.start()
    try:
        yield warren
    finally:
        warren.stop()


def deploy_suite(client, language, name=None, **overrides):
    """Deploys the suite's handler of a language; gives its name."""
    request = {"Runtime": language.runtime, "Handler": language.handler, "Code": {"ZipFile": language.package()}}
    return functions.deploy(client, "", name, **{**request, **overrides})
