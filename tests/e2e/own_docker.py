"""A Docker daemon of a test's own, in the network of the thread that starts it: it shares nothing with the machine's, not even docker0."""

import io
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import time
import uuid

START_S = 120
# An image that is nothing but these links: what it runs comes from the machine's own /usr.
LINKS = {name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}


def missing():
    """What this machine lacks for it; none if nothing."""
    lacks = [name for name in ("dockerd", "docker") if not shutil.which(name)]
    merged = all(pathlib.Path("/" + link).is_symlink() for link in ("bin", "lib"))
    return ", ".join(lacks + ([] if merged else ["a merged /usr"])) or None


class OwnDocker:
    """Started by `start`; `stop` and `start` are a restart."""

    def __init__(self):
        # The path of a socket has 107 bytes at most, so not the test's own folder.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="warren-docker-"))
        self.process = None
        self.cgroup = f"/warren-test-{uuid.uuid4().hex[:8]}"

    @property
    def host(self):
        return f"unix://{self.folder}/socket"

    def start(self):
        # It ends when the tests do, however they end.
        command = ["setpriv", "--pdeathsig", "TERM", "dockerd", "--host", self.host]
        command += ["--cgroup-parent", self.cgroup]
        # Where the machine has a containerd for all, this daemon's containers are apart in it.
        for option in ("containerd-namespace", "containerd-plugins-namespace"):
            command += [f"--{option}", f"{self.cgroup.strip('/')}-{option.split('-')[1]}"]
        for option, name in {"data-root": "data", "exec-root": "run", "pidfile": "pid"}.items():
            command += [f"--{option}", str(self.folder / name)]
        # In this mount namespace: it must see the disks that a server mounts, and what it mounts is all below its own folder.
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

    def command(self, *words):
        return ["docker", "--host", self.host, *map(str, words)]

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
        if self.process is not None:
            for container in self.run("ps", "--all", "--quiet").split():
                self.run("rm", "--force", container)
        self.stop()
        shutil.rmtree(self.folder)
        for found in pathlib.Path("/sys/fs/cgroup").glob("*" + self.cgroup):
            found.rmdir()
