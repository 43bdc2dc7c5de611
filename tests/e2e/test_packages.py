"""Hostile and broken packages, each sent to a real server: refused with the words of tests/fixtures/packages/cases.toml, and nothing of it on the disk.

The zips are made by an example of crates/package, from the same code that its own tests use.
"""

import base64
import io
import json
import os
import pathlib
import shutil
import subprocess
import zipfile

import pytest
import requests
from botocore.exceptions import ClientError

import functions
from functions import ROLE, fresh_name, wait
from server import BINARY, Warren

MAKER = pathlib.Path(os.environ.get("WARREN_TEST_PACKAGES", pathlib.Path(BINARY).parent / "examples/hostile_packages"))
HANDLERS = {"python": "app.handler", "nodejs": "index.handler", "provided": "bootstrap"}
# What every server writes, whatever it is asked: the database, the log files, and what it remembers of the database and of code.
ALIVE = ("run", "warren.db", "logs", "server", "unneeded-code")
# A refusal may be noted in the database; a package would be larger.
WRITTEN_BYTES = 1 << 20


@pytest.fixture(scope="module")
def warren(tmp_path_factory):
    """A server that no other test writes to."""
    server = Warren(tmp_path_factory.mktemp("packages") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(warren):
    return warren.client()


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The table's cases, by name, each with its zip."""
    if not MAKER.exists():
        pytest.skip(f"{MAKER} is not built: cargo build --release --workspace --example hostile_packages")
    folder = tmp_path_factory.mktemp("zips")
    subprocess.run([MAKER, folder], check=True, capture_output=True)
    cases = json.loads((folder / "index.json").read_text())
    return {case["name"]: {**case, "zip": folder / f"{case['name']}.zip"} for case in cases}


def disk(warren):
    """Every file of the data folder with its size and its blocks on the disk."""
    found = {}
    for path in sorted(warren.folder.rglob("*")):
        name = str(path.relative_to(warren.folder))
        if not name.startswith(ALIVE):
            status = path.lstat()
            found[name] = (status.st_mode, status.st_size, status.st_blocks)
    return found


def written(warren):
    """Bytes that the server has written to disks, in all its life, those included that were removed before they got there."""
    lines = pathlib.Path(f"/proc/{warren.process.pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def request_of(case, name):
    family = next(family for family in HANDLERS if case["runtime"].startswith(family))
    return {
        "FunctionName": name,
        "Runtime": case["runtime"],
        "Role": ROLE,
        "Handler": HANDLERS[family],
        "Code": {"ZipFile": case["zip"].read_bytes()},
    }


def refusal(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    answer = caught.value.response
    error = answer["Error"]
    return error["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], error["Message"]


def stated(case):
    return case["code"], case["status"], case["message"]


def hostile(packages):
    return [case for case in packages.values() if case["code"]]


def test_create_refuses_each_and_leaves_the_disk_as_it_was(warren, client, packages):
    cases = hostile(packages)
    assert len(cases) >= 30
    wrong = []
    for case in cases:
        before, bytes_before = disk(warren), written(warren)
        found = refusal(client.create_function, **request_of(case, fresh_name("hostile")))
        if found != stated(case):
            wrong.append((case["name"], found))
        if disk(warren) != before:
            wrong.append((case["name"], "changed the data folder"))
        if written(warren) - bytes_before > WRITTEN_BYTES:
            wrong.append((case["name"], f"wrote {written(warren) - bytes_before} bytes"))
    assert wrong == []
    assert client.list_functions()["Functions"] == []
    print(f"{len(cases)} packages refused; data folder {len(disk(warren))} files before and after each")


def test_update_refuses_as_create_does(warren, client, packages):
    name = functions.deploy(client, functions.ECHO, Runtime="python3.13")
    before = disk(warren)
    revision = client.get_function_configuration(FunctionName=name)["RevisionId"]
    for case in (packages["native-python-older"], packages["bomb-one-file"], packages["traversal-up"]):
        zip_file = case["zip"].read_bytes()
        for dry_run in (True, False):
            found = refusal(client.update_function_code, FunctionName=name, ZipFile=zip_file, DryRun=dry_run)
            assert found == stated(case)
    assert disk(warren) == before
    assert client.get_function_configuration(FunctionName=name)["RevisionId"] == revision
    client.delete_function(FunctionName=name)


def test_native_api_and_cli_say_the_same(warren, packages, tmp_path):
    before = disk(warren)
    case = packages["native-bootstrap-macos"]
    code = {"zip": base64.b64encode(case["zip"].read_bytes()).decode()}
    answer = requests.put(
        f"{warren.url}/api/v1/functions/{fresh_name()}",
        json={"runtime": case["runtime"], "handler": "bootstrap", "code": code},
        headers={"Authorization": "Bearer " + ":".join(warren.keys())},
        timeout=60,
    )
    problem = answer.json()
    assert (answer.status_code, problem["field"], problem["detail"]) == (400, "code", case["message"])
    done = subprocess.run(
        [BINARY, "deploy", case["zip"], "--name", fresh_name(), "--runtime", case["runtime"], "--handler", "bootstrap"],
        env={**os.environ, "WARREN_SERVER": warren.url, "WARREN_DATA_DIR": str(warren.folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done
    assert case["message"] in " ".join(done.stderr.split())
    assert disk(warren) == before


def test_another_runtime_is_refused_that_can_not_load_the_code(warren, client, packages):
    """As code of another machine, so code that the new runtime can't load."""
    case = packages["native-python-older"]
    name = fresh_name("moved")
    # Node.js loads no extension module of Python.
    request = request_of(case, name)
    client.create_function(**{**request, "Runtime": "nodejs22.x", "Handler": "index.handler"})
    wait(client, "function_active_v2", name)
    found = refusal(client.update_function_configuration, FunctionName=name, Runtime="python3.13", Handler="app.handler")
    assert found == stated(case)
    assert client.get_function_configuration(FunctionName=name)["Runtime"] == "nodejs22.x"
    client.delete_function(FunctionName=name)


def test_what_only_looks_hostile_is_deployed(client, packages):
    for case in (case for case in packages.values() if not case["code"]):
        name = fresh_name("harmless")
        answer = client.create_function(**request_of(case, name))
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == case["status"], case["name"]
        wait(client, "function_active_v2", name)
        client.delete_function(FunctionName=name)


class Pipe(io.RawIOBase):
    """What can't be sought in: a zip written to it states sizes behind the contents."""

    def __init__(self):
        self.bytes = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.bytes += data
        return len(data)


def made_by_python(folder):
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        whole, streamed = io.BytesIO(), Pipe()
        for target in (whole, streamed):
            with zipfile.ZipFile(target, "w", compression) as archive:
                archive.mkdir("lib")
                archive.write(folder / "app.py", "app.py")
                with archive.open("lib/großes", "w", force_zip64=True) as file:
                    file.write(b"x" * 100_000)
                archive.comment = b"by hand"
        yield whole.getvalue()
        yield bytes(streamed.bytes)


def made_by_programs(folder):
    """With those that are on this machine; each packs a folder, or writes to its standard output."""
    for command in (["zip", "-qr", "-", "."], ["bsdtar", "-c", "--format", "zip", "."]):
        if shutil.which(command[0]):
            yield subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout
    for command in (["jar", "cf", "X", "."], ["7z", "a", "-bd", "X", "."], ["zip", "-qry", "X", "."]):
        if shutil.which(command[0]):
            made = folder.parent / f"by-{command[0]}.zip"
            command = [str(made) if word == "X" else word for word in command]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            yield made.read_bytes()


def test_zips_of_other_tools_are_deployed(client, tmp_path):
    folder = tmp_path / "package"
    (folder / "pkg/empty").mkdir(parents=True)
    (folder / "app.py").write_text(functions.ECHO)
    (folder / "pkg/naïve.txt").write_text("x" * 50_000)
    (folder / "pkg/zero").write_bytes(b"")
    (folder / "link").symlink_to("pkg/naïve.txt")
    zips = [*made_by_python(folder), *made_by_programs(folder)]
    name = functions.deploy(client, functions.ECHO, Runtime="python3.13")
    for zip_file in zips:
        client.update_function_code(FunctionName=name, ZipFile=zip_file, DryRun=True)
    client.delete_function(FunctionName=name)
    print(f"zips of {len(zips)} ways to write them pass")
