"""Functions behind their own routes, as any HTTP client sees them."""

import base64
import json
import time

import pytest

import functions
from functions import deploy, fresh_name


@pytest.fixture(scope="module")
def base(client):
    """A path under which a function answers everything, and what it should."""
    base = "/" + fresh_name("web")
    tags = {
        "warren:route": f"GET {base}/items/:id",
        "warren:route.2": f"POST {base}/items",
        "warren:route.3": f"ANY {base}/files/:path+",
        "warren:route.4": f"GET {base}",
    }
    deploy(client, functions.HTTP, Tags=tags, Timeout=2)
    return base


@pytest.fixture(scope="module")
def failing(client):
    """A path whose function does what the query says."""
    base = "/" + fresh_name("failing")
    source = """
import os, time

def handler(event, context):
    what = event["rawQueryString"]
    if what == "raise":
        raise ValueError("secret")
    if what == "exit":
        os._exit(1)
    if what == "sleep":
        time.sleep(30)
    return {"statusCode": 200, "body": what}
"""
    deploy(client, source, Tags={"warren:route": f"GET {base}"}, Timeout=1)
    return base


def event_of(answer):
    status, headers, body = answer
    assert status == 200, body
    assert headers["x-amzn-RequestId"] and headers["apigw-requestid"]
    return json.loads(body)


def answered(warren, base, structured):
    return warren.fetch("GET", base, {"X-Answer": json.dumps(structured)})


def test_an_event(warren, base):
    headers = {"Content-Type": "application/json", "Cookie": "a=1; b=2", "X-Text": "v"}
    answer = warren.fetch("POST", f"{base}/items?q=1&q=2&x=a%20b", headers, '{"ä": 1}'.encode())
    event = event_of(answer)
    assert event["version"] == "2.0" and event["routeKey"] == f"POST {base}/items"
    assert (event["rawPath"], event["rawQueryString"]) == (f"{base}/items", "q=1&q=2&x=a%20b")
    assert event["queryStringParameters"] == {"q": "1,2", "x": "a b"}
    assert event["cookies"] == ["a=1", "b=2"] and "cookie" not in event["headers"]
    assert event["headers"]["x-text"] == "v"
    assert (event["body"], event["isBase64Encoded"]) == ('{"ä": 1}', False)
    context = event["requestContext"]
    assert (context["http"]["method"], context["http"]["sourceIp"]) == ("POST", "127.0.0.1")
    assert context["stage"] == "$default"
    assert context["requestId"] == answer[1]["x-amzn-RequestId"]


def test_parameters(warren, base):
    event = event_of(warren.fetch("GET", f"{base}/items/a%2Fb"))
    assert event["pathParameters"] == {"id": "a/b"} and event["rawPath"] == f"{base}/items/a%2Fb"
    event = event_of(warren.fetch("PURGE", f"{base}/files/a/b//c/"))
    assert event["pathParameters"] == {"path": "a/b//c/"}
    assert event["routeKey"] == f"ANY {base}/files/{{path+}}"


def test_binary_bodies(warren, base):
    body = bytes(range(256))
    event = event_of(warren.fetch("POST", f"{base}/items", {"Content-Type": "application/octet-stream"}, body))
    assert event["isBase64Encoded"] and base64.b64decode(event["body"]) == body
    answer = {
        "statusCode": 200,
        "isBase64Encoded": True,
        "body": base64.b64encode(body).decode(),
        "headers": {"Content-Type": "image/png"},
    }
    status, headers, content = answered(warren, base, answer)
    assert (status, headers["Content-Type"], content) == (200, "image/png", body)


def test_structured_and_bare_answers(warren, base):
    structured = {"statusCode": 201, "headers": {"X-A": "1"}, "cookies": ["a=1", "b=2"], "body": "ü"}
    status, headers, body = answered(warren, base, structured)
    assert (status, headers["x-a"], body.decode()) == (201, "1", "ü")
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]
    status, headers, body = answered(warren, base, {"plain": True})
    assert (status, headers["Content-Type"], json.loads(body)) == (200, "application/json", {"plain": True})


def test_head(warren, base):
    status, headers, body = warren.fetch("HEAD", f"{base}/items/1")
    assert (status, body) == (200, b"") and int(headers["Content-Length"]) > 0


def test_refusals(warren, base):
    for method, path, expected in [("GET", "/nowhere", 404), ("PUT", f"{base}/items", 405), ("GET", f"{base}/files/", 404)]:
        status, headers, body = warren.fetch(method, path)
        assert status == expected
        assert json.loads(body)["requestId"] == headers["x-amzn-RequestId"]
    assert warren.fetch("PUT", f"{base}/items")[1]["Allow"] == "POST"
    large = b"x" * 6_291_457
    assert warren.fetch("POST", f"{base}/items", {"Content-Type": "text/plain"}, large)[0] == 413
    assert warren.fetch("POST", f"{base}/items", {}, large[:5_000_000].replace(b"x", b"\xff"))[0] == 413
    assert warren.fetch("GET", base, {"X-Long": "x" * 20_000})[0] == 431


def test_malformed_answers(warren, base):
    status, _, body = answered(warren, base, {"statusCode": 200, "body": {"not": "text"}})
    assert status == 502 and "body" in json.loads(body)["message"]
    assert answered(warren, base, {"statusCode": 42})[0] == 502


def test_failing_functions(warren, failing):
    for what in ("raise", "exit"):
        status, _, body = warren.fetch("GET", f"{failing}?{what}")
        assert status == 502 and b"secret" not in body
    start = time.monotonic()
    status, _, body = warren.fetch("GET", f"{failing}?sleep")
    assert status == 504 and "timeout of 1 s" in json.loads(body)["message"]
    assert time.monotonic() - start < 10
    assert warren.fetch("GET", f"{failing}?works")[2] == b"works"


def test_throttled(warren, client):
    base = "/" + fresh_name("throttled")
    name = deploy(client, functions.HTTP, Tags={"warren:route": f"GET {base}"})
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    status, headers, _ = warren.fetch("GET", base)
    assert status == 429 and int(headers["Retry-After"]) >= 1


def test_routes_follow_the_function(warren, client):
    base = "/" + fresh_name("moved")
    name = deploy(client, functions.HTTP, Tags={"warren:route": f"GET {base}"})
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert warren.fetch("GET", base)[0] == 200
    client.tag_resource(Resource=arn, Tags={"warren:route": f"GET {base}/new"})
    assert (warren.fetch("GET", base)[0], warren.fetch("GET", f"{base}/new")[0]) == (404, 200)
    with pytest.raises(client.exceptions.ResourceConflictException):
        deploy(client, functions.HTTP, Tags={"warren:route": f"GET {base}/new"})
    client.delete_function(FunctionName=name)
    assert warren.fetch("GET", f"{base}/new")[0] == 404
