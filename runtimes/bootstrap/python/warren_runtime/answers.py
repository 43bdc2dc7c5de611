"""A handler's result as JSON, with the rules of Lambda's own runtime where they differ from the standard library's.

Lambda writes a `Decimal` as a number, `bytes` as text, and anything with `_asdict` (a named tuple) as an object. The standard encoder
can't be taught the last: it writes a named tuple as a list without asking. So it is used, for it is the fastest, only for
results made of nothing but the exact built-in types, which is nearly all of them; the others take the encoder below.
"""

import json
import marshal
import math
import os
import re
from decimal import Decimal
from json.encoder import encode_basestring, encode_basestring_ascii

from .failures import Fault


def _escapes_non_ascii():
    """Runtimes before python3.12 write `\\u00e9` where later ones write the letter."""
    version = re.fullmatch(r"AWS_Lambda_python3\.(\d+)", os.environ.get("AWS_EXECUTION_ENV", ""))
    return version is not None and int(version[1]) < 12


_ASCII = _escapes_non_ascii()
_quote = encode_basestring_ascii if _ASCII else encode_basestring


class _NotPlain(Exception):
    """The standard encoder met a value that needs the other one."""


def _refuse(_value):
    raise _NotPlain


_encode_plain = json.JSONEncoder(ensure_ascii=_ASCII, default=_refuse).encode


def encode(result):
    """The bytes of an answer; a Fault if the result can't be written."""
    if isinstance(result, bytes):
        return result
    try:
        return to_json(result).encode("utf-8")
    except Exception as error:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None


def to_json(value):
    if _is_plain(value):
        try:
            return _encode_plain(value)
        except (_NotPlain, TypeError):
            pass
    parts = []
    _write(value, parts.append, set())
    return "".join(parts)


def _is_plain(value):
    """Whether `value` holds exact built-in types only: `marshal` takes no others, and is several times faster than looking."""
    if type(value) is str:
        return True
    try:
        marshal.dumps(value, 2)
    except ValueError:
        return False
    return True


def _write(value, put, parents):
    if isinstance(value, str):
        put(_quote(value))
    elif value is None or value is True or value is False or isinstance(value, (int, float)):
        put(_scalar(value))
    elif isinstance(value, bytes):
        put(_quote(value.decode("utf-8")))
    elif isinstance(value, Decimal):
        put("NaN" if value.is_nan() else str(value))
    elif isinstance(value, list):
        _write_container(value, _write_list, put, parents)
    elif callable(getattr(value, "_asdict", None)):
        _write_container(value._asdict(), _write_object, put, parents)
    elif isinstance(value, tuple):
        _write_container(value, _write_list, put, parents)
    elif isinstance(value, dict):
        _write_container(value, _write_object, put, parents)
    else:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _write_container(value, write, put, parents):
    if id(value) in parents:
        raise ValueError("Circular reference detected")
    parents.add(id(value))
    write(value, put, parents)
    parents.discard(id(value))


def _write_list(values, put, parents):
    put("[")
    for number, value in enumerate(values):
        if number:
            put(", ")
        _write(value, put, parents)
    put("]")


def _write_object(values, put, parents):
    put("{")
    for number, (key, value) in enumerate(values.items()):
        if number:
            put(", ")
        put(_quote(_key(key)))
        put(": ")
        _write(value, put, parents)
    put("}")


def _key(key):
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode("utf-8")
    if key is None or key is True or key is False or isinstance(key, (int, float)):
        return _scalar(key)
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")


def _scalar(value):
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if math.isfinite(value):
        return float.__repr__(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
