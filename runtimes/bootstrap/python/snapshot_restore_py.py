"""Hooks of a function around a checkpoint, with the names that Lambda's own module has.

A function that is not restored from one runs none of them.
"""

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    """Has `func` called when Init is over and before the checkpoint is taken; the last one registered comes first."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    """Has `func` called in each restored copy before its first call; the first one registered comes first."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    return _before_snapshot


def get_after_restore():
    return _after_restore
