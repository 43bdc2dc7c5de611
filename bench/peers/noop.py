"""The function of noop.js, in Python."""

import uuid

BOOT = str(uuid.uuid4())
n = 0


def handler(_event, _context):
    global n
    n += 1
    return {"boot": BOOT, "n": n}
