"""A process that was started before its function was known: it waits for INIT and becomes that function's.

What the C library and the interpreter read at exec alone, the host does not leave to this: it starts a new process then.
"""

import json
import os
import sys

# Set by the host for a process that is to wait.
VARIABLE = "WARREN_STANDBY"


def wait(stream):
    """Returns once the environment and the folder are the function's."""
    payload = stream.standby()
    if payload is None:
        sys.exit(0)
    init = json.loads(payload)
    environment = init["environment"]
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    # The folder of before lies under the one that holds the code now.
    os.chdir(init["directory"])
