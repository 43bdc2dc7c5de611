"""The command line against a real server, as a person or a script uses it."""

import json
import os
import shlex
import subprocess

import boto3
import pytest

import functions
from server import BINARY, REPOSITORY

# What a handler may be named after, in every form of code.
GREETER = """
def handler(event, context):
    print("greeting", event.get("name"))
    if event.get("name") == "nobody":
        raise ValueError("who is that?")
    return {"hello": event.get("name")}
"""


class Cli:
    """`warren` as another process, with the server and nothing else in its environment."""

    def __init__(self, warren):
        self.environment = {
            "PATH": os.environ["PATH"],
            "WARREN_SERVER": warren.url,
            "WARREN_DATA_DIR": str(warren.folder),
        }

    def run(self, *arguments, status=0, stdin="", **environment):
        done = subprocess.run(
            [BINARY, *map(str, arguments)],
            input=stdin,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done

    def json(self, *arguments, **options):
        return json.loads(self.run(*arguments, "--json", **options).stdout)

    def follow(self, *arguments):
        return subprocess.Popen(
            [BINARY, "logs", *arguments, "--follow", "--json"],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def cli(warren):
    return Cli(warren)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code") / "greeter"
    folder.mkdir()
    (folder / "app.py").write_text(GREETER)
    return folder


@pytest.fixture(scope="module")
def greeter(cli, folder):
    name = functions.fresh_name("greeter")
    cli.run("deploy", folder, "--name", name, "--route", f"GET /{name}/:who")
    return name


def test_deploy_says_what_it_did_and_what_comes_next(cli, folder, warren):
    name = functions.fresh_name("first")
    done = cli.run("deploy", folder, "--name", name, "--route", f"GET /{name}")
    assert f"{name} is active (created)" in done.stdout
    assert f"GET {warren.routes_url}/{name}" in done.stdout
    assert "docker" in done.stdout
    assert f"warren invoke {name} --data '{{}}'" in done.stdout
    # What was guessed is said, apart from the answer.
    assert "python3.13" in done.stderr and "app.handler" in done.stderr
    again = cli.run("deploy", folder, "--name", name, "--route", f"GET /{name}")
    assert "nothing had to change" in again.stdout


def test_folder_file_and_zip_are_the_same_code(cli, folder, tmp_path, client):
    names = [functions.fresh_name(form) for form in ("folder", "file", "zip")]
    digests = [
        cli.json("deploy", folder, "--name", names[0])["function"]["code"]["sha256"],
        cli.json("deploy", folder / "app.py", "--name", names[1])["function"]["code"]["sha256"],
    ]
    location = client.get_function(FunctionName=names[0])["Code"]["Location"]
    archive = tmp_path / "code.zip"
    subprocess.run(["curl", "-fsS", "-o", archive, location], check=True)
    digests.append(cli.json("deploy", archive, "--name", names[2])["function"]["code"]["sha256"])
    assert len(set(digests)) == 1
    assert cli.json("invoke", names[2], "--data", '{"name": "Ada"}')["body"] == {"hello": "Ada"}


def test_a_stand_in_is_never_silent(cli, folder):
    name = functions.fresh_name("older")
    done = cli.run("deploy", folder, "--name", name, "--runtime", "python3.12")
    assert "python3.12 on Python 3.13, which stands in for it" in done.stdout
    shown = cli.json("get", name)
    assert shown["runtime"] == "python3.12" and shown["runs_on"]["stands_in"]


def test_invoke_prints_the_answer_alone(cli, greeter, tmp_path):
    event = {"name": "Ada"}
    by_data = cli.run("invoke", greeter, "--data", json.dumps(event))
    assert json.loads(by_data.stdout) == {"hello": "Ada"} and by_data.stderr == ""
    by_input = cli.run("invoke", greeter, "-", stdin=json.dumps(event))
    assert by_input.stdout == by_data.stdout
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    with_logs = cli.run("invoke", greeter, "--file", file, "--logs")
    assert with_logs.stdout == by_data.stdout
    assert "greeting Ada" in with_logs.stderr and "REPORT RequestId" in with_logs.stderr


def test_a_function_s_error_is_shown_and_is_a_failure(cli, greeter):
    failed = cli.run("invoke", greeter, "--data", '{"name": "nobody"}', status=1)
    assert failed.stdout == ""
    assert "ValueError: who is that?" in failed.stderr and "app.py" in failed.stderr
    report = cli.json("invoke", greeter, "--data", '{"name": "nobody"}', status=1)
    assert report["outcome"] == "error" and report["body"]["errorType"] == "ValueError"


def test_update_changes_what_is_named(cli, greeter):
    flags = ["--memory", "256", "--env", "STAGE=test", "--tag", "team=a", "--concurrency", "3"]
    changed = cli.json("update", greeter, *flags)
    assert set(changed["changed"]) == {"memory_mb", "environment", "tags", "reserved_concurrency"}
    function = cli.json("get", greeter)
    assert function["memory_mb"] == 256 and function["environment"] == {"STAGE": "test"}
    assert function["reserved_concurrency"] == 3 and function["timeout_s"] == 3
    cli.run("update", greeter, "--concurrency", "none")
    assert "reserved_concurrency" not in cli.json("get", greeter)
    assert "no setting" in cli.run("update", greeter, status=2).stderr
    replaced = cli.run("update", greeter, "--env", "LEVEL=info").stdout
    assert f"{greeter} is active (changed: env)" in replaced
    assert "LEVEL set; removed STAGE" in replaced


def test_lists_name_what_there_is(cli, greeter, warren):
    assert greeter in [function["name"] for function in cli.json("list")]
    routes = {route["function"]: route for route in cli.json("routes")}
    assert routes[greeter]["url"] == f"{warren.routes_url}/{greeter}/{{who}}"
    assert "python3.13" in [runtime["id"] for runtime in cli.json("runtimes")["runtimes"]]
    assert cli.json("engines")["engines"][0]["usable"] is True
    assert greeter in cli.run("list").stdout


def test_logs_are_read_by_call_and_followed(cli, greeter):
    called = cli.json("invoke", greeter, "--data", '{"name": "Bo"}')
    lines = cli.run("logs", greeter, "--request", called["request_id"], "--json").stdout
    texts = [json.loads(line)["text"] for line in lines.splitlines()]
    assert texts[0].startswith("START") and "greeting Bo" in texts
    follower = cli.follow(greeter, "--limit", "1")
    try:
        assert json.loads(follower.stdout.readline())["text"].startswith("REPORT")
        cli.run("invoke", greeter, "--data", '{"name": "Cy"}')
        for line in follower.stdout:
            if json.loads(line)["text"] == "greeting Cy":
                break
        else:
            raise AssertionError("the follower ended before the line")
    finally:
        follower.kill()
        follower.wait()


def test_env_points_aws_clients_and_warren_itself_here(cli, greeter):
    variables = cli.json("env")
    client = boto3.client(
        "lambda",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    assert client.get_function(FunctionName=greeter)["Configuration"]["FunctionName"] == greeter
    text = cli.run("env").stdout
    shell = subprocess.run(
        ["sh", "-c", f'eval "$(cat)"; exec {BINARY} get {greeter} --json'],
        input=text,
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(shell.stdout)["name"] == greeter, shell.stderr
    assert "set -gx AWS_REGION 'us-east-1'" in cli.run("env", "--shell", "fish").stdout


def test_delete_asks_or_is_told(cli, folder):
    name = functions.fresh_name("gone")
    cli.run("deploy", folder, "--name", name)
    assert "--yes" in cli.run("delete", name, status=2).stderr
    cli.run("invoke", name, "--data", '{"name": "Eve"}')
    assert "Its log stays" in cli.run("delete", name, "--yes").stdout
    missing = cli.run("get", name, status=1)
    assert f"There is no function '{name}'." in missing.stderr and "hint:" in missing.stderr
    cli.run("deploy", folder, "--name", name)
    assert "greeting Eve" in cli.run("logs", name).stdout


def test_a_missing_version_is_told_from_a_missing_function(cli, greeter):
    for command in (["invoke", greeter, "--qualifier", "7"], ["logs", f"{greeter}:7"]):
        missing = cli.run(*command, status=1).stderr
        assert f"The function '{greeter}' has no version '7'." in missing
        assert "no published version" in missing


def test_deploy_says_what_it_packs_and_what_can_not_work(cli, folder, tmp_path):
    code = tmp_path / "code"
    (code / ".venv/bin").mkdir(parents=True)
    (code / "__pycache__").mkdir()
    (code / ".venv/bin/python3").symlink_to("/usr/bin/python3")
    (code / ".venv/bin/python").symlink_to("python3")
    (code / "app.py").write_text(GREETER)
    (code / ".env").write_text("A=1")
    name = functions.fresh_name("packed")
    flags = ["--name", name, "--runtime", "python3.13", "--handler", "main.handler"]
    said = cli.run("deploy", code, *flags).stderr
    assert "Packed 2 files" in said and "left out: .venv, __pycache__" in said
    assert "warning: .env is in the package" in said
    assert "warning: handler main.handler: the package has no main.py. Every call will fail" in said
    shown = cli.run("deploy", code, *flags).stdout
    assert "Every call will fail until this is mended: handler main.handler" in shown and "Try next" not in shown
    (code / "yaml").mkdir()
    (code / "yaml/_yaml.cpython-311-x86_64-linux-gnu.so").write_bytes(b"x")
    said = cli.run("deploy", code, "--name", name).stderr
    assert "_yaml.cpython-311-x86_64-linux-gnu.so is built for Python 3.11 and is not used on Python 3.13" in said
    assert "--python-version 3.13 --only-binary=:all:" in said
    (code / "bootstrap").write_text("#!/bin/sh")
    flags = ["--name", functions.fresh_name("shell"), "--runtime", "provided.al2023"]
    assert "chmod +x bootstrap" in cli.run("deploy", code, *flags).stderr


def test_hints_are_commands_that_work_when_pasted(warren, folder):
    """The server and the data folder that were named by flags are named again."""
    name = functions.fresh_name("pasted")
    connection = ["--server", warren.url, "--data-dir", str(warren.folder)]

    def shell(command):
        return subprocess.run(
            ["sh", "-c", command], env={"PATH": os.environ["PATH"]}, cwd="/", capture_output=True, text=True, timeout=240
        )

    said = shell(shlex.join([BINARY, "deploy", str(folder), "--name", name, *connection])).stdout
    invoke, follow = [line.strip() for line in said.split("Try next:")[1].splitlines() if line.strip()]
    assert '"hello"' in shell(invoke).stdout
    assert "REPORT" in shell(follow.replace(" --follow", "")).stdout
    failed = shell(shlex.join([BINARY, "invoke", name, "--data", '{"name": "nobody"}', *connection]))
    hint = failed.stderr.split("hint: `")[1].split("`")[0]
    assert "who is that?" in shell(hint).stdout


def test_env_says_that_nobody_serves_there(cli):
    assert cli.run("env").stderr == ""
    done = cli.run("env", "--server", "http://127.0.0.1:1")
    assert "export AWS_ENDPOINT_URL='http://127.0.0.1:1'" in done.stdout
    assert done.stderr.startswith("warning: no Warren answers at http://127.0.0.1:1")


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        (["deploy", "/no/such/path"], 2, "No such file"),
        (["deploy", str(REPOSITORY / "docs")], 2, "--runtime"),
        (["deploy", "{file}", "--timeout", "901"], 2, "901 is not between 1 and 900 seconds"),
        (["deploy", "{file}", "--timeout", "abc"], 2, "write a whole number of seconds"),
        (["deploy", "{file}", "--memory", "20000"], 2, "not between 128 and 10240 MB"),
        (["deploy", "{file}", "--env", "A=1"], 2, "--env A: names need at least two characters"),
        (["deploy", "{empty}"], 1, "has no files to deploy"),
        (["deploy", "{file}", "--runtime", "cobol"], 1, "cobol"),
        (["deploy", "{file}", "--route", "/a"], 2, "METHOD"),
        (["deploy", "{file}", "--env", "nonsense"], 2, "NAME=VALUE"),
        (["deploy", "{file}", "--runtime", "python2.7"], 1, "Nearest here: python3.13, python3.12"),
        (["deploy", "{file}", "--engine", "abacus"], 1, "there is: docker"),
        (["deploy", "{file}", "--network", "allow"], 2, "--network allow opens nothing by itself"),
        (["deploy", "{file}", "--network", "lan"], 2, "--network lan is not known"),
        (["deploy", "{file}", "--network", "internet", "--allow", "a:1"], 2, "--network internet and --allow can't stand together"),
        (["deploy", "{file}", "--allow", "db.internal"], 2, "'--allow <DESTINATION>': 'db.internal' has no port. Write db.internal:PORT"),
        (["serve", "--listen", "7480"], 2, "such as 127.0.0.1:7480"),
        (["invoke", "x", "--data", "@event.json"], 2, "--file event.json reads the event"),
        (["invoke", "no-such-function"], 1, "There is no function"),
        (["list", "--server", "http://127.0.0.1:1"], 1, "no Warren answers"),
        (["list", "--key", "WARREN:wrong"], 1, "--key"),
        (["list", "--key", "nonsense"], 2, "ID:SECRET"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_faults_have_a_status_and_a_next_step(cli, folder, tmp_path, arguments, status, words):
    places = {"{file}": str(folder / "app.py"), "{empty}": str(tmp_path)}
    arguments = [places.get(part, part) for part in arguments]
    failed = cli.run(*arguments, status=status)
    assert words in failed.stderr and "panicked" not in failed.stderr
    assert failed.stdout == ""


def test_a_real_key_of_aws_is_not_sent(cli, tmp_path):
    failed = cli.run(
        "list",
        status=1,
        WARREN_SERVER="",
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE",
        AWS_SECRET_ACCESS_KEY="secret",
        WARREN_DATA_DIR=str(tmp_path),
    )
    assert "there is no key" in failed.stderr


def test_doctor_works_with_and_without_a_server(cli):
    report = cli.json("doctor")
    assert report["server"][0]["verdict"] == "ok"
    parts = {check["part"]: check for check in report["this_machine"]}
    assert {"docker daemon", "mkfs.ext4", "mmdebstrap", "data folder"} <= set(parts)
    done = subprocess.run(
        [BINARY, "doctor", "--server", "http://127.0.0.1:1"],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "no Warren answers" in done.stdout and "This machine" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_name_the_commands(cli, shell):
    script = cli.run("completions", shell).stdout
    assert "deploy" in script and "doctor" in script
