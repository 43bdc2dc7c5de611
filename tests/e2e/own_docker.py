"""A Docker daemon of a test's own, in the network of the thread that starts it or in none: it shares nothing with the machine's, not even docker0, and it may
be killed."""

import io
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
import uuid

START_S = 120
# An image that is nothing but these links: what it runs comes from the machine's own /usr.
LINKS = {name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}


def missing(links=False):
    """What this machine lacks for it, and for `import_links` too if that is asked; none if nothing."""
    lacks = [name for name in ("dockerd", "docker", "setpriv", "unshare") if not shutil.which(name)]
    if links and not all(pathlib.Path("/" + link).is_symlink() for link in ("bin", "lib")):
        lacks.append("a merged /usr")
    return ", ".join(lacks + ([] if os.geteuid() == 0 else ["root"])) or None


def lives(stat):
    """Whether the process of a `/proc/PID/stat` is there, and more than a zombie."""
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class OwnDocker:
    """Started by `start`; `stop` or `kill`, and `start`, are a restart. Its mounts are its own, so that a killed one leaves none on the host."""

    def __init__(self, networks=True):
        """Without `networks`, its containers have none: it changes no firewall."""
        # The path of a socket has 107 bytes at most, so not the test's own folder.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="warren-docker-"))
        # What is mounted below this, such as a server's disks, is seen by the daemon, whether or not this machine's root passes mounts on.
        self.shared = self.folder / "shared"
        self.shared.mkdir()
        subprocess.run(["mount", "--bind", self.shared, self.shared], check=True)
        subprocess.run(["mount", "--make-shared", self.shared], check=True)
        self.networks = networks
        self.process = None
        self.cgroup = f"/warren-test-{uuid.uuid4().hex[:8]}"

    @property
    def endpoint(self):
        return f"unix://{self.folder}/socket"

    def start(self):
        # It ends when the tests do, however they end.
        command = ["setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "slave"]
        command += [] if self.networks else ["--net"]
        command += ["dockerd", "--host", self.endpoint, "--cgroup-parent", self.cgroup]
        command += [] if self.networks else ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        # Where the machine has a containerd for all, this daemon's containers are apart in it.
        for option in ("containerd-namespace", "containerd-plugins-namespace"):
            command += [f"--{option}", f"{self.cgroup.strip('/')}-{option.split('-')[1]}"]
        for option, name in {"data-root": "data", "exec-root": "run", "pidfile": "pid"}.items():
            command += [f"--{option}", str(self.folder / name)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while subprocess.run(self.command("info"), capture_output=True).returncode != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, self.log_tail()
            time.sleep(0.1)

    def stop(self):
        """Ends it, and its containers with it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(START_S)
            self.process = None

    def kill(self):
        """As a crash would. Its containerd dies with it, its containers live."""
        pid_file = self.folder / "run/containerd/containerd.pid"
        containerd = pathlib.Path(f"/proc/{pid_file.read_text()}/stat") if pid_file.exists() else None
        # `setpriv` and `unshare` became the daemon.
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(START_S)
        if containerd is not None:
            deadline = time.monotonic() + START_S
            while lives(containerd):
                assert time.monotonic() < deadline, self.log_tail()
                time.sleep(0.05)
            # Where nobody reaps it, the next daemon would take it for one that runs.
            pid_file.unlink(missing_ok=True)

    def command(self, *words):
        return ["docker", "--host", self.endpoint, *map(str, words)]

    def run(self, *words, stdin=None):
        done = subprocess.run(self.command(*words), input=stdin, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def import_links(self, name):
        """Makes the image whose programs are the machine's."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for link, target in LINKS.items():
                entry = tarfile.TarInfo(link)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                archive.addfile(entry)
        self.run("import", "-", name, stdin=buffer.getvalue())

    def log_tail(self):
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def remove(self):
        """Ends it and removes all that it has."""
        if self.process is not None:
            if self.process.poll() is not None:
                # Its containers outlived it.
                self.start()
            for container in self.run("ps", "--all", "--quiet").split():
                self.run("rm", "--force", container)
        self.stop()
        subprocess.run(["umount", self.shared], check=True)
        shutil.rmtree(self.folder)
        for found in pathlib.Path("/sys/fs/cgroup").glob("*" + self.cgroup):
            found.rmdir()
