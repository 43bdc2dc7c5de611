"""A Docker daemon of a test's own, beside the host's: other folders, other socket, other network, and it may be killed."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from host_view import docker

START_S = 60
NEEDED = ("dockerd", "containerd", "unshare")


def missing():
    """What this machine lacks for one; nothing if it can be started."""
    lacking = [program for program in NEEDED if shutil.which(program) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    return None if os.geteuid() == 0 else "not root"


def lives(stat):
    """Whether the process of a `/proc/PID/stat` is there, and more than a zombie."""
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class DockerDaemon:
    """Runs in a network namespace of its own, and sees what is mounted on the host later without the host seeing its mounts."""

    def __init__(self):
        # A path that leaves room for the names of containerd's sockets.
        self.folder = folder = pathlib.Path(tempfile.mkdtemp(prefix="warren-docker-"))
        # What is mounted below this is seen by the daemon, whether or not this machine's root passes mounts on.
        self.shared = folder / "shared"
        self.shared.mkdir()
        subprocess.run(["mount", "--bind", self.shared, self.shared], check=True)
        subprocess.run(["mount", "--make-shared", self.shared], check=True)
        self.endpoint = f"unix://{folder}/docker.sock"
        self.log_path = folder / "log"
        self.process = None

    def start(self):
        arguments = ["unshare", "--net", "--mount", "--propagation", "slave", "dockerd"]
        arguments += [f"--host={self.endpoint}", f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec"]
        arguments += [f"--pidfile={self.folder}/pid", "--bridge=none", "--iptables=false", "--ip6tables=false"]
        # Where the host has a containerd of its own, its containers are in another namespace of that.
        arguments += ["--containerd-namespace=warren-test", "--containerd-plugins-namespace=warren-test-plugins"]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            try:
                return docker("/version", endpoint=self.endpoint)["Version"]
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log_tail()
                time.sleep(0.1)

    def kill(self):
        """As a crash would. Its containerd dies with it."""
        pid_file = self.folder / "exec/containerd/containerd.pid"
        containerd = pathlib.Path(f"/proc/{pid_file.read_text()}/stat") if pid_file.exists() else None
        self._end(signal.SIGKILL)
        if containerd is not None:
            deadline = time.monotonic() + START_S
            while lives(containerd):
                assert time.monotonic() < deadline, self.log_tail()
                time.sleep(0.05)
            # Where nobody reaps it, the next daemon would take it for one that runs.
            pid_file.unlink(missing_ok=True)

    def stop(self):
        """Ends it and removes all that it has: every container that it still runs, its images, its folder."""
        if self.process is None or self.process.poll() is not None:
            # Its containers outlived it.
            self.start()
        for container in docker("/containers/json", endpoint=self.endpoint, all=1):
            docker(f"/containers/{container['Id']}", "DELETE", endpoint=self.endpoint, force=1)
        self._end(signal.SIGTERM)
        subprocess.run(["umount", self.shared], check=True)
        shutil.rmtree(self.folder)

    def _end(self, how):
        # `unshare` became the daemon.
        self.process.send_signal(how)
        self.process.wait(60)

    def log_tail(self):
        return self.log_path.read_text(errors="replace")[-4000:]
