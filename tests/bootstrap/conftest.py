"""The runtimes that can be tested on this machine.

`WARREN_TEST_PYTHONS` and `WARREN_TEST_NODES` name interpreters, separated by colons; by default those on the PATH.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace

import pytest
from host import FUNCTIONS, RUNTIMES, Host


@dataclass(frozen=True)
class Runtime:
    family: str
    interpreter: str
    major: int
    execution_env: str
    # Whether it is started before its function is known. Functions see no difference, so every test runs both ways.
    ahead: bool = False

    def __str__(self):
        return f"{self.family}{'3.' if self.family == 'python' else ''}{self.major}{'-ahead' if self.ahead else ''}"

    def start(self, handler, *, task_root=None, execution_env=None, reading=True, **environment):
        entry = {"python": "bootstrap.py", "nodejs": "bootstrap.mjs"}[self.family]
        return Host(
            [self.interpreter, str(RUNTIMES / self.family / entry)],
            task_root or FUNCTIONS / self.family,
            handler,
            execution_env or self.execution_env,
            environment,
            reading,
            self.ahead,
        )

    def suite(self):
        """The function of the language suite, ready for calls."""
        return self.start({"python": "app.handler", "nodejs": "index.handler"}[self.family]).ready()


def _interpreters(variable, default):
    for name in os.environ.get(variable, default).split(os.pathsep):
        path = shutil.which(name)
        if path:
            version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            yield path, tuple(map(int, re.search(r"(\d+)\.(\d+)", version).groups()))


# The function's version decides about behaviour, not the interpreter's; the one here may be older than those of the recipes.
PYTHONS = [
    Runtime("python", path, version[1], "AWS_Lambda_python3.13")
    for path, version in _interpreters("WARREN_TEST_PYTHONS", "python3")
]
NODES = [
    Runtime("nodejs", path, major, f"AWS_Lambda_nodejs{major}.x")
    for path, (major, _) in _interpreters("WARREN_TEST_NODES", "node")
]

PYTHONS += [replace(runtime, ahead=True) for runtime in PYTHONS]
NODES += [replace(runtime, ahead=True) for runtime in NODES]


@pytest.fixture(params=PYTHONS + NODES, ids=str)
def runtime(request):
    return request.param


@pytest.fixture(params=PYTHONS, ids=str)
def python(request):
    return request.param


@pytest.fixture(params=NODES, ids=str)
def node(request):
    return request.param
