"""Disks of nodes: each node's data on a tmpfs of its own, that can be full, read-only or slow. Real errnos, no shims.

The disks are mounted before the sites are made, so that the mount namespaces of the sites see them; size and
read-only belong to the file system, so that a change is seen in all of them. After kill -9 of the suite a disk stays
mounted: `conform clean` unmounts it (unmount_under)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from environments.contract import SuiteError, untestable
from environments.drivers.local.hosts import SiteHost, family
from environments.drivers.local.node import LocalNode

SIZE_BYTES = 1 << 30  # a limit; memory is used for what is written
NOT_ASKED = "nodes keep their data on the host's own disk; a schedule that breaks disks gives each its own, as root"
_NOSUID, _NODEV, _RDONLY, _REMOUNT, _DETACH = 2, 4, 1, 32, 2
_FORCED = "fsync,fdatasync,sync_file_range,msync"  # how SQLite and PostgreSQL force a write to the disk
_libc = ctypes.CDLL(None, use_errno=True)


def mount(kind: bytes | None, target: Path, flags: int, options: str) -> None:
    """mount(2). OSError as of the call."""
    if _libc.mount(kind, os.fsencode(target), kind, ctypes.c_ulong(flags | _NOSUID | _NODEV), options.encode()) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))


def unmount(folder: Path) -> None:
    """Empty it, then unmount: a site that was made meanwhile holds the disk for as long as it lives, and its memory."""
    with contextlib.suppress(OSError):
        mount(None, folder, _REMOUNT, "")  # it may be read-only
    shutil.rmtree(folder, ignore_errors=True)
    _libc.umount2(os.fsencode(folder), _DETACH)


def unmount_under(folder: Path) -> None:
    for path in mounted_under(folder):
        unmount(path)


def mounted_under(folder: Path) -> list[Path]:
    """Disks of ours (tmpfs) that are mounted in `folder`."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    ours = [line for line in lines if line.partition(" - ")[2].startswith("tmpfs ")]
    points = [Path(line.split()[4].replace("\\040", " ").replace("\\134", "\\")) for line in ours]
    return [path for path in points if folder.resolve() in path.parents]


def make_disks(names: Iterable[str], workdir: Path) -> NodeDisks | NoDisks:
    """A disk for each node, mounted at <workdir>/<node>/disk; NoDisks with the reason where mounting is refused."""
    folders = {name: workdir / name / "disk" for name in names}
    try:
        for folder in folders.values():
            folder.parent.mkdir(mode=0o711, exist_ok=True)
            folder.mkdir(mode=0o711)
            mount(b"tmpfs", folder, 0, f"size={SIZE_BYTES},mode=711")
    except OSError as error:
        unmount_under(workdir)
        return NoDisks(f"mounting is refused ({error.strerror}). Run as root, in a container with SYS_ADMIN")
    return NodeDisks(folders)


class NodeDisks:
    """The contract's Disks."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._nodes: Mapping[str, LocalNode] = {}
        self._hosts: Mapping[str, SiteHost] = {}
        self._full: set[str] = set()
        self._read_only: dict[str, list[str]] = {}  # node -> services that ran on it
        self._slow: dict[str, int] = {}  # node -> the process that slows it

    def serve(self, nodes: Mapping[str, LocalNode], hosts: Mapping[str, SiteHost]) -> None:
        """Whose disks they are, and where their services run."""
        self._nodes, self._hosts = nodes, hosts

    def used_bytes(self, node: str) -> int:
        seen = os.statvfs(self._folders[node])
        return (seen.f_blocks - seen.f_bfree) * seen.f_frsize

    def full(self, node: str) -> None:
        deadline = time.monotonic() + 5
        while True:
            try:
                kept = _RDONLY if node in self._read_only else 0
                mount(None, self._folders[node], _REMOUNT | kept, f"size={self.used_bytes(node)}")
            except OSError as error:  # EINVAL: somebody wrote since we looked
                if error.errno != errno.EINVAL or time.monotonic() > deadline:
                    raise SuiteError(f"the disk of {node} cannot be made full: {error}") from error
            else:
                self._full.add(node)
                return

    def read_only(self, node: str) -> None:
        """A remount fails while files are open for writing (EBUSY), so the services are stopped for it."""
        if node in self._read_only:
            return
        it = self._nodes[node]
        ran = [service for service in it.services if it.alive(service)]
        for service in reversed(ran):
            it.stop(service)
        try:
            mount(None, self._folders[node], _REMOUNT | _RDONLY, "")
        except OSError as error:
            raise SuiteError(f"the disk of {node} cannot be made read-only: {error}") from error
        self._read_only[node] = ran
        for service in ran:
            it.start(service)
            it.excuse(service)

    def slow(self, node: str, delay_s: float) -> None:
        """The system calls that force a write are delayed in the services that run now, by strace (ptrace)."""
        tool = shutil.which("strace")
        if tool is None:
            untestable("disk-faults: a slow disk needs strace, which is not on this host (Debian: strace)")
        self._unslow(node)
        it, host = self._nodes[node], self._hosts[self._nodes[node].site]
        processes = [each for pid in it.pids().values() for each in family(pid)]
        argv = [tool, "-f", "-qqq", "-o", os.devnull, "-e", f"trace={_FORCED}"]
        argv += ["-e", f"inject={_FORCED}:delay_enter={round(delay_s * 1e6)}"]
        argv += [part for pid in processes for part in ("-p", str(pid))]
        log = it.home / "logs" / "strace.log"
        self._slow[node] = tracer = host.spawn(argv, env={"PATH": os.environ.get("PATH", "")}, log_path=log)
        deadline = time.monotonic() + 10
        while not all(_traced_by(pid) in (tracer, None) for pid in processes):
            if host.poll(tracer) is not None or time.monotonic() > deadline:
                self._unslow(node)
                said = log.read_text(encoding="utf-8", errors="replace").strip()[-300:]
                untestable(f"disk-faults: a slow disk needs ptrace, which is refused here: {said}")
            time.sleep(0.01)  # the poll interval of a named condition with a deadline

    def heal(self, node: str | None = None) -> None:
        for name in [node] if node is not None else list(self._folders):
            self._unslow(name)
            if name in self._full:
                mount(None, self._folders[name], _REMOUNT, f"size={SIZE_BYTES}")
                self._full.discard(name)
            if name in self._read_only:
                self._writable(name)

    def _writable(self, name: str) -> None:
        """Remount, and start anew what ran: as after a repair."""
        it, ran = self._nodes[name], self._read_only.pop(name)
        for service in reversed(ran):
            it.stop(service)
        mount(None, self._folders[name], _REMOUNT, "")
        for service in ran:
            it.start(service)

    def _unslow(self, name: str) -> None:
        tracer = self._slow.pop(name, None)
        if tracer is None:
            return
        host = self._hosts[self._nodes[name].site]
        host.signal(tracer, signal.SIGTERM)  # it detaches, and what it traced runs on
        deadline = time.monotonic() + 5
        while host.poll(tracer) is None:
            if time.monotonic() > deadline:
                host.signal(tracer, signal.SIGKILL)
                deadline += 5
            time.sleep(0.005)  # the poll interval of a named condition with a deadline

    def unmount(self, *, keep_files: bool = False) -> None:
        """Safe to call twice. keep_files: what was on the disk is left in its folder."""
        for folder in self._folders.values():
            if not os.path.ismount(folder):
                continue
            kept = folder.with_name("disk.kept")
            if keep_files:
                shutil.copytree(folder, kept, symlinks=True, ignore_dangling_symlinks=True)
            unmount(folder)
            if keep_files:
                folder.rmdir()
                kept.rename(folder)


class NoDisks:
    """In the place of disks where there are none: using them is `untestable`, with the reason."""

    def __init__(self, why: str) -> None:
        self.why = why

    def heal(self, node: str | None = None) -> None:
        """Nothing was broken."""

    def unmount(self, *, keep_files: bool = False) -> None:
        """Nothing is mounted."""

    def __getattr__(self, name: str) -> Any:
        untestable(f"disk-faults: {self.why}")


def _traced_by(pid: int) -> int | None:
    """The process that traces it, 0 for none; None if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(status.partition("TracerPid:")[2].split()[0])
