"""What the figures were measured on: kind of machine and versions, nothing that names it."""

import os
import platform
import re
import subprocess
from pathlib import Path

import servers


def output(*command, cwd=None):
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd, check=False)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip()


def cpu_model():
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def memory_gib():
    kilobytes = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    return round(kilobytes / 2**20)


def virtual():
    return "virtual machine" if re.search(r"^flags.*\bhypervisor\b", Path("/proc/cpuinfo").read_text(), re.M) else "bare metal, as far as it says"


def git_revision():
    revision = output("git", "-c", f"safe.directory={servers.REPO}", "rev-parse", "--short=12", "HEAD", cwd=servers.REPO)
    changed = output("git", "-c", f"safe.directory={servers.REPO}", "status", "--porcelain", "--", "crates", "runtimes", "Cargo.lock", cwd=servers.REPO)
    return f"{revision} with uncommitted changes" if changed else revision


def describe(binary):
    docker = servers.docker("/version")
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": memory_gib(),
        "kind": virtual(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "warren": output(binary, "--version"),
        "revision": git_revision(),
        "docker": docker.get("Version", "?"),
        "node": output(servers.node(), "--version"),
        "functions_framework": package_version("@google-cloud/functions-framework"),
        "workerd": package_version("workerd"),
        "sdk": package_version("@aws-sdk/client-lambda"),
        "wrk": (output("wrk", "--version").splitlines() or ["?"])[0].split(" Copyright")[0],
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def package_version(name):
    text = (servers.MODULES / name / "package.json").read_text()
    return re.search(r'"version":\s*"([^"]+)"', text)[1]


def host_kind(machine):
    """For the name of the result file."""
    return f"{machine['architecture']}-{machine['cores']}cpu"
