"""A Lambda Runtime API for one runtime, as the agent serves it, with the calls of a test."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from host import ARN, ERROR, RESPONSE, WAIT_SECONDS, Answer, lambda_environment, request_id

PREFIX = "/2018-06-01/runtime/"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A runtime that ends leaves its connection as it is."""


class ApiHost:
    """The same interface as `host.Host`, for runtimes that speak HTTP."""

    def __init__(self, command, task_root, handler, execution_env, environment=()):
        self.calls = 0
        self.pending = queue.Queue()
        self.answers = queue.Queue()
        self.output = {1: b"", 2: b""}
        self.server = Server(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        environment = lambda_environment(task_root, handler, execution_env) | dict(environment)
        environment["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{self.server.server_port}"
        self.process = subprocess.Popen(
            command,
            cwd=task_root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.readers = [
            threading.Thread(target=self._read, args=(stream, pipe), daemon=True)
            for stream, pipe in ((1, self.process.stdout), (2, self.process.stderr))
        ]
        for reader in self.readers:
            reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A runtime of several processes ends as a whole, and removes its files.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()
        self.server.shutdown()
        self.server.server_close()

    def _read(self, stream, pipe):
        while chunk := pipe.read1(65536):
            self.output[stream] += chunk

    def call(self, event, **headers):
        self.send(event, **headers)
        return self.answers.get(timeout=WAIT_SECONDS)

    def send(self, event, **headers):
        self.calls += 1
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.pending.put((request_id(self.calls), body, headers))

    def init_error(self):
        return self.answers.get(timeout=WAIT_SECONDS).json()

    def exit_code(self):
        code = self.process.wait(WAIT_SECONDS)
        for reader in self.readers:
            reader.join(WAIT_SECONDS)
        return code


def _handler(host):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            assert self.path == PREFIX + "invocation/next"
            request, body, headers = host.pending.get()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Lambda-Runtime-Aws-Request-Id", request)
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 3000))
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", ARN)
            self.send_header("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000")
            for name, value in headers.items():
                self.send_header(f"Lambda-Runtime-{name.replace('_', '-')}", value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == PREFIX + f"invocation/{request_id(host.calls)}/response":
                kind = RESPONSE
            else:
                assert self.path in (PREFIX + "init/error", PREFIX + f"invocation/{request_id(host.calls)}/error"), (
                    self.path
                )
                assert self.headers["Lambda-Runtime-Function-Error-Type"]
                kind = ERROR
            host.answers.put(Answer(kind, body, 0, 1))
            answer = b'{"status":"OK"}'
            self.send_response(202)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    return Handler
