"""What a server has on its host, seen from outside: containers, mounts, loop devices, files, log lines."""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tomllib
import urllib.parse


class Daemon(http.client.HTTPConnection):
    """A connection to the Docker daemon, local or not."""

    def __init__(self, endpoint=None):
        """The one of `DOCKER_HOST` unless another is named."""
        endpoint = endpoint or os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        self.endpoint = urllib.parse.urlsplit(endpoint)
        super().__init__(self.endpoint.hostname or "docker", self.endpoint.port or 2375, timeout=60)

    def connect(self):
        if self.endpoint.scheme != "unix":
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.endpoint.path)


def docker(path, method="GET", body=None, endpoint=None, **query):
    """Asks a daemon; gives what it answers."""
    connection = Daemon(endpoint)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path + "?" + urllib.parse.urlencode(query), json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in (200, 201, 204), text
        return json.loads(text) if text else None
    finally:
        connection.close()


def server_id(server):
    """The id of the server whose database's code is in a folder; None before its first start."""
    bound = server.folder / "server"
    if not bound.exists():
        return None
    return tomllib.loads(bound.read_text())["server"]


def folder_id(server):
    """The id that a server labels its containers with: no copy of its folder has it. None before its first start."""
    if server_id(server) is None:
        return None
    made = subprocess.run(["stat", "--format", "%W", server.folder], check=True, capture_output=True, text=True).stdout
    text = f"{server_id(server)}\n{server.folder.stat().st_ino}\n{made.strip().replace('-', '0')}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def containers(server, function=None):
    """Containers of a server, of one function if it is named, without those that are nobody's yet; whatever their state."""
    labels = [f"warren.server={folder_id(server)}"]
    endpoint = server.settings.get("DOCKER_HOST")
    found = docker("/containers/json", endpoint=endpoint, all=1, filters=json.dumps({"label": labels}))
    return [container for container in found if _is_of(server, container["Labels"]["warren.instance"], function)]


def _is_of(server, instance, function):
    """Whether an instance is a function's, or somebody's if none is named. One without a folder is nobody's any more, and should not be there."""
    folder = server.folder / "run" / instance
    if function is None:
        return not folder.exists() or (folder / "function").exists()
    return _text(folder / "function") == function


def stems(server):
    """Instances that were started ahead and are nobody's yet."""
    return [folder.name for folder in server.folder.glob("run/*") if not _is_of(server, folder.name, None)]


def instance_folders(server, function):
    """Folders of a function's instances; the last that goes when one is removed."""
    return [folder.name for folder in server.folder.glob("run/*") if _is_of(server, folder.name, function)]


def agent_pid(sandbox):
    """PID 1 of a sandbox as the host numbers it."""
    if "Id" in sandbox:
        return docker(f"/containers/{sandbox['Id']}/json")["State"]["Pid"]
    return sandbox["pid"]


def sandboxes(server, function=None):
    """Instances of a server, of one function if it is named, whatever their engine: Docker's containers, and groups of processes with a bundle."""
    found = containers(server, function)
    for group in groups(server):
        # It may not have a process yet, or none any more.
        with contextlib.suppress(OSError, ValueError):
            if _is_of(server, group, function):
                found.append({"instance": group, "pid": int((server.folder / "run" / group / "pid").read_text())})
    return found


def identity(sandbox):
    """What no other sandbox has."""
    return sandbox.get("Id") or sandbox["instance"]


def freeze_whole(sandbox):
    """Stops all processes of a sandbox, by the engine's own means or those of the kernel."""
    if "Id" in sandbox:
        docker(f"/containers/{sandbox['Id']}/pause", "POST")
        return
    lines = pathlib.Path(f"/proc/{agent_pid(sandbox)}/cgroup").read_text().splitlines()
    paths = {controllers: path for _number, controllers, path in (line.split(":", 2) for line in lines)}
    if "freezer" in paths:
        pathlib.Path(f"/sys/fs/cgroup/freezer{paths['freezer']}/freezer.state").write_text("FROZEN")
    else:
        pathlib.Path(f"/sys/fs/cgroup{paths['']}/cgroup.freeze").write_text("1")


def groups(server):
    """Names of the cgroups that a server made for instances, in any hierarchy."""
    pattern = f"warren/{folder_id(server)}-*/*/"
    return sorted({path.name for root in ("", "*/") for path in pathlib.Path("/sys/fs/cgroup").glob(root + pattern)})


def group_of(pid):
    """The processes in the cgroup of a process, as the host numbers them."""
    lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    paths = {controllers: path for _number, controllers, path in (line.split(":", 2) for line in lines)}
    file = f"memory{paths['memory']}" if "memory" in paths else paths[""].lstrip("/")
    return [int(line) for line in pathlib.Path(f"/sys/fs/cgroup/{file}/cgroup.procs").read_text().split()]


def process_of(sandbox, name):
    """The process of a sandbox that calls itself so."""
    found = [pid for pid in group_of(agent_pid(sandbox)) if _text(pathlib.Path(f"/proc/{pid}/cmdline")).split("\0")[0] == name]
    assert len(found) == 1, (name, found)
    return found[0]


def process_status(pid):
    """Fields of `/proc/PID/status`."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def mounts(server):
    """Mount points below a server's data folder, but the one place for all instances."""
    return [point for point in _mounts(f"{server.folder}/") if point != f"{server.folder}/run"]


def trees(server):
    """Language trees that a server has mounted for its instances."""
    return _mounts(f"/run/warren/trees/{folder_id(server)}-")


def _mounts(prefix):
    points = [line.split(" ")[4] for line in _mount_lines()]
    return [point for point in points if point.startswith(prefix)]


def _mount_lines():
    return pathlib.Path("/proc/self/mountinfo").read_text().splitlines()


def loop_devices(server):
    """Loop devices on files of a server."""
    backing = {file.parts[3]: _text(file) for file in pathlib.Path("/sys/block").glob("loop*/loop/backing_file")}
    return {device: file for device, file in backing.items() if file.startswith(f"{server.folder}/")}


def _text(file):
    try:
        return file.read_text()
    except OSError:
        # The device was freed while its folder was listed.
        return ""


def sockets(server):
    """Sockets below a server's data folder."""
    lines = pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]
    return [path for line in lines for path in line.split()[7:] if path.startswith(f"{server.folder}/")]


def half_written(server):
    """Code and zips that are not whole."""
    return [str(path) for path in server.folder.glob("code/.unfinished-*")] + [
        str(path) for path in server.folder.glob("blobs/tmp/*")
    ]


def network_parts(server):
    """What a server has for its sandboxes' networks: namespaces, the host's table, uplinks."""
    folder = pathlib.Path("/run/warren") / str(folder_id(server))
    found = [str(folder)] if folder.exists() else []
    table = f"warren_{folder_id(server)}"
    if shutil.which("nft") and os.geteuid() == 0:
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        found += [line for line in tables.splitlines() if line.split()[-1:] == [table]]
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{folder}/net".encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(f"process {process.name}")
    return found


def sandbox_links(server):
    """Outer ends of sandboxes' links; none without a router."""
    namespace = pathlib.Path("/run/warren") / str(folder_id(server)) / "net"
    if not namespace.exists():
        return []
    listed = subprocess.run(["nsenter", f"--net={namespace}", "ip", "-o", "link"], capture_output=True, text=True)
    # A server that ends may have removed it meanwhile.
    return re.findall(r"^\d+: (s\d+)@", listed.stdout, re.MULTILINE)


def leftovers(server):
    """Everything of a server that is there although no instance should be. One that runs may have stems."""
    ended = server.process is None or server.process.poll() is not None
    ahead = [] if ended else stems(server)

    def others(names):
        return [name for name in names if not any(stem in name for stem in ahead)]

    disks = {line.split(" ")[-2] for line in _mount_lines() if any(stem in line for stem in ahead)}
    found = {
        "containers": [container["Names"] for container in containers(server)],
        "cgroups": others(groups(server)),
        "mounts": others(mounts(server)),
        "loop devices": [device for device in loop_devices(server) if f"/dev/{device}" not in disks],
        "sockets": others(sockets(server)),
        "instance folders": others([path.name for path in server.folder.glob("run/*")]),
        "half-written": half_written(server),
        # Each of those has one at most.
        "links": sandbox_links(server)[len(ahead) :],
        "code of runs": [path.name for path in server.folder.glob("run-code/*") if path.name != ".boot"],
        "place": _mounts(f"{server.folder}/run") if ended else [],
        # A server that runs has its network and its trees.
        "network": network_parts(server) if ended else [],
        "trees": trees(server) if ended else [],
    }
    return {what: left for what, left in found.items() if left}


def log_lines(server, function):
    """Lines of a function's log: the request that each belongs to, and its text."""
    return [(request, words) for _source, request, words in sourced_log_lines(server, function)]


def sourced_log_lines(server, function):
    """The same, with who wrote each: `P` (the platform), `O` or `E` (the function)."""
    text = b"".join(file.read_bytes() for file in sorted(server.folder.glob(f"logs/{function}/*.log")))
    # The last piece is empty, or a line that is being written.
    lines = [line.split("\t", 4) for line in text.decode(errors="replace").split("\n")[:-1]]
    return [(source, request, words) for _time, source, request, _stream, words in lines]
