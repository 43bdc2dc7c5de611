"""The life of the process: Init, then one call after another until the host goes."""

import json
import os
import sys

from . import answers, context, failures, handler, logs, standby
from .context import LambdaContext
from .output import Output
from .stream import MAX_PAYLOAD, CallStream

# Lambda's limit for the answer of a synchronous call: 6 MiB and a little for its envelope.
MAX_ANSWER = 6_291_556
_TOO_LARGE = json.dumps(
    {
        "errorMessage": f"Response payload size exceeded maximum allowed payload size ({MAX_ANSWER} bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
).encode()

_TRACE_KEY = os.environ.encodekey("_X_AMZN_TRACE_ID")
_environment = os.environ._data  # what os.environ reads; see _set_trace


def run():
    stream = CallStream()
    if standby.VARIABLE in os.environ:
        standby.wait(stream)
    snapshot = _snapshot()
    context.set_up()
    output = Output()
    output.install()
    logs.set_up(output.write_line)
    handler.set_search_path()
    try:
        function = handler.load(os.environ.get("_HANDLER", ""))
    except Exception as exception:
        stream.init_error(_report(failures.error_object(exception)))
        sys.exit(1)
    if snapshot:
        _wait_for_restore(snapshot, stream)
    stream.ready()
    serve(stream, output, function)


def _snapshot():
    """The part that only a process needs of which a checkpoint is taken: loaded before the function's folder is searched."""
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        return None
    from . import snapshot

    return snapshot


def _wait_for_restore(snapshot, stream):
    """Returns in each restored copy, when its hooks have run."""
    phase = "Runtime.BeforeSnapshotError"
    try:
        snapshot.before()
        stream.ready()
        if not snapshot.wait(stream):
            sys.exit(0)
        context.set_up()
        phase = "Runtime.AfterRestoreError"
        snapshot.after()
    except Exception as exception:
        stream.init_error(_report({**failures.error_object(exception), "errorType": phase}))
        sys.exit(1)


def serve(stream, output, function):
    """A call costs one read and one write beside the handler."""
    trace = os.environ.get("_X_AMZN_TRACE_ID")
    while (call := stream.next_call()) is not None:
        number, meta, body = call
        meta = json.loads(meta)
        logs.request_id = meta["id"]
        if meta.get("trace") != trace:
            trace = meta.get("trace")
            _set_trace(trace)
        # Nothing of a call outlives it here: an event may be 6 MB.
        del call
        answered, payload = _answer(function, meta, body)
        del body
        output.flush()
        if not answered:
            stream.fail(number, payload, output.mark())
        elif len(payload) > MAX_ANSWER:
            stream.fail(number, _TOO_LARGE, output.mark())
        else:
            stream.respond(number, payload, output.mark())
        del payload


def _answer(function, meta, body):
    """Runs the handler: True and the answer, or False and the error object, as bytes."""
    try:
        context = LambdaContext(meta)
        return True, answers.encode(function(_event(body), context))
    except Exception as exception:
        return False, _report(failures.error_object(exception, meta["id"]))


def _event(body):
    if not body:
        return {}
    try:
        return json.loads(body)
    except Exception as error:
        raise failures.Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None


def _set_trace(trace):
    """Sets `_X_AMZN_TRACE_ID` for the call that begins, as Python code sees it.

    Not through `os.environ[...] =`: that calls setenv, and the C library never frees a value that was set once, so a busy function would lose some 100 bytes of its memory with each call. Child
    processes that are given `os.environ` (or a copy) get it; those that inherit the C environment don't.
    """
    if trace is None:
        _environment.pop(_TRACE_KEY, None)
    else:
        _environment[_TRACE_KEY] = os.environ.encodevalue(trace)


def _report(error):
    """Logs an error and returns it as the caller gets it."""
    logs.write_line(logs.error_entry(error))
    payload = _error_bytes(error)
    if len(payload) <= MAX_PAYLOAD:
        return payload
    # An error is one frame. The longest JSON form of a character (`\u0000`) is six bytes.
    cut = error["errorMessage"][: MAX_PAYLOAD // 8]
    return _error_bytes({**error, "errorMessage": cut, "stackTrace": []})


def _error_bytes(error):
    try:
        return answers.to_json(error).encode("utf-8")
    except UnicodeEncodeError:
        # Half a surrogate pair in a message; escaped, it is valid JSON.
        return json.dumps(error).encode("ascii")
