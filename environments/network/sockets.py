"""Who listens in this network namespace: /proc/net and /proc/*/fd, read from inside."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection
from pathlib import Path

_LISTEN, _UNCONNECTED = "0A", "07"
_LISTS_CHILDREN = Path("/proc/thread-self/children")  # not of a kernel without CONFIG_PROC_CHILDREN


def listeners(services: Collection[int]) -> list[tuple[str, str, int, int | None]]:
    """Listening TCP and unconnected UDP sockets: (protocol, address, port, pid).

    pid: of the service that the owner is or descends from; of the owner, if it descends from none; None if not found.
    """
    owners = _owners()
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        path = Path("/proc/self/net", table)
        if not path.exists():
            continue
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] != (_LISTEN if table.startswith("tcp") else _UNCONNECTED):
                continue
            where, _, port = fields[1].partition(":")
            pid = owners.get(fields[9])
            found.append((table, address(where), int(port, 16), _service(pid, services)))
    return found


def children(pid: int) -> list[int]:
    """Direct children of a process, of whichever of its threads; none if it has ended."""
    if not _LISTS_CHILDREN.exists():
        return [each for each in processes() if _parent(each) == pid]
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            found += [int(each) for each in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    except OSError:  # the process, or that thread, has ended
        return found
    return found


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def _owners() -> dict[str, int]:
    """Socket inode -> pid, of the processes in our network namespace."""
    mine = os.readlink("/proc/self/ns/net")  # noqa: PTH115
    owners: dict[str, int] = {}
    for pid in processes():
        try:
            if os.readlink(f"/proc/{pid}/ns/net") != mine:  # noqa: PTH115
                continue
            for fd in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
                target = os.readlink(f"/proc/{pid}/fd/{fd}")  # noqa: PTH115
                if target.startswith("socket:["):
                    owners.setdefault(target[8:-1], pid)
        except OSError:  # gone meanwhile, or not ours
            continue
    return owners


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _service(pid: int | None, services: Collection[int]) -> int | None:
    at = pid or 0
    while at > 1:
        if at in services:
            return at
        at = _parent(at)
    return pid


def address(text: str) -> str:
    """Address as /proc/net writes it: hexadecimal, each 32-bit word in the order of the machine."""
    words = bytes.fromhex(text)
    packed = b"".join(struct.pack("=I", word) for (word,) in struct.iter_unpack("!I", words))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
