"""Machines that are not like ours: other file systems, no room, no loop devices, daemons that see other files, clocks that jump."""

import datetime
import json
import os
import pathlib
import shutil
import subprocess
import time
import urllib.request

import botocore.exceptions
import pytest

import functions
import host_view
from server import BINARY, Warren


def mounted(kind, source, point, options=""):
    point.mkdir()
    extra = ["--options", options] if options else []
    subprocess.run(["mount", "--types", kind, *extra, source, point], check=True)
    return point


@pytest.fixture
def elsewhere(tmp_path):
    """Makes file systems, which are gone after the test."""
    points = []

    def make(kind, megabytes, options=""):
        point = tmp_path / f"fs{len(points)}"
        if kind == "tmpfs":
            mounted(kind, "none", point, ",".join(filter(None, [f"size={megabytes}m", options])))
        else:
            image = tmp_path / f"image{len(points)}"
            with image.open("wb") as file:
                file.truncate(megabytes << 20)
            subprocess.run([f"mkfs.{kind}", "-q", image], check=True)
            mounted(kind, image, point, ",".join(filter(None, ["loop", options])))
        points.append(point)
        return point

    yield make
    for point in points:
        subprocess.run(["umount", point], check=True)


def call(client, name, event):
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.loads(answer["Payload"].read())


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_data_on_a_file_system_of_its_own(elsewhere, kind):
    """Another one than that of the language trees, of /tmp and of the daemon's images; also after `kill -9`."""
    server = Warren(elsewhere(kind, 300) / "data")
    server.start()
    try:
        name = functions.deploy(server.client(), functions.ECHO)
        assert call(server.client(), name, {"a": 1})["event"] == {"a": 1}
        server.process.kill()
        server.process.wait()
        server.start()
        assert call(server.client(), name, {"a": 2})["event"] == {"a": 2}
    finally:
        server.stop()
    assert host_view.leftovers(server) == {}


def fill(folder):
    """Leaves no byte of room; gives the file that took it."""
    path = folder / "full"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return path


def files(folder):
    """What is kept of code, whole or not."""
    return sorted(str(path) for part in ("blobs", "code") for path in (folder / part).rglob("*") if path.is_file())


def test_a_full_disk_costs_changes_and_no_warm_call(elsewhere):
    place = elsewhere("ext4", 300)
    server = Warren(place / "data")
    server.start()
    try:
        client = server.client()
        name = functions.deploy(client, functions.ECHO)
        assert call(client, name, {"n": 0})["event"] == {"n": 0}
        before = files(server.folder)
        full = fill(place)
        # A request whose code can't be kept is refused, and nothing of it stays.
        code = functions.zip_of(functions.ECHO + "# other\n")
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            client.create_function(
                FunctionName="too-much", Runtime=functions.RUNTIME, Role=functions.ROLE, Handler="app.handler",
                Code={"ZipFile": code},
            )
        error = refused.value.response
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 503, error
        assert "no space left" in error["Error"]["Message"].lower(), error
        assert "retry-after" in error["ResponseMetadata"]["HTTPHeaders"], error
        # A change of the database alone may find room; if not, it is the same refusal.
        arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
        try:
            client.tag_resource(Resource=arn, Tags={"tag": "x" * 200})
        except botocore.exceptions.ClientError as refusal:
            error = refusal.response
            assert error["ResponseMetadata"]["HTTPStatusCode"] == 503, error
            assert "retry-after" in error["ResponseMetadata"]["HTTPHeaders"], error
        for number in range(50):
            assert call(client, name, {"n": number})["event"] == {"n": number}
        assert files(server.folder) == before
        server.stop()
        assert host_view.leftovers(server) == {}
        full.unlink()
        client = server.start().client()
        again = functions.deploy(client, functions.ECHO + "# other\n")
        assert call(client, again, {})["event"] == {}
        assert call(client, name, {"n": 1})["event"] == {"n": 1}
    finally:
        server.stop()
    assert host_view.leftovers(server) == {}


def state_reason(client, name):
    for _ in range(600):
        found = client.get_function_configuration(FunctionName=name)
        if found["State"] != "Pending":
            return found["State"], found.get("StateReason", "")
        time.sleep(0.1)
    raise AssertionError("still pending")


def doctor(server, through=()):
    """What `warren doctor` says of each part: its verdict, what was found, and the next step."""
    done = subprocess.run(
        [*through, BINARY, "doctor", "--json", "--server", server.url, "--data-dir", server.folder],
        capture_output=True, text=True, timeout=60,
    )
    report = json.loads(done.stdout)
    return {check["part"]: check for check in report["server"] + report["this_machine"]}


def create(client):
    name = functions.fresh_name()
    client.create_function(
        FunctionName=name, Runtime=functions.RUNTIME, Role=functions.ROLE, Handler="app.handler",
        Code={"ZipFile": functions.zip_of(functions.ECHO)},
    )
    return name


def test_a_daemon_of_another_machine_is_refused_by_name(tmp_path):
    """Another host name is what Warren sees of one: Warren is the one that is moved here."""
    through = ["unshare", "--uts", "--", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    server = Warren(tmp_path / "data", through=through)
    server.start()
    try:
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            create(server.client())
        assert "another machine" in refused.value.response["Error"]["Message"]
        said = doctor(server, through)
        for part in ("docker daemon", "engine docker"):
            assert said[part]["verdict"] == "missing"
            assert "`elsewhere`" in said[part]["found"] and "DOCKER_HOST" in said[part]["next_step"]
        assert doctor(server)["docker daemon"]["verdict"] == "ok"
    finally:
        server.stop()


# A /dev with what programs need, and no loop devices.
BARE_DEV = """
folder=$(mktemp -d "$1/XXXX"); shift
for name in null zero full random urandom tty; do cp --archive "/dev/$name" "$folder/"; done
mount --bind "$folder" /dev
exec "$@"
"""


def test_without_loop_devices_it_is_said(tmp_path):
    dev = tmp_path / "dev"
    dev.mkdir()
    through = ["unshare", "--mount", "--", "sh", "-euc", BARE_DEV, "sh", str(dev)]
    server = Warren(tmp_path / "data", through=through)
    server.start()
    try:
        state, reason = state_reason(server.client(), create(server.client()))
        assert state == "Failed" and "loop" in reason, reason
        # Seen from other mounts, it runs still.
        router = doctor(server).get(f"router of {host_view.folder_id(server)}")
        assert router is None or router["verdict"] == "ok", router
        said = doctor(server, through)["loop devices"]
        assert said["verdict"] == "missing" and "modprobe loop" in said["next_step"]
        assert doctor(server)["loop devices"]["verdict"] == "ok"
    finally:
        server.stop()


def test_a_data_folder_that_may_not_hold_programs_is_refused(elsewhere):
    folder = elsewhere("tmpfs", 100, "noexec") / "data"
    done = subprocess.run(
        [BINARY, "serve", "--data-dir", folder, "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "noexec" in done.stderr and "--data-dir" in done.stderr, done.stderr


def library():
    """libfaketime: what programs read as the time of day comes from a file, at each look."""
    found = sorted(pathlib.Path("/usr/lib").rglob("libfaketimeMT.so.1"))
    if not found:
        pytest.skip("SKIPPED: libfaketime is not installed")
    return str(found[0])


def test_a_clock_that_jumps(tmp_path):
    """An hour back, then a day ahead, while calls run: no call ends early, hangs or is lost, and the signature's window moves along."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    server = Warren(
        tmp_path / "data",
        LD_PRELOAD=library(),
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        # As a real clock: the monotonic one does not jump.
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    server.start()
    try:
        name = functions.deploy(server.client(), functions.ACTOR, Timeout=5)
        url = server.routes_url
        key = server.client().get_function_configuration(FunctionName=name)["LastModified"]
        assert key.startswith(datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"))
        process = server_call(server, name, {"sleep": 2})
        time.sleep(0.5)
        offset.write_text("-3600")
        status, output = finish(process)
        assert status == 0 and "pid" in output, output
        process = server_call(server, name, {"sleep": 2})
        time.sleep(0.5)
        offset.write_text("+86400")
        status, output = finish(process)
        assert status == 0 and "pid" in output, output
        # A timeout is five seconds, whatever the clock says meanwhile.
        begin = time.monotonic()
        process = server_call(server, name, {"sleep": 30})
        time.sleep(0.5)
        offset.write_text("-86400")
        _, output = finish(process)
        assert "timed out" in output, output
        assert 4.5 < time.monotonic() - begin < 25, url
        # A caller whose clock is right finds the server's wrong, and is told so.
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            server.client().list_functions()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        offset.write_text("+0")
        assert "pid" in call(server.client(), name, {})
    finally:
        server.stop()
    assert host_view.leftovers(server) == {}


def server_call(server, name, event):
    """A call by the command line, which does not sign by the clock."""
    return subprocess.Popen(
        [BINARY, "invoke", name, "--data", json.dumps(event), "--server", server.url, "--data-dir", server.folder],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=60)
    return process.returncode, output
