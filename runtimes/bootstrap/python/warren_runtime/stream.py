"""The call stream: frames of the sandbox protocol, version 1, on descriptor 3.

Plain `os.readv` and `os.write` in place of `socket`: a small call costs one system call each way, and a cold start is
spared the import.
"""

import os
import struct

MAX_PAYLOAD = 1_048_576
END = 1

READY = 0x50
INIT_ERROR = 0x51
STANDBY = 0x52
INIT = 0x53
INVOKE = 0x60
BODY = 0x61
RESPONSE = 0x70
ERROR = 0x71

# length, kind, flags, reserved, call, mark
_HEADER = struct.Struct("<IBBHII")
_HEADER_SIZE = _HEADER.size
_META_SIZE = struct.Struct("<I")

# One read takes a whole call up to this size; larger ones are gathered from several.
_BUFFER_SIZE = 65_536
_READ_SIZE = 262_144


class ProtocolError(Exception):
    """The host sent what the protocol does not allow; the runtime ends, for nothing after it can be trusted."""


class CallStream:
    """One call at a time: `next_call`, then `respond` or `fail` with its number."""

    def __init__(self, descriptor=3):
        self._fd = descriptor
        self._buffer = bytearray(_BUFFER_SIZE)
        self._vector = [self._buffer]
        self._view = memoryview(self._buffer)
        # The agent's side may have been non-blocking; and no child process of the function may hold the stream open.
        os.set_blocking(descriptor, True)
        os.set_inheritable(descriptor, False)

    def ready(self):
        self._send(READY, 0, 0, b"", 0)

    def init_error(self, payload):
        self._send(INIT_ERROR, 0, 0, payload, 0)

    def standby(self):
        """Says that this process waits, and waits: the payload of INIT; None when the host has gone."""
        self._send(STANDBY, 0, 0, b"", 0)
        return self.init()

    def let_go(self):
        """Closes the host's end of the stream; `adopt` gives it another."""
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._fd, inheritable=False)
        os.close(nothing)

    def adopt(self, descriptor):
        """Goes on with another stream of the host's."""
        os.dup2(descriptor, self._fd, inheritable=False)
        os.close(descriptor)
        os.set_blocking(self._fd, True)

    def init(self):
        """The payload of INIT; None when the host has gone."""
        data = bytearray(os.read(self._fd, _READ_SIZE))
        if not data:
            return None
        self._fill(data, _HEADER_SIZE)
        length, kind, flags, _, _, _ = _HEADER.unpack_from(data)
        if kind != INIT or flags or length > MAX_PAYLOAD:
            raise ProtocolError(f"frame of kind {kind:#x}, flags {flags:#x}, length {length}")
        self._fill(data, _HEADER_SIZE + length)
        if len(data) != _HEADER_SIZE + length:
            raise ProtocolError("a frame came before READY")
        return bytes(data[_HEADER_SIZE:])

    def respond(self, call, payload, mark):
        """Sends the answer; one that is larger than a frame goes out as several."""
        if len(payload) > MAX_PAYLOAD:
            with memoryview(payload) as view:
                last = (len(payload) - 1) // MAX_PAYLOAD * MAX_PAYLOAD
                for start in range(0, last, MAX_PAYLOAD):
                    self._send(RESPONSE, 0, call, view[start : start + MAX_PAYLOAD], 0)
                payload = bytes(view[last:])
        self._send(RESPONSE, END, call, payload, mark)

    def fail(self, call, payload, mark):
        self._send(ERROR, END, call, payload, mark)

    def next_call(self):
        """Waits for a call and returns its number, its meta (JSON bytes) and its body; None when the host has gone."""
        size = os.readv(self._fd, self._vector)
        if size >= _HEADER_SIZE:
            length, kind, flags, _, call, _ = _HEADER.unpack_from(self._buffer)
            if flags == END and kind == INVOKE and size == _HEADER_SIZE + length:
                start = _HEADER_SIZE + 4
                body = start + _META_SIZE.unpack_from(self._buffer, _HEADER_SIZE)[0]
                return call, self._view[start:body].tobytes(), self._view[body:size].tobytes()
        if size == 0:
            return None
        return self._gather(self._buffer[:size])

    def _gather(self, data):
        """The same for a call that came in several reads or frames; `data` is what has been read of it."""
        call, meta, body = None, None, bytearray()
        while True:
            self._fill(data, _HEADER_SIZE)
            length, kind, flags, _, number, _ = _HEADER.unpack_from(data)
            expected = INVOKE if meta is None else BODY
            if kind != expected or length > MAX_PAYLOAD or flags & ~END:
                raise ProtocolError(f"frame of kind {kind:#x}, flags {flags:#x}, length {length}")
            size = _HEADER_SIZE + length
            self._fill(data, size)
            start = _HEADER_SIZE
            if meta is None:
                call = number
                start += 4
                meta_end = start + _META_SIZE.unpack_from(data, _HEADER_SIZE)[0]
                meta = bytes(data[start:meta_end])
                start = meta_end
            with memoryview(data) as view:
                body += view[start:size]
            del data[:size]
            if flags & END:
                return call, meta, bytes(body)

    def _fill(self, data, size):
        while len(data) < size:
            chunk = os.read(self._fd, _READ_SIZE)
            if not chunk:
                raise ProtocolError("the call stream ended inside a call")
            data += chunk

    def _send(self, kind, flags, call, payload, mark):
        header = _HEADER.pack(len(payload), kind, flags, 0, call, mark)
        if len(payload) <= _BUFFER_SIZE:
            data = header + payload
            sent = os.write(self._fd, data)
            if sent != len(data):
                self._send_all(memoryview(data)[sent:])
        else:
            sent = os.writev(self._fd, (header, payload))
            # A socket takes at least the header of an empty buffer at once, but nothing promises it.
            if sent < _HEADER_SIZE:
                self._send_all(memoryview(header)[sent:])
                sent = _HEADER_SIZE
            self._send_all(memoryview(payload)[sent - _HEADER_SIZE :])

    def _send_all(self, view):
        while len(view):
            view = view[os.write(self._fd, view) :]
