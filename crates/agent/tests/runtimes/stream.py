"""A runtime on the `stream` interface. The event is Python source that sets `answer`; an event that starts with '=' is echoed."""

import json
import os
import socket
import struct
import sys

stream = socket.socket(fileno=3)
written = 0


def read(size):
    data = bytearray()
    while len(data) < size:
        piece = stream.recv(size - len(data))
        if not piece:
            sys.exit(0)
        data += piece
    return bytes(data)


def send(kind, payload=b"", call=0, end=0, mark=0):
    stream.sendall(struct.pack("<IBBHII", len(payload), kind, end, 0, call, mark) + payload)


def receive():
    length, kind, end, _, call, _ = struct.unpack("<IBBHII", read(16))
    return kind, end, call, read(length)


def write(text, descriptor=1):
    global written
    data = text.encode()
    written += len(data)
    while data:
        data = data[os.write(descriptor, data):]


send(0x50)
while True:
    kind, end, call, payload = receive()
    size = struct.unpack("<I", payload[:4])[0]
    meta = json.loads(payload[4:4 + size])
    body = bytearray(payload[4 + size:])
    while not end:
        kind, end, _, payload = receive()
        body += payload
    if body[:1] == b"=":
        answer = bytes(body)
    else:
        scope = {"write": write, "meta": meta, "answer": b""}
        exec(body.decode(), scope)
        answer = scope["answer"]
        if not isinstance(answer, bytes):
            answer = json.dumps(answer).encode()
    while len(answer) > 1000000:
        send(0x70, answer[:1000000], call)
        answer = answer[1000000:]
    send(0x70, answer, call, 1, written % 2**32)
