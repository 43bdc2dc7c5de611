"""The way of every user with an unmodified `aws`, which knows nothing but the endpoint, the region and the keys of its environment."""

import concurrent.futures
import json
import os
import subprocess
import sys

import pytest

import functions
from functions import deploy, fresh_name, zip_of
from server import ACCOUNT, REGION

MANY = 120
LIMIT_S = 120


class Aws:
    """The CLI, in a folder of its own."""

    def __init__(self, warren, folder):
        key_id, secret = warren.keys()
        self.folder = folder
        self.environment = {
            "AWS_ENDPOINT_URL": warren.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            # No configuration of whoever runs the tests.
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
        }

    def run(self, *arguments):
        """Runs `aws lambda`; gives how it ended."""
        return subprocess.run(
            [sys.executable, "-m", "awscli", "lambda", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def __call__(self, *arguments):
        """Runs a command that must work; gives the JSON that it prints, if it prints any."""
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended
        return json.loads(ended.stdout) if ended.stdout.strip() else None

    def file(self, name, content):
        """Writes a file; gives the argument that has the CLI read it."""
        (self.folder / name).write_bytes(content)
        return f"fileb://{name}"

    def invoke(self, name, event, *options):
        """Calls a function; gives its answer, and what the CLI prints about it."""
        payload = self.file("event.json", json.dumps(event).encode())
        told = self("invoke", "--function-name", name, "--payload", payload, *options, "answer.json")
        return json.loads((self.folder / "answer.json").read_bytes()), told


@pytest.fixture(scope="module")
def aws(warren, tmp_path_factory):
    return Aws(warren, tmp_path_factory.mktemp("aws"))


@pytest.fixture
def many(client):
    """The prefix of a hundred and twenty functions' names; they go when the test ends."""
    prefix = fresh_name("cli")
    names = [f"{prefix}-{number:03}" for number in range(MANY)]
    request = {
        "Runtime": functions.RUNTIME,
        "Role": functions.ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": zip_of(functions.ECHO)},
    }
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: client.create_function(FunctionName=name, **request), names))
        yield names
        list(pool.map(lambda name: client.delete_function(FunctionName=name), names))


def arn(name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def test_the_journey(aws):
    name = fresh_name("cli")
    this = ("--function-name", name)
    code = aws.file("red.zip", zip_of(functions.ACTOR))
    created = aws(
        "create-function",
        *this,
        *("--runtime", functions.RUNTIME, "--role", functions.ROLE, "--handler", "app.handler"),
        *("--zip-file", code, "--environment", "Variables={COLOUR=red}", "--tags", "team=blue"),
    )
    assert (created["State"], created["FunctionArn"]) == ("Pending", arn(name))
    assert aws("wait", "function-active-v2", *this) is None
    answer, told = aws.invoke(name, {"print": "from the CLI"}, "--log-type", "Tail")
    assert answer["env"] == "red"
    assert (told["StatusCode"], told["ExecutedVersion"]) == (200, "$LATEST") and told["LogResult"]

    changed = aws("update-function-configuration", *this, "--environment", "Variables={COLOUR=green}", "--timeout", "9")
    assert (changed["LastUpdateStatus"], changed["Timeout"]) == ("InProgress", 9)
    aws("wait", "function-updated-v2", *this)
    assert aws.invoke(name, {})[0]["env"] == "green"

    changed = aws("update-function-code", *this, "--zip-file", aws.file("echo.zip", zip_of(functions.ECHO)))
    assert changed["CodeSha256"] != created["CodeSha256"]
    aws("wait", "function-updated-v2", *this)
    assert aws.invoke(name, {"n": 1})[0]["event"] == {"n": 1}

    assert aws("tag-resource", "--resource", arn(name), "--tags", "stage=test,team=red") is None
    assert aws("list-tags", "--resource", arn(name)) == {"Tags": {"stage": "test", "team": "red"}}
    reserved = {"ReservedConcurrentExecutions": 3}
    assert aws("put-function-concurrency", *this, "--reserved-concurrent-executions", "3") == reserved
    found = aws("get-function", *this)
    assert found["Concurrency"] == reserved and found["Tags"]["team"] == "red"

    assert aws("publish-version", *this, "--description", "first")["FunctionArn"] == arn(name) + ":1"
    answer, told = aws.invoke(name, {}, "--qualifier", "1")
    assert (answer["version"], told["ExecutedVersion"]) == ("1", "1")

    aws("delete-function", *this)
    ended = aws.run("get-function", *this)
    assert ended.returncode != 0 and "(ResourceNotFoundException)" in ended.stderr


def test_every_form_of_the_name(aws, client):
    name = deploy(client, functions.ECHO)
    for form in (name, f"{name}:$LATEST", f"{ACCOUNT}:function:{name}", arn(name)):
        qualified = ":$LATEST" if form.endswith("$LATEST") else ""
        assert aws.invoke(form, {})[0]["arn"] == arn(name) + qualified, form
        found = aws("get-function-configuration", "--function-name", form)
        assert found["FunctionArn"] == arn(name) + qualified, form


def test_lists_page_by_page(aws, many):
    def names(page):
        return [function["FunctionName"] for function in page["Functions"]]

    # The CLI asks for pages until it has all; both sizes of a page give the same.
    everything = names(aws("list-functions"))
    assert set(many) <= set(everything) and len(everything) == len(set(everything))
    assert names(aws("list-functions", "--page-size", "9")) == everything
    # Parts of the CLI's own making, whose token goes on inside one of the server's pages.
    first = aws("list-functions", "--max-items", "70", "--page-size", "50")
    assert names(first) == everything[:70]
    rest = aws("list-functions", "--max-items", "1000", "--starting-token", first["NextToken"])
    assert names(rest) == everything[70:] and "NextToken" not in rest


def test_what_is_not_there(aws):
    for operation, command in [("GetFunction", "get-function"), ("DeleteFunction", "delete-function")]:
        ended = aws.run(command, "--function-name", "missing-function")
        assert ended.returncode in (254, 255) and ended.stdout == ""
        assert ended.stderr.strip() == (
            f"An error occurred (ResourceNotFoundException) when calling the {operation} operation: "
            f"Function not found: {arn('missing-function')}"
        )
    ended = aws.run("invoke", "--function-name", "missing-function", "answer.json")
    assert "(ResourceNotFoundException)" in ended.stderr and ended.returncode in (254, 255)
