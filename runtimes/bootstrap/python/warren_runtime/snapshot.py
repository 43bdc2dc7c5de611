"""A process of which a checkpoint is taken once Init is over: it lets its call stream go, and each restored copy goes on with another.

Copies would go on with the same random numbers too, so each gets new ones before anything of the function runs in it.
"""

import _socket
import json
import os
import sys

# Where the agent hands the next call stream over.
_HANDOVER = 4
# The agent's message is one short line; what matters comes beside it.
_MESSAGE_SIZE = 4096
_DESCRIPTOR_SIZE = 4


def before():
    """Runs the function's hooks, the last one registered first, as Lambda does."""
    hooks = _hooks("get_before_snapshot")
    while hooks:
        function, args, kwargs = hooks.pop()
        function(*args, **kwargs)


def wait(stream):
    """Returns in each restored copy; False if the host has gone."""
    handover = _socket.socket(fileno=_HANDOVER)
    stream.let_go()
    _, control, _, _ = handover.recvmsg(_MESSAGE_SIZE, _socket.CMSG_SPACE(_DESCRIPTOR_SIZE), _socket.MSG_CMSG_CLOEXEC)
    handover.close()
    if not control:
        return False
    _, _, descriptor = control[0]
    stream.adopt(int.from_bytes(descriptor[:_DESCRIPTOR_SIZE], sys.byteorder))
    payload = stream.init()
    if payload is None:
        return False
    os.environ.update(json.loads(payload)["environment"])
    _renew_randomness()
    return True


def after():
    """Runs the function's hooks, the first one registered first."""
    for function, args, kwargs in _hooks("get_after_restore"):
        function(*args, **kwargs)


def _hooks(name):
    """What the function registered with `snapshot_restore_py`, ours or one of its own."""
    module = sys.modules.get("snapshot_restore_py")
    return getattr(module, name)() if module else []


def _renew_randomness():
    """What the interpreter and numpy keep; generators that the function has made are its own to renew, in a hook."""
    if random := sys.modules.get("random"):
        random.seed()
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()
    if ssl := sys.modules.get("_ssl"):
        # OpenSSL's generators take this up before they give anything again (RAND_add(3)).
        seed = os.urandom(64)
        ssl.RAND_add(seed, float(len(seed)))
