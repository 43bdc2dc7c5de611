"""Error objects, as callers of a function see them, and their form in the log."""

import os
import traceback

_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_OWN_ENTRY = os.path.join(os.path.dirname(_OWN_FOLDER[:-1]), "bootstrap.py")

# CloudWatch strips leading blanks from lines; Lambda's runtime puts no-break spaces there, and clients that parse logs know it.
_INDENT = "\u00a0"


class Fault(Exception):
    """A failure with an error type of Lambda's own (`Runtime.ImportModuleError`), in place of the exception's class."""

    def __init__(self, error_type, message, stack=()):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.stack = list(stack)


def error_object(exception, request_id=""):
    """The JSON object for an exception; the frames of the runtime itself are left out of the stack."""
    if isinstance(exception, Fault):
        return _object(exception.message, exception.error_type, exception.stack, request_id)
    try:
        message = str(exception)
    except Exception:
        message = f"<unprintable {type(exception).__name__} object>"
    return _object(message, type(exception).__name__, _stack(exception.__traceback__), request_id)


def _object(message, error_type, stack, request_id):
    return {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": stack}


def _stack(trace):
    frames = traceback.extract_tb(trace)
    first = 0
    while first < len(frames) and _is_own(frames[first].filename):
        first += 1
    if first == len(frames):
        first = 0
    # As plain tuples: a full frame would add a line of carets that Lambda does not have.
    return traceback.format_list([(f.filename, f.lineno, f.name, f.line) for f in frames[first:]])


def _is_own(filename):
    return filename.startswith(_OWN_FOLDER) or filename == _OWN_ENTRY


def log_text(error):
    """The entry that Lambda writes for a failed call in the text log format."""
    head = "[ERROR]"
    if error["errorType"]:
        head += f" {error['errorType']}"
    if error["errorMessage"]:
        head += f"{':' if error['errorType'] else ''} {error['errorMessage']}"
    lines = [head, "Traceback (most recent call last):"]
    for element in error["stackTrace"]:
        lines += [_indented(line) for line in element.splitlines()] or [""]
    return "\n".join(lines)


def _indented(line):
    text = line.lstrip(" ")
    return _INDENT * (len(line) - len(text)) + text
