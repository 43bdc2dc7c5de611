"""What the engine that the tests run on does otherwise than one that shares the host's kernel: each with its reason, and what is expected instead."""

import os

from host_view import agent_pid, process_of, process_status

AGENT_KB = 3 * 1024
# What gVisor has for itself (`OWN_MEMORY` in crates/engine/src/gvisor.rs).
SENTRY_KB = 24 * 1024
ENGINE = os.environ.get("WARREN_DEFAULT_ENGINE", "docker")
OTHERWISE = {
    "gvisor": {
        # Its /proc/PID/status has no line for ambient capabilities, which it knows none of.
        "sets of capabilities": ("CapInh", "CapPrm", "CapEff"),
        # Nor one for no-new-privileges, which it keeps (the abuse table's set-uid programs gain nothing).
        "marks of a process": {"Seccomp": "2"},
        # It lets everybody list the descriptors of every process; what they are is tested by the abuse table.
        "closed to the function": ("/run/warren", "/proc/1/root", "/proc/1/cwd"),
        # Its own network stack, without a route, says it so.
        "no network": "No route to host",
        # Its processes give memory back before anybody looks, and the kernel's peak of each has not what others of the sandbox mapped: a burst that is
        # shorter than the time between two looks (100 ms) may not be seen.
        "short bursts are seen": False,
        # Its own network stack has them; the namespace on the host has none left.
        "the link's addresses are taken over": True,
        # What runs on the host is the sentry; the agent is inside.
        "the agent is a process of the host": False,
        # The agent's system calls are not the host's to see.
        "mounts are those of": "runsc-gofer",
    }
}


def expected(what, usual):
    """What is expected of this engine; the usual, if nothing is known."""
    return OTHERWISE.get(ENGINE, {}).get(what, usual)


def assert_small(sandbox):
    """What stands beside the function in its sandbox: the agent; where the host does not see that, what is there in place of it."""
    if expected("the agent is a process of the host", True):
        status = process_status(agent_pid(sandbox))
        assert status["Name"] == "agent"
        assert int(status["VmRSS"].split()[0]) < AGENT_KB, status["VmRSS"]
        return
    parts = [process_status(process_of(sandbox, name)) for name in ("runsc-sandbox", "runsc-gofer")]
    own = [int(status["RssAnon"].split()[0]) for status in parts]
    assert sum(own) < SENTRY_KB, own
