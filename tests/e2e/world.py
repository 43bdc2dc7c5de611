"""A world of network namespaces that a test made: a host with a neighbour, a gateway, a metadata address and an internet, all of them stand-ins.

A server that is started inside has this world for its network; nothing leaves it.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import uuid

PORT = 8080
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

# On the host's own network; the second pair has public addresses.
HOST = ["192.168.77.2", "198.51.100.2", "fd77::2", "2001:db8:77::2"]
GATEWAY = ["192.168.77.1", "198.51.100.1", "fd77::1", "2001:db8:77::1"]
NEIGHBOUR = ["192.168.77.7", "198.51.100.7", "fd77::7", "2001:db8:77::7"]
METADATA = ["169.254.169.254", "fd00:ec2::254", "168.63.129.16"]
# Private addresses that only the gateway knows a way to.
PRIVATE = ["10.9.9.9", "172.20.0.9", "100.64.9.9", "fd99::9"]
INTERNET = ["203.0.113.9", "2001:db8:9::9"]
NAME_SERVER = "203.0.113.53"
# Two names that anybody may have, the second with private addresses; and some of the owner's own.
ZONE = {
    "db.example": ["203.0.113.9", "2001:db8:9::9"],
    "inside.example": ["10.9.9.9", "fd99::9"],
    "near.example": ["198.51.100.7", "2001:db8:77::7"],
    "db.internal": ["192.168.77.7", "fd77::7"],
    "metadata.internal": ["169.254.169.254", "fd00:ec2::254"],
    "self.internal": ["192.168.77.2", "fd77::2"],
}


def missing():
    """What this machine lacks for such a world; none if nothing."""
    programs = [name for name in ("ip", "nft", "pasta", "unshare", "setpriv") if not shutil.which(name)]
    return ", ".join(programs + ([] if os.path.exists("/dev/net/tun") else ["/dev/net/tun"])) or None


def run(*command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def inside(path):
    """Moves this thread into a network namespace; sockets, threads and programs that it makes are there too."""
    with open("/proc/thread-self/ns/net", "rb") as home, open(path, "rb") as there:
        _enter(there)
        try:
            yield
        finally:
            _enter(home)


def _enter(file):
    if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class World:
    """Two namespaces: the host's, and everything else."""

    def __init__(self):
        self.names = [f"wt-{uuid.uuid4().hex[:8]}-{part}" for part in ("host", "world")]
        self.host, self.rest = (pathlib.Path("/run/netns") / name for name in self.names)
        self.sockets = []

    def make(self):
        for name in self.names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        host, rest = self.names
        run("ip", "-n", host, "link", "add", "lan", "type", "veth", "peer", "name", "lan", "netns", rest)
        self.addresses(host, "lan", HOST, 24, 64)
        self.addresses(rest, "lan", GATEWAY, 24, 64)
        self.addresses(rest, "lan", NEIGHBOUR, 24, 64)
        self.addresses(rest, "lo", METADATA + PRIVATE + INTERNET + [NAME_SERVER], 32, 128)
        for name in self.names:
            run("ip", "-n", name, "link", "set", "lan", "up")
        run("ip", "-n", host, "route", "add", "default", "via", GATEWAY[0])
        run("ip", "-n", host, "-6", "route", "add", "default", "via", GATEWAY[2])
        with inside(self.rest):
            self.stand_in("world", GATEWAY + NEIGHBOUR + METADATA + PRIVATE + INTERNET)
            self.name_server()
        with inside(self.host):
            self.stand_in("host", HOST)
            # A new link finds its first neighbours late, and pasta of Debian 12 resets a connection that takes longer than the second after
            # which it is asked for again.
            for address in GATEWAY + NEIGHBOUR + INTERNET:
                socket.create_connection((address, PORT), timeout=30).close()

    @staticmethod
    def addresses(name, link, addresses, length4, length6):
        for address in addresses:
            suffix = [f"/{length6}", "nodad"] if ":" in address else [f"/{length4}"]
            run("ip", "-n", name, "address", "add", address + suffix[0], "dev", link, *suffix[1:])

    def stand_in(self, words, addresses):
        """Answers everybody on one port of these addresses, over TCP and UDP."""
        for address in addresses:
            self.answer_at(address, words)

    def answer_at(self, address, words):
        tcp = self.open(socket.SOCK_STREAM, address, PORT)
        tcp.listen(100)
        udp = self.open(socket.SOCK_DGRAM, address, PORT)

        def accept():
            while True:
                connection, _ = tcp.accept()
                with connection:
                    connection.sendall(words.encode())

        def answer():
            while True:
                _, asker = udp.recvfrom(100)
                if asker is not None:
                    udp.sendto(words.encode(), asker)

        self.serve(accept)
        self.serve(answer)

    def name_server(self):
        udp = self.open(socket.SOCK_DGRAM, NAME_SERVER, 53)

        def answer():
            while True:
                question, asker = udp.recvfrom(4096)
                if asker is not None:
                    udp.sendto(_dns_answer(question), asker)

        self.serve(answer)

    def open(self, kind, address, port):
        """A socket of one address, so that datagrams are answered from where they were sent to."""
        found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, port))
        self.sockets.append(found)
        return found

    @staticmethod
    def serve(work):
        def until_closed():
            with contextlib.suppress(OSError):
                work()

        threading.Thread(target=until_closed, daemon=True).start()

    def remove(self):
        for found in self.sockets:
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)
            found.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _dns_answer(question):
    """RFC 1035: the addresses of a name of the zone, none for others."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    name, kind = ".".join(labels).lower(), int.from_bytes(question[at + 1 : at + 3], "big")
    asked = question[12 : at + 5]
    family, length = {1: (socket.AF_INET, 4), 28: (socket.AF_INET6, 16)}.get(kind, (None, 0))
    found = [a for a in ZONE.get(name, []) if family and (":" in a) == (family == socket.AF_INET6)]
    records = b"".join(
        b"\xc0\x0c" + question[at + 1 : at + 5] + (5).to_bytes(4, "big") + length.to_bytes(2, "big") + socket.inet_pton(family, a)
        for a in found
    )
    code = 0 if name in ZONE else 3
    head = question[:2] + bytes([0x81, 0x80 | code, 0, 1, 0, len(found), 0, 0, 0, 0])
    return head + asked + records
