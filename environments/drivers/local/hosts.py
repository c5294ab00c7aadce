"""Where services run: the namespaces of a Network, or this host's loopback where namespaces are refused."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import psutil


class SiteHost(Protocol):
    """One site, as the driver uses it."""

    def spawn(
        self,
        argv: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log_path: Path | None = None,
        *,
        uid: int | None = None,
        gid: int | None = None,
        stdin: int | None = None,
    ) -> int: ...
    def poll(self, pid: int) -> int | None:
        """Exit status of a child (negative: the signal), None while it runs."""
        ...

    def signal(self, pid: int, number: int) -> bool: ...
    def socket(self, family: int, kind: int) -> socket.socket: ...
    def listeners(self) -> Sequence[tuple[str, str, int, int | None]]:
        """(protocol, address, port, pid) of every socket that listens; pid: the spawned process it is of, if any."""
        ...


class LoopbackSite:
    """A site without a namespace: processes of this host, on loopback, each with a port of its own.

    connect: makes the sockets that other sites' services are reached with."""

    def __init__(self, run_id: str, connect: Callable[[int, int], socket.socket] = socket.socket) -> None:
        self._run_id, self._connect = run_id, connect
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        # the parent-death signal follows the thread that forked: one that lives as long as the site
        self._spawner = ThreadPoolExecutor(1)

    def spawn(
        self,
        argv: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log_path: Path | None = None,
        *,
        uid: int | None = None,
        gid: int | None = None,
        stdin: int | None = None,
    ) -> int:
        child = self._spawner.submit(self._popen, argv, env or {}, cwd, log_path, uid, gid, stdin).result()
        self._children[child.pid] = child
        return child.pid

    def _popen(
        self,
        argv: Sequence[str | Path],
        env: Mapping[str, str],
        cwd: Path | None,
        log_path: Path | None,
        uid: int | None,
        gid: int | None,
        stdin: int | None,
    ) -> subprocess.Popen[bytes]:
        with (log_path or Path(os.devnull)).open("ab") as log:
            return subprocess.Popen(
                list(argv),
                env={**env, "CONFORM_RUN_ID": self._run_id},
                cwd=cwd,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
                preexec_fn=die_with_parent,
            )

    def poll(self, pid: int) -> int | None:
        return self._children[pid].poll()

    def signal(self, pid: int, number: int) -> bool:
        if self.poll(pid) is not None:
            return False
        os.kill(pid, number)
        return True

    def socket(self, family: int, kind: int) -> socket.socket:
        return self._connect(family, kind)

    def listeners(self) -> Sequence[tuple[str, str, int, int | None]]:
        found: list[tuple[str, str, int, int | None]] = []
        for pid in self._children:
            try:
                connections = psutil.Process(pid).net_connections(kind="inet")
            except psutil.NoSuchProcess:
                continue
            for each in connections:
                stream = each.type == socket.SOCK_STREAM
                if each.status == psutil.CONN_LISTEN or (not stream and not each.raddr):
                    protocol = ("tcp" if stream else "udp") + ("6" if each.family == socket.AF_INET6 else "")
                    found.append((protocol, each.laddr[0], each.laddr[1], pid))
        return found

    def close(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                signal_family(child.pid, signal.SIGKILL)  # paused children of its own would outlive it
                child.wait(5)
        self._spawner.shutdown()


def family(pid: int) -> list[int]:
    """A process and all that came of it, parents first. Not its group: PostgreSQL's backends lead their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


def signal_family(pid: int, number: int) -> None:
    """Parents first, and again until nobody is new: a parent that is stopped or dead makes no more children."""
    reached: set[int] = set()
    while new := [each for each in family(pid) if each not in reached]:
        for each in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)
        reached.update(new)


def die_with_parent() -> None:
    """In a child before exec: SIGKILL when the parent is gone, so that kill -9 of the suite leaves nothing."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


ZONE = "EST5EDT,M3.2.0,M11.1.0"  # of services: not UTC, so that local-time mistakes show


def service_environment(sealed: bool, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of a service: nothing of the caller's but the path."""
    root = str(Path(__file__).resolve().parents[3])
    env = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "PYTHONPATH": root,
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "TZ": ZONE,
    }
    if sys.dont_write_bytecode:  # as the caller wants it; what services import is compiled at each start then
        env["PYTHONDONTWRITEBYTECODE"] = "1"
    if sealed:
        env["CONFORM_SEALED"] = "1"  # defects that reach out do so only here
    env.update(extra or {})
    return env


def missing(what: str, remedy: str) -> Any:
    """A stand-in whose every use says that the environment cannot do this."""
    from environments.contract import untestable

    class Missing:
        def __getattr__(self, name: str) -> Any:
            untestable(f"{what}. {remedy}")

    return Missing()
