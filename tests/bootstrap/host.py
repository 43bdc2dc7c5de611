"""A host of one runtime without agent or sandbox: a socket pair as descriptor 3, and pipes for the output.

It speaks the sandbox protocol (docs/protocol.md) with code of its own, so that a mistake in a runtime is not repeated here.
"""

import json
import os
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ROOT / "tests" / "fixtures" / "functions"
RUNTIMES = ROOT / "runtimes" / "bootstrap"

HEADER = struct.Struct("<IBBHII")
MAX_PAYLOAD = 1_048_576
END = 1
READY, INIT_ERROR, STANDBY, INIT = 0x50, 0x51, 0x52, 0x53
INVOKE, BODY, RESPONSE, ERROR = 0x60, 0x61, 0x70, 0x71

ARN = "arn:aws:lambda:us-east-1:000000000000:function:suite"
WAIT_SECONDS = 20
CALL_STREAM = 3
# What a runtime is told when it is started ahead of its function; the rest comes with INIT.
KNOWN_AHEAD = {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"} | {
    "TZ",
    "LANG",
    "PATH",
    "NODE_PATH",
    "PYTHONDONTWRITEBYTECODE",
}


@dataclass
class Answer:
    kind: int
    payload: bytes
    mark: int
    frames: int

    @property
    def ok(self):
        return self.kind == RESPONSE

    def json(self):
        return json.loads(self.payload)


class Host:
    """Starts a runtime and calls it; use as a context manager. `ahead`: the runtime is started before its function is known."""

    def __init__(self, command, task_root, handler, execution_env, environment=(), reading=True, ahead=False):
        ours, theirs = socket.socketpair()
        ours.settimeout(WAIT_SECONDS)
        self.socket = ours
        self.calls = 0
        self.output = {1: b"", 2: b""}
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        environment = lambda_environment(task_root, handler, execution_env) | dict(environment)
        known = {name: value for name, value in environment.items() if name in KNOWN_AHEAD} | {"WARREN_STANDBY": "1"}
        self.process = subprocess.Popen(
            command,
            cwd="/" if ahead else task_root,
            env=known if ahead else environment,
            stdin=subprocess.DEVNULL,
            stdout=out_write,
            stderr=err_write,
            # Descriptor 3 is where the agent leaves the stream. Nothing can be in its place that the child still needs.
            preexec_fn=lambda: os.dup2(theirs.fileno(), CALL_STREAM),
            pass_fds=[CALL_STREAM],
        )
        theirs.close()
        os.close(out_write)
        os.close(err_write)
        self.readers = [
            threading.Thread(target=self._read, args=(stream, descriptor), daemon=True)
            for stream, descriptor in ((1, out_read), (2, err_read))
        ]
        if reading:
            self.start_reading()
        if ahead:
            self.become({"environment": environment, "directory": str(task_root)})

    def become(self, init):
        """Waits until the runtime waits, and tells it whose it is."""
        kind, flags, call, mark, payload = self.frame()
        assert (kind, flags, call, mark, payload) == (STANDBY, 0, 0, 0, b"")
        payload = json.dumps(init).encode()
        self.socket.sendall(HEADER.pack(len(payload), INIT, 0, 0, 0, 0) + payload)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.process.kill()
        self.process.wait()

    def start_reading(self):
        for reader in self.readers:
            reader.start()

    def _read(self, stream, descriptor):
        with open(descriptor, "rb", buffering=0) as pipe:
            while chunk := pipe.read(65536):
                self.output[stream] += chunk

    def _receive(self, size):
        data = bytearray()
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            if not chunk:
                raise EOFError("the runtime closed the call stream")
            data += chunk
        return bytes(data)

    def frame(self):
        length, kind, flags, reserved, call, mark = HEADER.unpack(self._receive(HEADER.size))
        assert length <= MAX_PAYLOAD and reserved == 0 and flags in (0, END)
        return kind, flags, call, mark, self._receive(length)

    def ready(self):
        """Waits for the end of Init."""
        kind, _, call, mark, payload = self.frame()
        assert (kind, call, mark) == (READY, 0, 0), payload
        return self

    def init_error(self):
        kind, _, call, mark, payload = self.frame()
        assert (kind, call, mark) == (INIT_ERROR, 0, 0), payload
        return json.loads(payload)

    def call(self, event, **meta):
        """One call; `event` may be bytes, which are sent as they are."""
        self.send(event, **meta)
        return self.answer()

    def send(self, event, **meta):
        self.calls += 1
        for frame in invoke_frames(self.calls, event, **meta):
            self.socket.sendall(frame)

    def answer(self):
        payload, frames = b"", 0
        while True:
            kind, flags, call, mark, part = self.frame()
            assert call == self.calls
            frames += 1
            if kind == ERROR:
                assert flags == END
                return Answer(kind, part, mark, frames)
            assert kind == RESPONSE
            payload += part
            if flags & END:
                return Answer(kind, payload, mark, frames)
            assert mark == 0

    def printed(self, size, stream=None):
        """Waits until `size` bytes of output have arrived and returns all of it."""
        limit = time.monotonic() + WAIT_SECONDS
        while self.printed_bytes(stream) < size:
            assert time.monotonic() < limit, self.output
            time.sleep(0.001)
        return self.output[stream].decode() if stream else (self.output[1] + self.output[2]).decode()

    def printed_bytes(self, stream=None):
        return sum(len(data) for number, data in self.output.items() if stream in (None, number))

    def exit_code(self):
        code = self.process.wait(WAIT_SECONDS)
        for reader in self.readers:
            reader.join(WAIT_SECONDS)
        return code


def lambda_environment(task_root, handler, execution_env):
    return {
        "_HANDLER": handler,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": execution_env,
        "AWS_LAMBDA_FUNCTION_NAME": "suite",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/suite",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123456789abcdef",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "LAMBDA_TASK_ROOT": str(task_root),
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        # The fixtures are part of the source tree, which stays as it is.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def request_id(call):
    return f"00000000-0000-4000-8000-{call:012x}"


def invoke_meta(call, without=(), **fields):
    meta = {
        "id": request_id(call),
        "deadline": int(time.time() * 1000) + 3000,
        "arn": ARN,
        "trace": f"Root=1-00000000-{call:024x};Parent=0000000000000001;Sampled=1",
    }
    meta = {name: value for name, value in (meta | fields).items() if name not in without}
    return json.dumps(meta).encode()


def invoke_frames(call, event, **fields):
    """The frames of one call, as large as they may be."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    meta = invoke_meta(call, **fields)
    head = struct.pack("<I", len(meta)) + meta
    room = MAX_PAYLOAD - len(head)
    parts = [head + body[:room]]
    parts += [body[start : start + MAX_PAYLOAD] for start in range(room, len(body), MAX_PAYLOAD)]
    for number, part in enumerate(parts):
        flags = END if number == len(parts) - 1 else 0
        yield HEADER.pack(len(part), BODY if number else INVOKE, flags, 0, call, 0) + part
