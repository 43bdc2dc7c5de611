"""Warren's own interface: what `/api/v1/openapi.json` describes, and nothing of it without the key."""

import base64
import json
import re
import time

import pytest
import requests

import functions
from calls import Background
from functions import fresh_name, zip_of
from server import ACCOUNT, REGION, Warren

PROBLEM = "application/problem+json"
OPEN = {"/api/v1/health", "/api/v1/openapi.json"}
METHODS = ("get", "put", "post", "patch", "delete")
LIMIT_S = 60
PREPARED_S = 900
STOP_S = 10
REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def faults(document, schema, value, at="answer"):
    """What of a value is not as a schema of the document says; members that it does not know are faults, too."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "oneOf" in schema:
        tried = [faults(document, one, value, at) for one in schema["oneOf"]]
        return [] if [] in tried else tried[0]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at}: {value!r} is none of {schema['enum']}"]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, KINDS[kind]) for kind in kinds):
        return [f"{at}: {value!r} is no {kinds}"]
    found = []
    if isinstance(value, dict) and "object" in kinds:
        members = schema.get("properties", {})
        found += [f"{at}: no {name}" for name in schema.get("required", []) if name not in value]
        for name, member in value.items():
            described = members.get(name, schema.get("additionalProperties"))
            found += faults(document, described, member, f"{at}.{name}") if described else [f"{at}: unknown {name}"]
    if isinstance(value, list):
        for index, member in enumerate(value):
            found += faults(document, schema["items"], member, f"{at}[{index}]")
    return found


class Native:
    """A client that holds each answer against the description."""

    def __init__(self, warren):
        self.url = warren.url
        self.document = requests.get(f"{warren.url}/api/v1/openapi.json", timeout=LIMIT_S).json()
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = "Bearer " + ":".join(warren.keys())

    def operations(self):
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method, path, item[method]

    def __call__(self, method, path, expected=200, **more):
        """Sends a request; gives its answer, which has the status that is expected and is as described."""
        answer = self.session.request(method, f"{self.url}/api/v1{path}", **{"timeout": LIMIT_S, **more})
        assert answer.status_code == expected, (answer.status_code, answer.text)
        assert REQUEST_ID.fullmatch(answer.headers["warren-request-id"])
        if not more.get("stream"):
            self._hold(method, path.partition("?")[0], answer)
        return answer

    def _hold(self, method, path, answer):
        template = next(
            template
            for template in self.document["paths"]
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), "/api/v1" + path)
        )
        described = self.document["paths"][template][method]["responses"]
        status = str(answer.status_code)
        assert status in described or answer.status_code >= 400, (method, path, status)
        content = described.get(status, described.get("default", {})).get("content")
        if not content:
            assert answer.content == b""
            return
        kind = answer.headers["Content-Type"]
        assert not faults(self.document, content[kind]["schema"], answer.json()), (method, path)

    def prepared(self, name):
        """Waits until a function can be called with its last change; gives it."""
        deadline = time.monotonic() + PREPARED_S
        while True:
            found = self("get", f"/functions/{name}").json()
            if found["state"] == "active" and found.get("last_update") != "in_progress":
                assert found.get("last_update", "successful") == "successful", found
                return found
            assert found["state"] != "failed" and time.monotonic() < deadline, found
            time.sleep(0.05)

    def deploy(self, source=functions.ACTOR, name=None, **members):
        name = name or fresh_name("native")
        spec = {"runtime": functions.RUNTIME, "handler": "app.handler", "code": {"source": source}}
        self("post", "/functions", 201, json={"name": name, **spec, **members})
        self.prepared(name)
        return name

    def refused(self, status, kind, method, path, field=None, **more):
        """Sends a request that must be refused; gives the problem."""
        answer = self(method, path, status, **more)
        return problem(answer, status, kind, field)


def problem(answer, status, kind, field=None):
    assert answer.headers["Content-Type"] == PROBLEM
    found = answer.json()
    assert (answer.status_code, found["status"], found["type"]) == (status, status, f"urn:warren:{kind}"), found
    assert found["title"] and found["detail"] and found.get("field") == field, found
    assert found["request_id"] == answer.headers["warren-request-id"]
    return found


@pytest.fixture(scope="module")
def native(warren):
    return Native(warren)


@pytest.fixture(scope="module")
def doer(native):
    """A function that does what its event says, with a timeout of one second."""
    return native.deploy(timeout_s=1, environment={"COLOUR": "red"})


def test_health_and_description_need_no_key(warren, native):
    for path in sorted(OPEN) + ["/healthz"]:
        answer = requests.get(warren.url + path, timeout=LIMIT_S)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json"), path
    health = native("get", "/health").json()
    assert health["status"] == "ok" and health["version"] and health["functions"] >= 0
    document = native.document
    assert document["openapi"].startswith("3.1")
    scheme = document["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    ids = [operation["operationId"] for _, _, operation in native.operations()]
    assert len(ids) == len(set(ids)) >= 14


def test_nothing_else_opens_without_the_key(warren, native, doer):
    key_id, secret = warren.keys()
    before = native("get", f"/functions/{doer}").json()
    wrong = [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {key_id}"},
        {"Authorization": f"Bearer {key_id}:"},
        {"Authorization": f"Bearer {key_id}:{secret[:-1]}"},
        {"Authorization": f"Bearer {key_id}:{secret}x"},
        {"Authorization": f"Bearer WARRENXXXXXXXXXXXXXX:{secret}"},
        {"Authorization": "Basic " + base64.b64encode(f"{key_id}:{secret}".encode()).decode()},
    ]
    swept = 0
    for method, path, operation in native.operations():
        if path in OPEN:
            assert operation["security"] == [{}]
            continue
        assert "security" not in operation
        for headers in wrong:
            # A connection each: the server closes one whose body it leaves unread.
            with requests.Session() as session:
                session.trust_env = False
                url = warren.url + path.replace("{name}", doer)
                answer = session.request(method, url, headers=headers, json={}, timeout=LIMIT_S)
            found = problem(answer, 401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ") and found["next_step"]
            assert secret[:-1] not in answer.text
            swept += 1
    assert swept >= 12 * len(wrong)
    assert native("get", f"/functions/{doer}").json() == before


def test_refusals_are_problems(warren, native, doer):
    for method, path, _ in native.operations():
        if "{name}" in path:
            body = {"json": {}} if method in ("post", "patch") else {"data": b""}
            if method == "put" and path.endswith("{name}"):
                continue
            missing = path.removeprefix("/api/v1").replace("{name}", "missing-function")
            assert "missing-function" in native.refused(404, "not-found", method, missing, **body)["detail"]
    for method, path, status, kind in [("get", "/nowhere", 404, "not-found"), ("delete", "/engines", 405, "method-not-allowed")]:
        answer = native.session.request(method, f"{warren.url}/api/v1{path}", timeout=LIMIT_S)
        assert problem(answer, status, kind)["next_step"]
    assert answer.headers["Allow"]
    spec = {"name": fresh_name(), "runtime": functions.RUNTIME, "handler": "app.handler", "code": {"source": functions.ECHO}}
    for field, change in [
        ("name", {"name": None}),
        ("name", {"name": "no name"}),
        ("runtime", {"runtime": "cobol85"}),
        ("runtime", {"runtime": None}),
        ("handler", {"handler": None, "code": {"files": {"app.py": functions.ECHO}}}),
        ("code", {"code": None}),
        ("code", {"code": {"zip": "?"}}),
        ("code", {"code": {"files": {"../app.py": ""}}}),
        ("timeout_s", {"timeout_s": 901}),
        ("memory_mb", {"memory_mb": 127}),
        ("ephemeral_storage_mb", {"ephemeral_storage_mb": 511}),
        ("environment", {"environment": {"AWS_REGION": "x"}}),
        ("engine", {"engine": "no engine"}),
        ("engine", {"engine": "abacus"}),
        ("network", {"network": "everything"}),
        ("tags", {"tags": {"warren:route": "GET /x"}}),
        ("routes", {"routes": ["FETCH /x"]}),
        (None, {"unknown": 1}),
        (None, {"timeout_s": "3"}),
    ]:
        native.refused(400, "invalid", "post", "/functions", field, json={**spec, **change})
    native.refused(400, "invalid", "post", "/functions", data=b"{")
    native.refused(409, "conflict", "post", "/functions", "name", json={**spec, "name": doer})
    native.refused(400, "invalid", "patch", f"/functions/{doer}", "name", json={"name": "another"})
    native.refused(400, "invalid", "get", "/functions?limit=0", "limit")
    native.refused(404, "not-found", "get", f"/functions/{spec['name']}")


def test_create_read_change_delete(native, client):
    name = fresh_name("native")
    spec = {
        "runtime": functions.RUNTIME,
        "handler": "app.handler",
        "code": {"files": {"app.py": functions.ACTOR}},
        "environment": {"COLOUR": "red"},
        "description": "ä",
        "timeout_s": 5,
        "memory_mb": 256,
        "tags": {"team": "blue"},
        "reserved_concurrency": 3,
    }
    created = native("put", f"/functions/{name}", 201, json=spec).json()
    assert created["created"] and created["function"]["state"] == "pending"
    found = native.prepared(name)
    assert found["arn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    for member in set(spec) - {"code"}:
        assert found[member] == spec[member], member
    assert found["runs_on"]["title"].startswith("Python") and found["engine"] == "docker"

    # The same again changes nothing, whatever the code is sent as.
    again = native("put", f"/functions/{name}", json=spec).json()
    assert (again["created"], again["changed"], again["function"]) == (False, [], found)
    changed = native("put", f"/functions/{name}", json={**spec, "timeout_s": 6, "tags": {}}).json()
    assert sorted(changed["changed"]) == ["tags", "timeout_s"]
    found = native.prepared(name)
    assert (found["timeout_s"], found["tags"], found["memory_mb"]) == (6, {}, 256)
    changed = native("patch", f"/functions/{name}", json={"environment": {"COLOUR": "green"}, "reserved_concurrency": None}).json()
    assert sorted(changed["changed"]) == ["environment", "reserved_concurrency"]
    assert "reserved_concurrency" not in native.prepared(name)
    assert native("post", f"/functions/{name}/invoke", json={}).json()["env"] == "green"

    zipped = zip_of(functions.ECHO)
    changed = native("put", f"/functions/{name}/code", data=zipped, headers={"Content-Type": "application/zip"}).json()
    assert (changed["changed"], changed["function"]["code"]["size"]) == (["code"], len(zipped))
    native.prepared(name)
    assert native("post", f"/functions/{name}/invoke", json={"n": 1}).json()["event"] == {"n": 1}
    native.refused(400, "invalid", "put", f"/functions/{name}/code", "code", data=b"no zip")

    # Both interfaces show the same function.
    assert client.get_function_configuration(FunctionName=name)["Timeout"] == 6
    client.publish_version(FunctionName=name)
    assert native("get", f"/functions/{name}").json()["versions"] == [1]
    answer = native("post", f"/functions/{name}/invoke?qualifier=1", json={}).json()
    assert (answer["version"], answer["arn"]) == ("1", found["arn"] + ":1")

    native("delete", f"/functions/{name}", 204)
    native.refused(404, "not-found", "delete", f"/functions/{name}")
    native.refused(404, "not-found", "post", f"/functions/{name}/invoke", json={})


def test_lists_page_by_page(native):
    names = sorted(native.deploy(functions.ECHO, fresh_name("listed")) for _ in range(3))
    found, cursor = [], None
    while True:
        page = native("get", "/functions", params={"limit": 2, "cursor": cursor}).json()
        found += [function["name"] for function in page["functions"]]
        assert 1 <= len(page["functions"]) <= 2
        cursor = page.get("next_cursor")
        if cursor is None:
            break
        assert len(page["functions"]) == 2
    assert found == sorted(set(found)) and set(names) <= set(found)
    for name in names:
        native("delete", f"/functions/{name}", 204)


def test_invoke_tells_how_it_ended(native, doer):
    path = f"/functions/{doer}/invoke"
    answer = native("post", path, json={"print": "said"}, params={"tail": "true"})
    assert (answer.headers["warren-outcome"], answer.json()["env"]) == ("answer", "red")
    assert float(answer.headers["warren-duration-ms"]) > 0
    log = base64.b64decode(answer.headers["warren-log-tail"]).decode()
    assert "said" in log and f"START RequestId: {answer.headers['warren-request-id']}" in log
    answer = native("post", path)
    assert answer.headers["warren-outcome"] == "answer" and "warren-log-tail" not in answer.headers
    answer = native("post", path, json={"raise": "no"})
    assert (answer.headers["warren-outcome"], answer.json()["errorMessage"]) == ("error", "no")
    for event, kind in [({"sleep": 30}, "Sandbox.Timedout"), ({"exit": 3}, "Runtime.ExitError")]:
        answer = native("post", path, json=event)
        assert (answer.headers["warren-outcome"], answer.json()["errorType"]) == ("failed", kind)
    native.refused(400, "invalid", "post", path, data=b"{")
    large = b'"' + b"x" * 6_291_456 + b'"'
    native.refused(413, "too-large", "post", path, data=large, headers={"Connection": "close"})


def test_logs(native, doer):
    path = f"/functions/{doer}"
    told = [native("post", f"{path}/invoke", json={"print": f"line {number}"}, params={"tail": "true"}) for number in (1, 2)]
    first, second = (answer.headers["warren-request-id"] for answer in told)

    def lines(**params):
        return native("get", f"{path}/logs", params=params).json()["lines"]

    printed = [line for line in lines(since="10m") if line["source"] == "stdout" and line["text"].startswith("line ")]
    assert [(line["text"], line["request_id"]) for line in printed] == [("line 1", first), ("line 2", second)]
    of_one = lines(request_id=first)
    assert {line["request_id"] for line in of_one} == {first}
    assert of_one[0]["text"].startswith("START ") and of_one[-1]["text"].startswith("REPORT ")
    assert [line["time_us"] for line in of_one] == sorted(line["time_us"] for line in of_one)
    assert len(lines(limit=2)) == 2 and lines(limit=2)[-1] == lines()[-1]
    assert lines(since="2999-01-01T00:00:00Z") == []
    native.refused(400, "invalid", "get", f"{path}/logs", "since", params={"since": "yesterday"})
    native.refused(400, "invalid", "get", f"{path}/logs", "limit", params={"limit": 10001})


def test_following_a_log(native, doer):
    path = f"/functions/{doer}"
    native("post", f"{path}/invoke", json={"print": "before"}, params={"tail": "true"})
    schema = {"$ref": "#/components/schemas/LogEvent"}
    with native("get", f"{path}/logs", params={"follow": "true", "limit": 3}, stream=True) as stream:
        assert stream.headers["Content-Type"] == "application/x-ndjson"
        # Sent by another connection: this one is busy.
        call = Background(requests.post, f"{native.url}/api/v1{path}/invoke", json={"print": "after"}, headers=native.session.headers)
        texts = []
        for line in filter(None, stream.iter_lines(chunk_size=1)):
            event = json.loads(line)
            assert not faults(native.document, schema, event), event
            texts.append(event["text"])
            if "after" in texts and event["text"].startswith("REPORT "):
                break
    request_id = call.join().headers["warren-request-id"]
    # The last lines of the past, then each further one once.
    assert len(texts) == 3 + 4 and texts.count("after") == 1, texts
    assert texts[2].startswith("REPORT ") and texts[3].startswith(f"START RequestId: {request_id}")


def test_a_follower_does_not_hold_up_the_stop(tmp_path):
    server = Warren(tmp_path / "data").start()
    try:
        native = Native(server)
        path = f"/functions/{native.deploy()}"
        native("post", f"{path}/invoke", params={"tail": "true"})
        stream = native("get", f"{path}/logs", params={"follow": "true"}, stream=True)
        lines = stream.iter_lines(chunk_size=1)
        assert json.loads(next(lines))["text"]
    finally:
        begun = time.monotonic()
        server.stop()
    assert time.monotonic() - begun < STOP_S
    stream.close()


def test_runtimes_and_engines(native):
    runtimes = native("get", "/runtimes").json()["runtimes"]
    runs = {runtime["id"] for runtime in runtimes} | {other for runtime in runtimes for other in runtime["stands_in_for"]}
    assert {functions.RUNTIME, "nodejs22.x", "provided.al2023"} <= runs
    used = next(one for one in runtimes if functions.RUNTIME in (one["id"], *one["stands_in_for"]))
    assert used["built"] and used["size_mb"] > 0 and used["example_handler"] == "app.handler"
    engines = {engine["name"]: engine for engine in native("get", "/engines").json()["engines"]}
    assert engines["docker"]["usable"] and engines["docker"]["detail"]
    for engine in engines.values():
        assert engine["usable"] or engine["reason"] and engine["next_step"], engine


def test_routes(warren, native):
    base = "/" + fresh_name("native")
    name = native.deploy(functions.HTTP, routes=[f"GET {base}/items/{{id}}", f"any {base}/:rest+"])
    assert native("get", f"/functions/{name}").json()["routes"] == [f"GET {base}/items/{{id}}", f"ANY {base}/{{rest+}}"]
    listed = native("get", "/routes").json()
    mine = [(route["method"], route["path"]) for route in listed["routes"] if route["function"] == name]
    assert sorted(mine) == [("ANY", f"{base}/{{rest+}}"), ("GET", f"{base}/items/{{id}}")]
    assert listed["port"] == warren.routes[1]
    status, _, body = warren.fetch("GET", f"{base}/items/7")
    assert status == 200 and json.loads(body)["pathParameters"] == {"id": "7"}
    # One route belongs to one function.
    spec = {"runtime": functions.RUNTIME, "handler": "app.handler", "code": {"source": functions.HTTP}}
    other = {**spec, "name": fresh_name("native"), "routes": [f"GET {base}/items/{{other}}"]}
    native("post", "/functions", 409, json=other)
    changed = native("patch", f"/functions/{name}", json={"routes": []}).json()
    assert (changed["changed"], changed["function"]["routes"]) == (["routes"], [])
    assert warren.fetch("GET", f"{base}/items/7")[0] == 404
