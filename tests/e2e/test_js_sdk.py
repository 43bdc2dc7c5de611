"""The way of every user with an unmodified AWS SDK for JavaScript, version 3, its waiters and its paginator."""

import base64
import json
import os
import pathlib
import shutil
import subprocess

import pytest

import functions
from functions import fresh_name, zip_of
from server import ACCOUNT, REGION, REPOSITORY

JOURNEY = pathlib.Path(__file__).with_name("journey.mjs")
MODULES = os.environ.get("WARREN_TEST_NODE_MODULES", str(REPOSITORY / "target/test-env/js/node_modules"))
NODE = os.environ.get("WARREN_TEST_NODE") or shutil.which("node")
OTHERS = 5


def arn(name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


@pytest.fixture(scope="module")
def name():
    return fresh_name("js")


@pytest.fixture(scope="module")
def others(name):
    return [f"{name}-{number}" for number in range(OTHERS)]


@pytest.fixture(scope="module")
def journey(warren, name, others, tmp_path_factory):
    """What came of each step."""
    if NODE is None or not pathlib.Path(MODULES, "@aws-sdk/client-lambda").is_dir():
        pytest.skip("Node.js or the AWS SDK for JavaScript is not installed: `scripts/setup.sh test`")
    key_id, secret = warren.keys()
    made_of = {
        "request": {
            "Runtime": functions.RUNTIME,
            "Role": functions.ROLE,
            "Handler": "app.handler",
            "Environment": {"Variables": {"COLOUR": "red"}},
            "Tags": {"team": "blue"},
        },
        "zips": {
            "actor": base64.b64encode(zip_of(functions.ACTOR)).decode(),
            "echo": base64.b64encode(zip_of(functions.ECHO)).decode(),
        },
        "others": others,
    }
    folder = tmp_path_factory.mktemp("js")
    (folder / "made_of.json").write_text(json.dumps(made_of))
    ended = subprocess.run(
        [NODE, str(JOURNEY), name, "made_of.json"],
        cwd=folder,
        env={
            "AWS_ENDPOINT_URL": warren.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "WARREN_TEST_NODE_MODULES": MODULES,
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_create_and_its_waiters(journey, name):
    created = journey["create"]
    assert (created["State"], created["FunctionArn"]) == ("Pending", arn(name))
    assert created["$metadata"]["httpStatusCode"] == 201
    assert (journey["active"], journey["exists"]) == ("SUCCESS", "SUCCESS")


def test_invoke(journey):
    red = journey["red"]
    assert (red["status"], red["version"], red["body"]["env"]) == (200, "$LATEST", "red")
    assert "error" not in red and "from JavaScript" in red["log"]
    assert f"START RequestId: {red['requestId']}" in red["log"]
    raised = journey["raised"]
    assert (raised["status"], raised["error"], raised["body"]["errorMessage"]) == (200, "Unhandled", "no")
    assert (journey["dryRun"]["status"], journey["dryRun"]["body"]) == (204, None)


def test_update_and_its_waiter(journey):
    assert journey["configuration"]["LastUpdateStatus"] == "InProgress"
    assert (journey["configuration"]["Timeout"], journey["configured"]) == (9, "SUCCESS")
    assert journey["green"]["body"]["env"] == "green"
    assert journey["code"]["LastUpdateStatus"] == "InProgress" and journey["coded"] == "SUCCESS"
    assert journey["code"]["CodeSha256"] != journey["create"]["CodeSha256"]
    assert journey["echo"]["body"]["event"] == {"text": "ä €"}


def test_tags_and_concurrency(journey):
    assert journey["tags"] == {"team": "red"} == journey["found"]["Tags"]
    assert journey["reserved"]["ReservedConcurrentExecutions"] == 3
    assert journey["found"]["Concurrency"] == {"ReservedConcurrentExecutions": 3}
    assert journey["found"]["Configuration"]["LastUpdateStatus"] == "Successful"


def test_versions(journey, name):
    published = journey["published"]
    assert (published["Version"], published["FunctionArn"]) == ("1", arn(name) + ":1")
    assert published["Description"] == "first" and journey["publishedActive"] == "SUCCESS"
    for call in (journey["versionOne"], journey["byArn"]):
        assert (call["version"], call["body"]["version"], call["body"]["arn"]) == ("1", "1", arn(name) + ":1")


def test_the_paginator(journey, name, others):
    pages = journey["pages"]
    found = [function for page in pages for function in page["names"]]
    assert {name, *others} <= set(found) and len(found) == len(set(found))
    assert [len(page["names"]) for page in pages[:-1]] == [2] * (len(pages) - 1) and len(pages) >= 3
    assert [page["marker"] for page in pages] == ["string"] * (len(pages) - 1) + ["undefined"]


def test_refusals_are_of_their_class(journey, name):
    for step in ("missing", "missingInvoke"):
        refusal = journey[step]
        assert (refusal["name"], refusal["status"]) == ("ResourceNotFoundException", 404)
        assert refusal["ofItsClass"] and refusal["message"] == f"Function not found: {arn(name)}"
        assert refusal["requestId"]
    assert journey["invalid"]["name"] == "InvalidParameterValueException"
    assert journey["invalid"]["ofItsClass"] and "cobol85" in journey["invalid"]["message"]
