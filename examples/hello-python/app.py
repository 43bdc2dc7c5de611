"""Greets whoever calls, over HTTP (`GET /hello?name=Ada`) or by a plain event (`{"name": "Ada"}`)."""

import platform


def handler(event, context):
    query = event.get("queryStringParameters") or {}
    name = event.get("name") or query.get("name") or "world"
    print(f"greeting {name}")
    return {
        "message": f"Hello, {name}!",
        "from": f"Python {platform.python_version()}",
        "function": context.function_name,
    }
