import pytest

import functions
from server import Warren
from world import World, inside


@pytest.fixture(scope="session")
def warren(tmp_path_factory):
    """One server for all tests of a run."""
    server = Warren(tmp_path_factory.mktemp("warren") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(warren):
    """A Lambda client whose answers are held against botocore's model."""
    return warren.client()


@pytest.fixture(scope="session")
def echo(warren):
    """A function that returns its event."""
    return functions.deploy(warren.client(), functions.ECHO, functions.fresh_name("echo"))


@pytest.fixture(scope="session")
def actor(warren):
    """A function that does what its event says, with a timeout of one second."""
    return functions.deploy(warren.client(), functions.ACTOR, functions.fresh_name("actor"), Timeout=1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Shows the end of the server's log with every failed test."""
    report = (yield).get_result()
    server = getattr(item, "funcargs", {}).get("warren")
    if report.failed and server is not None:
        report.sections.append(("end of the server's log", server.log_tail()))


@pytest.fixture(scope="module")
def world():
    """A module's own network around it: its thread, and what that starts, is on the world's host."""
    made = World()
    try:
        made.make()
        with inside(made.host):
            yield made
    finally:
        made.remove()
