"""Signed calls as bytes, for tests that hold a thousand connections themselves or treat one badly."""

import asyncio
import dataclasses
import json
import re
import time
import urllib.request

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from server import REGION


def signed(server, name, event):
    """One call of a function, as it goes over the wire."""
    url = f"{server.url}/2015-03-31/functions/{name}/invocations"
    body = json.dumps(event).encode()
    request = botocore.awsrequest.AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"})
    credentials = botocore.credentials.Credentials(*server.keys())
    botocore.auth.SigV4Auth(credentials, "lambda", REGION).add_auth(request)
    lines = [f"POST {url.removeprefix(server.url)} HTTP/1.1", "Host: %s:%d" % server.control]
    lines += [f"{key}: {value}" for key, value in request.headers.items()]
    lines += [f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    body: bytes
    seconds: float

    def json(self):
        return json.loads(self.body)


async def exchange(address, request):
    """Sends a request on a connection of its own and reads its answer to the end."""
    begin = time.monotonic()
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        whole = await reader.read()
    finally:
        writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split(" ")[1]), headers, body, time.monotonic() - begin)


async def exchange_all(address, requests):
    """All at the same time."""
    return await asyncio.gather(*(exchange(address, request) for request in requests))


def metrics(server):
    """What the server counts, by name with labels."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def quantile_bound(before, after, name, share):
    """The bucket of a histogram, in seconds, below which this share of what came between two looks lies."""
    bucket = re.compile(rf'{name}_bucket{{le="(.+)"}}')
    counts = [(float(found[1]), after[key] - before[key]) for key in after if (found := bucket.fullmatch(key))]
    counts.sort()
    return next(bound for bound, count in counts if count >= share * counts[-1][1])
