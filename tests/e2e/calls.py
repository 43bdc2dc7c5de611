"""Calls of functions, one or many at a time, and what came of them."""

import base64
import dataclasses
import json
import threading
import time

from botocore.config import Config
from botocore.exceptions import ClientError


@dataclasses.dataclass(frozen=True)
class Call:
    """What a caller got."""

    payload: bytes
    # Lambda's kind of function error; None for an answer.
    error: str | None
    request_id: str
    seconds: float
    # The end of the call's log, if it was asked for.
    log: str

    def json(self):
        return json.loads(self.payload)


def call(client, name, event=None, **more):
    """Calls a function, with its log."""
    begin = time.monotonic()
    payload = event if isinstance(event, bytes) else json.dumps(event or {})
    answer = client.invoke(FunctionName=name, Payload=payload, **{"LogType": "Tail", **more})
    payload = answer["Payload"].read()
    return Call(
        payload=payload,
        error=answer.get("FunctionError"),
        request_id=answer["ResponseMetadata"]["RequestId"],
        seconds=time.monotonic() - begin,
        log=base64.b64decode(answer.get("LogResult", "")).decode(errors="replace"),
    )


def answer_of(client, name, event=None, **more):
    """Calls a function that must answer, and gives its answer."""
    done = call(client, name, event, **more)
    assert done.error is None, done
    return done.json()


def throttled(client, name, event=None):
    """Calls a function that must be refused at once; gives the reason."""
    begin = time.monotonic()
    try:
        done = call(client, name, event)
    except ClientError as refusal:
        assert time.monotonic() - begin < 1, "the refusal came late"
        assert refusal.response["ResponseMetadata"]["HTTPStatusCode"] == 429, refusal
        assert refusal.response["Error"]["Code"] == "TooManyRequestsException"
        return refusal.response["Reason"]
    raise AssertionError(f"it was not refused: {done}")


def many_callers(server, **overrides):
    """A client for many threads, which neither waits for a connection nor tries again."""
    config = Config(retries={"total_max_attempts": 1}, read_timeout=120, max_pool_connections=64)
    return server.client(config=config, **overrides)


class Background:
    """Work in a thread of its own: `join` gives its result or raises its error."""

    def __init__(self, work, *arguments, **named):
        self.result = self.error = None

        def run():
            try:
                self.result = work(*arguments, **named)
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def join(self, limit=120):
        self.thread.join(limit)
        assert not self.thread.is_alive(), f"no end within {limit} s"
        if self.error is not None:
            raise self.error
        return self.result


class Neighbour:
    """Calls another function every 50 ms while a test does its worst, and holds each answer against what was asked."""

    PAUSE_S = 0.05

    def __init__(self, client, name):
        self.client, self.name = client, name
        self.seconds = []
        self.stop = threading.Event()

    def __enter__(self):
        self.work = Background(self._call_on)
        return self

    def __exit__(self, *_failure):
        self.stop.set()
        self.work.join()
        assert self.calls > 0

    @property
    def calls(self):
        """How many were answered right so far; raises what went wrong."""
        if self.work.error is not None:
            raise self.work.error
        return len(self.seconds)

    def times(self):
        ordered = sorted(self.seconds)
        at = lambda percent: 1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
        return f"p50 {at(50):.1f} ms, p99 {at(99):.1f} ms, most {1000 * ordered[-1]:.1f} ms"

    def _call_on(self):
        while not self.stop.is_set():
            event = {"do": "echo", "number": len(self.seconds)}
            begin = time.monotonic()
            assert answer_of(self.client, self.name, event) == event
            self.seconds.append(time.monotonic() - begin)
            self.stop.wait(self.PAUSE_S)


def wait_until(condition, limit, what):
    """Waits for something that comes soon; gives its first value that is true."""
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        time.sleep(0.05)
    return found
