"""Fetches a page of the internet: `{"url": "https://example.com/"}`. Deployed with `--network internet`, which reaches nothing else."""

import urllib.request

LIMIT_S = 10


def handler(event, context):
    with urllib.request.urlopen(event["url"], timeout=LIMIT_S) as answer:
        body = answer.read()
        return {"status": answer.status, "bytes": len(body), "begins": body[:80].decode(errors="replace")}
