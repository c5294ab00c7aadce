"""Which process sent a packet: the kernel's socket tables of this namespace, then who holds that socket.

It must be quick, as some send one datagram and end. The processes of the site are looked at first, the newest of them
before others; all of the machine only if none of those holds it (a shell that joined the namespace, a container's).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from environments.network.netlink import tcp_inode
from environments.network.sockets import address, children, processes

COMMAND_LIMIT = 120  # characters of a command line that are kept
_SEARCH_S = 0.1  # of CPU time: a machine with very many processes is not searched for longer, a busy one is
_TABLES = {6: ("tcp", "tcp6"), 17: ("udp", "udp6", "udplite", "udplite6"), 1: ("icmp",), 58: ("icmp6",)}


class Finder:
    def __init__(self) -> None:
        self._last: dict[str, str] = {}  # socket inode -> /proc/PID/fd/N, of those found before

    def find(self, asked: dict[str, Any]) -> dict[str, Any]:
        """{"pid", "command"} of the sender; empty if it is gone, or hidden from us. `asked`: see owners.question."""
        for inode in _inodes(asked):
            pid = self._known(inode) or self._search(inode)
            if pid is not None:
                return {"pid": pid, "command": command_of(pid)}
        return {}

    def _known(self, inode: str) -> int | None:
        path = self._last.get(inode)
        return _pid(path) if path and _target(path) == f"socket:[{inode}]" else None

    def _search(self, inode: str) -> int | None:
        wanted, until = f"socket:[{inode}]", time.thread_time() + _SEARCH_S
        for pid in _candidates():
            for path in _descriptors(pid):
                if _target(path) == wanted:
                    if len(self._last) >= 1024:
                        self._last.clear()
                    self._last[inode] = path
                    return pid
            if time.thread_time() > until:
                return None
        return None


def command_of(pid: int) -> str:
    """Its command line, shortened; its name where it has none."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        line = line or Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
    return line if len(line) <= COMMAND_LIMIT else line[: COMMAND_LIMIT - 1] + "…"


def _inodes(asked: dict[str, Any]) -> list[str]:
    """Sockets that may have sent it, the likeliest first."""
    found: list[str] = []
    protocol = asked["protocol"]
    if protocol == socket.IPPROTO_TCP:
        with contextlib.suppress(OSError):  # a kernel without sock_diag: its tables, then
            connection = tcp_inode(asked["source"], asked["source_port"], asked["destination"], asked["port"])
            return [str(connection)] if connection else []
    for table in _TABLES.get(protocol, ()):
        for local, remote, inode in _rows(table):
            if _port(local) != asked["source_port"] or inode == "0":
                continue
            connected = _port(remote) == asked["port"] and _address(remote) == asked["destination"]
            if connected or protocol != 6:
                found.insert(0 if connected else len(found), inode)
    for table in ("raw", "raw6"):  # here the port is the protocol; a raw socket sends ports of its own making too
        found += [inode for local, _, inode in _rows(table) if _port(local) in (protocol, 255)]
    return found


def _rows(table: str) -> Iterator[tuple[str, str, str]]:
    try:
        text = Path("/proc/self/net", table).read_text()
    except OSError:
        return
    for line in text.splitlines()[1:]:
        fields = line.split()
        yield fields[1], fields[2], fields[9]


def _port(end: str) -> int:
    return int(end.rpartition(":")[2], 16)


def _address(end: str) -> str:
    return address(end.partition(":")[0]).removeprefix("::ffff:")  # IPv4 out of a socket of IPv6


def _candidates() -> Iterator[int]:
    mine = os.getpid()
    site = sorted(_descendants(mine), reverse=True)
    yield from site
    yield mine
    seen, network = {mine, *site}, _target("/proc/self/ns/net")
    for pid in sorted(processes(), reverse=True):
        if pid not in seen and _target(f"/proc/{pid}/ns/net") == network:
            yield pid


def _descendants(pid: int) -> list[int]:
    found, left = [], [pid]
    while left:
        new = children(left.pop())
        found += new
        left += new
    return found


def _descriptors(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208
    except OSError:
        return
    for name in reversed(names):  # the newest last
        yield f"/proc/{pid}/fd/{name}"


def _target(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return ""


def _pid(path: str) -> int:
    return int(path.split("/")[2])
