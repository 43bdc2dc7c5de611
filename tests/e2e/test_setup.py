"""What `make setup` plans on machines that have parts of Docker already. Real packages in a root file system of its own; nothing is downloaded."""
import os
import pathlib
import shutil
import subprocess

import pytest

REPO = pathlib.Path(__file__).parents[2]
# What the plan is made of.
PARTS = ["Makefile", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "scripts", "tests/requirements.txt"]
# As Docker's own package says of itself.
CONTAINERD_IO = """\
Package: containerd.io
Version: 1.7.27-1
Architecture: all
Maintainer: nobody <nobody@example.com>
Provides: containerd, runc
Conflicts: containerd, runc
Replaces: containerd, runc
Description: stand-in
"""
# Packages that would bring, replace or conflict with a Docker.
DOCKERS = {"docker.io", "docker-ce", "docker-ce-cli", "docker-cli", "containerd", "containerd.io", "runc", "moby-engine", "podman", "podman-docker"}


@pytest.fixture
def machine(tmp_path):
    """A Debian with this checkout and a program that stands for cargo, and neither Docker nor any part of it."""
    cache = pathlib.Path(os.environ.get("WARREN_CACHE", pathlib.Path.home() / ".cache/warren"))
    # That of the languages' trees, which an earlier suite builds.
    bases = sorted((cache / "bases").glob("*.tar"))
    if not bases:
        pytest.skip(f"SKIPPED: no base of the languages' trees in {cache}; the suites that deploy build one")
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["tar", "--extract", "--file", bases[0], "--directory", root, "--exclude=./dev/*"], check=True)
    for part in PARTS:
        target = root / "warren" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        source = REPO / part
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    shutil.copy(shutil.which("make"), root / "usr/bin/make")
    program(root / "usr/bin/cargo")
    return root


def program(path):
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)


def inside(root, *command):
    """Runs in the root file system, without network and with /proc and /dev, which are gone afterwards."""
    script = 'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && exec chroot "$@"'
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}
    return subprocess.run(
        ["unshare", "--mount", "--net", "--", "sh", "-euc", script, "sh", root, *command],
        env=environment, capture_output=True, text=True, timeout=60,
    )


def install(root, control, *programs):
    """Installs a package of that description and those programs, with dpkg."""
    folder = root / "stub"
    (folder / "DEBIAN").mkdir(parents=True)
    (folder / "DEBIAN/control").write_text(control)
    (folder / "usr/bin").mkdir(parents=True)
    for name in programs:
        program(folder / "usr/bin" / name)
    for command in (["dpkg-deb", "--root-owner-group", "--build", "/stub", "/stub.deb"], ["dpkg", "--install", "/stub.deb"]):
        done = inside(root, *command)
        assert done.returncode == 0, done.stderr


def plan(root):
    """What `make setup DRY=1` says, and the packages that it would install. Nothing has changed."""
    packages = ["dpkg-query", "--show"]
    before = inside(root, *packages).stdout
    done = inside(root, "make", "--directory", "/warren", "setup", "DRY=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert before and inside(root, *packages).stdout == before
    wanted = set()
    for line in done.stdout.splitlines():
        if line.startswith("  - install "):
            wanted = set(line.removeprefix("  - install ").split(" (")[0].split())
    assert "python3" in wanted, done.stdout
    return done.stdout, wanted


def test_a_machine_without_docker_gets_debians(machine):
    _, wanted = plan(machine)
    assert wanted & DOCKERS == {"docker.io"}


def test_docker_s_own_containerd_is_let_alone(machine):
    """docker.io would remove containerd.io: setup leaves the choice to the owner, and says which there is."""
    install(machine, CONTAINERD_IO, "containerd", "runc", "ctr")
    said, wanted = plan(machine)
    assert wanted & DOCKERS == set()
    assert "remove" not in said
    assert "docker-ce" in said, "what to do is said"


def test_podman_is_let_alone(machine):
    install(machine, "Package: podman\nVersion: 4\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: stand-in\n", "podman")
    said, wanted = plan(machine)
    assert wanted & DOCKERS == set()
    assert "podman.socket" in said


def test_a_client_is_no_daemon(machine):
    program(machine / "usr/bin/docker")
    (machine / "usr/bin/docker").write_text('#!/bin/sh\necho "Cannot connect to the Docker daemon" >&2\nexit 1\n')
    _, wanted = plan(machine)
    assert wanted & DOCKERS == {"docker.io"}
