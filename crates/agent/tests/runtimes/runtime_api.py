"""A runtime on the Lambda Runtime API, over plain sockets. The event is JSON: {"run": source}, which sets `answer`; anything else is echoed."""

import json
import os
import socket
import sys
import time

ADDRESS = ("127.0.0.1", 9001)
API = "/2018-06-01/runtime/"


class Client:
    def __init__(self):
        self.socket = socket.create_connection(ADDRESS)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def request(self, method, path, body=b"", headers=()):
        lines = [f"{method} {path} HTTP/1.1", "Host: api", f"Content-Length: {len(body)}", *headers, "", ""]
        self.send("\r\n".join(lines).encode() + body)
        return self.answer()

    def answer(self):
        line = self.file.readline()
        if not line:
            return 0, {}, b""
        status = int(line.split()[1])
        headers = {}
        while True:
            line = self.file.readline().decode().rstrip("\r\n")
            if not line:
                break
            name, value = line.split(": ", 1)
            headers[name.lower()] = value
        if status == 100:
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(self.file.readline(), 16)
                body += self.file.read(size)
                self.file.readline()
                if size == 0:
                    return status, headers, body
        return status, headers, self.file.read(int(headers["content-length"]))

    def next(self):
        return self.request("GET", API + "invocation/next")

    def respond(self, request_id, body, headers=()):
        return self.request("POST", f"{API}invocation/{request_id}/response", body, headers)

    def fail(self, request_id, body, headers=()):
        return self.request("POST", f"{API}invocation/{request_id}/error", body, headers)


def main():
    client = Client()
    while True:
        status, headers, body = client.next()
        if status != 200:
            print("next:", status, body, file=sys.stderr, flush=True)
            sys.exit(1)
        request_id = headers["lambda-runtime-aws-request-id"]
        event = json.loads(body) if body[:1] == b"{" else None
        if not event or "run" not in event:
            client.respond(request_id, body)
            continue
        scope = {"client": client, "id": request_id, "headers": headers, "Client": Client, "API": API, "json": json}
        exec(event["run"], scope)
        if "answer" in scope:
            client.respond(request_id, json.dumps(scope["answer"]).encode())


if os.environ.get("INIT"):
    exec(os.environ["INIT"])
main()
