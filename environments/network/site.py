"""A site as the suite holds it: a namespace with an agent in it. What runs in the agent is in agent.py."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal as signals
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, SOCK_STREAM
from socket import socket as Socket
from typing import Any

from environments.contract.requirement import SuiteError
from environments.network import addresses, zygote

REPOSITORY = Path(__file__).resolve().parents[2]
_ANSWER_S = 20.0
_MESSAGE_LIMIT = 1 << 20


class NamespacesUnavailable(Exception):
    """This machine or user may not have network namespaces with TUN devices."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class SitePlan:
    """index: 0 to 248, unique in the deployment, gives the addresses. sealed: nothing there may try to leave.

    netns: path of a network namespace to join (a pod's, a container's: /proc/PID/ns/net) instead of making one.
    """

    name: str
    index: int
    sealed: bool = False
    netns: Path | None = None
    answers_all: bool = False  # the sentinel's own: accepts connections to any address
    mtu_bytes: int = 1500
    congestion_control: str | None = None  # of TCP; None: cubic, else reno


@dataclass(frozen=True)
class SiteFacts:
    """What the kernel granted. resolver: empty if services resolve through the router, else why they do not."""

    ipv6: bool
    congestion_control: str
    congestion_pinned: bool
    resolver: str


def start_process(module: str, fd: int, run_id: str, *arguments: str) -> zygote.Started:
    """Run a module of ours with one descriptor, in a session of its own so that Ctrl-C reaches the suite alone."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "CONFORM_RUN_ID": run_id}
    if (ours := zygote.of_this_process(module)) is not None:
        return ours.start(module, fd, environment, *arguments)
    return subprocess.Popen(
        [sys.executable, "-S", "-m", module, str(fd), *arguments],
        pass_fds=[fd],
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


class Site:
    """Processes and sockets inside a site's namespaces. Safe to use from several threads."""

    def __init__(self, plan: SitePlan, run_id: str) -> None:
        """Starts the agent and returns at once; `ready` waits for it."""
        self.plan = plan
        self.facts = SiteFacts(False, "", False, "not ready")
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_ANSWER_S)
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE_LIMIT)
        with theirs:
            self.process = start_process("environments.network.agent", theirs.fileno(), run_id)
        setup = {
            "index": plan.index,
            "run_id": run_id,
            "netns": str(plan.netns) if plan.netns else None,
            "answers_all": plan.answers_all,
            "mtu_bytes": plan.mtu_bytes,
            "congestion_control": plan.congestion_control,
        }
        self._channel.send(json.dumps(setup).encode())

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def address(self) -> str:
        return addresses.v4(self.plan.index)

    @property
    def address_v6(self) -> str:
        return addresses.v6(self.plan.index)

    def ready(self) -> tuple[int, int]:
        """Wait until the site stands. For the router: its TUN, and the socket to ask who sent a packet.

        Raises NamespacesUnavailable."""
        answer, fds = self._receive()
        if "reason" in answer:
            raise NamespacesUnavailable(answer["reason"], answer["remedy"])
        self.facts = SiteFacts(**answer)
        return fds[0], fds[1]

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        try:
            message, fds, _, _ = socket.recv_fds(self._channel, _MESSAGE_LIMIT, 4)
        except TimeoutError as error:
            raise SuiteError(f"the agent of site {self.name} has not answered for {_ANSWER_S:g} s") from error
        except ConnectionError:
            message, fds = b"", []
        if not message:
            code = end_process(self.process, 1.0)
            how = f"killed by {signals.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise SuiteError(f"the agent of site {self.name} is gone ({how}); its error is on standard error")
        return json.loads(message), list(fds)

    def _ask(self, operation: str, fds: Sequence[int] = (), **request: Any) -> tuple[dict[str, Any], list[int]]:
        with self._lock:
            try:
                socket.send_fds(self._channel, [json.dumps({"op": operation, **request}).encode()], fds)
            except OSError as error:
                raise SuiteError(f"the agent of site {self.name} is gone: {error}") from error
            answer, received = self._receive()
        if "error" in answer:
            raise OSError(answer["errno"], answer["error"])
        return answer, received

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
        """Start a process in the site; its pid. It leads a session, dies with the site, and is labelled CONFORM_RUN_ID.

        env: its whole environment; None: the suite's. log_path: output is appended there; None: discarded.
        uid, gid: run as (root only). OSError if it cannot be executed.
        """
        answer, _ = self._ask(
            "spawn",
            () if stdin is None else (stdin,),
            argv=[str(each) for each in argv],
            env=None if env is None else dict(env),
            cwd=str(cwd) if cwd else None,
            log_path=str(log_path) if log_path else None,
            uid=uid,
            gid=gid,
        )
        return int(answer["pid"])

    def socket(self, family: int = AF_INET, kind: int = SOCK_STREAM, *, buffer_bytes: int = 0) -> Socket:
        """A fresh socket that lives in the site's namespace: the suite's own way in, on no link, in no ledger."""
        _, fds = self._ask("socket", family=int(family), type=int(kind), buffer=buffer_bytes)
        return socket.socket(fileno=fds[0])

    def connect(self, port: int, host: str = "127.0.0.1", *, timeout_s: float = 10.0) -> Socket:
        """A TCP connection from inside the site to a numeric address. OSError as of connect."""
        made = self.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.settimeout(timeout_s)
        try:
            made.connect((host, port))
        except OSError:
            made.close()
            raise
        return made

    def listeners(self) -> list[tuple[str, str, int, int | None]]:
        """(protocol, address, port, pid) of each socket that listens; pid: the spawned process it is of, if any."""
        return [(*each,) for each in self._ask("listeners")[0]["listeners"]]

    def signal(self, pid: int, number: int = signals.SIGTERM, *, group: bool = False) -> bool:
        """Signal a process that was spawned here, or its whole process group; False if it has ended before."""
        return bool(self._ask("signal", pid=pid, signal=int(number), group=group)[0]["sent"])

    def poll(self, pid: int) -> int | None:
        """Exit code of a spawned process (negative: the signal that ended it); None while it runs."""
        code = self._ask("poll", pid=pid)[0]["code"]
        return None if code is None else int(code)

    def wait(self, pid: int, timeout_s: float = 10.0) -> int:
        """Wait for the end of a spawned process; its exit code. TimeoutError if it still runs."""
        code = self.poll(pid)
        if code is not None:
            return code
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if not select.select([handle], [], [], timeout_s)[0]:
                    raise TimeoutError(f"process {pid} at {self.name} still runs after {timeout_s:g} s")
            finally:
                os.close(handle)
        code = self.poll(pid)
        if code is None:
            raise SuiteError(f"process {pid} at {self.name} has ended, and its agent has no exit code")
        return code

    def canaries(self, nonce: str, quic: Mapping[str, str]) -> Mapping[str, str]:
        """Send one attempt to leave of each kind; those that could not be sent, with the reason. `quic`: the datagrams

        of that kind, hexadecimal. Their sockets stay open until `release_canaries`."""
        return dict(self._ask("canaries", nonce=nonce, quic=dict(quic))[0]["refused"])

    def release_canaries(self) -> None:
        self._ask("release")

    def stop(self, deadline_s: float = 5.0) -> None:
        """End the site and every process in it."""
        self._channel.close()
        end_process(self.process, deadline_s)


def end_process(process: zygote.Started, deadline_s: float) -> int:
    """Wait for a process that was told to end; kill it if it does not. Its exit code."""
    try:
        return process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
