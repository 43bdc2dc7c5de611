"""Fetches a page of the internet: `{"url": "https://example.com/"}`. Deployed with `--network internet`, which reaches nothing else."""

import urllib.request

# Below the function's own timeout, which is 3 s unless --timeout says more: so the error is told, and not only that time was up.
LIMIT_S = 2


def handler(event, context):
    with urllib.request.urlopen(event["url"], timeout=LIMIT_S) as answer:
        body = answer.read()
        return {"status": answer.status, "bytes": len(body), "begins": body[:80].decode(errors="replace")}
