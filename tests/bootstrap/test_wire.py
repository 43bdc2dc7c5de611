"""Frames that come in awkward pieces, and frames that may not come."""

import json
import time

import pytest
from host import BODY, END, HEADER, INVOKE, RESPONSE, invoke_frames, invoke_meta

ECHO = {"do": "echo", "text": "ü" * 100}


def send_in_pieces(host, data, size):
    for start in range(0, len(data), size):
        host.socket.sendall(data[start : start + size])
        time.sleep(0.0005)


@pytest.mark.parametrize("size", [1, 7, 15, 16, 17, 21, 300])
def test_frame_in_pieces(runtime, size):
    with runtime.suite() as host:
        for _ in range(2):
            host.calls += 1
            send_in_pieces(host, b"".join(invoke_frames(host.calls, ECHO)), size)
            assert host.answer().json() == ECHO
        assert host.call(ECHO).json() == ECHO


def test_body_in_many_frames(runtime):
    body = json.dumps(ECHO).encode()
    with runtime.suite() as host:
        for together in (True, False):
            host.calls += 1
            meta = invoke_meta(host.calls)
            head = len(meta).to_bytes(4, "little") + meta
            frames = [HEADER.pack(len(head), INVOKE, 0, 0, host.calls, 0) + head]
            frames += [HEADER.pack(1, BODY, 0, 0, host.calls, 0) + body[i : i + 1] for i in range(len(body))]
            # The last frame of a body may be empty.
            frames += [HEADER.pack(0, BODY, END, 0, host.calls, 0)]
            if together:
                host.socket.sendall(b"".join(frames))
            else:
                for frame in frames:
                    host.socket.sendall(frame)
            assert host.answer().json() == ECHO


def test_call_numbers_are_the_hosts(runtime):
    with runtime.suite() as host:
        host.calls = 0xFFFF_FFFE
        assert host.call({"do": "count"}).json()["count"] == 1


@pytest.mark.parametrize("kind,flags", [(BODY, END), (RESPONSE, END), (0x99, END), (INVOKE, 3)])
def test_protocol_errors_end_the_process(runtime, kind, flags):
    with runtime.suite() as host:
        payload = (2).to_bytes(4, "little") + b"{}"
        host.socket.sendall(HEADER.pack(len(payload), kind, flags, 0, 1, 0) + payload)
        assert host.exit_code() not in (0, None)


def test_slow_reader(runtime):
    """The answer does not fit into the socket's buffer, and the host takes its time."""
    with runtime.suite() as host:
        host.send({"do": "large", "bytes": 3_000_000})
        time.sleep(0.1)
        assert len(host.answer().payload) == 3_000_000
