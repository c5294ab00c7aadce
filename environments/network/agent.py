"""The process that is a site: it holds the site's namespaces and serves the suite. Run as `python -m ... agent FD`.

FD is a seqpacket socket to the suite: JSON requests and answers, with descriptors beside them. The first request says
how to set up. The agent ends, and takes all processes of its site with it, when that socket closes or the suite's
process is gone; its children get SIGKILL from the kernel when the agent itself is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from environments.network import addresses, canaries, netlink, owning, sockets, zygote

MESSAGE_LIMIT = 1 << 20
DEVICE = "conform0"
_NEWNS, _NEWIPC, _NEWUSER, _NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SO_RCVBUFFORCE = 33
_FILES_ONLY = ("passwd", "group", "shadow", "services", "protocols")  # not systemd-resolved: its socket leads outside
_libc = ctypes.CDLL(None, use_errno=True)
Document = dict[str, Any]


class Unavailable(Exception):
    """This kernel or user may not have such a site: (reason, remedy)."""


def _call(name: str, *arguments: Any) -> None:
    """A libc call; OSError with its errno if it fails."""
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def enter_namespaces(netns: str | None) -> None:
    """Network, mount and IPC namespaces of our own (IPC: PostgreSQL's segments go with us), or a network that exists.

    As an ordinary user they are made inside a user namespace that maps this user to itself: services keep their user.
    """
    flags = _NEWNS | _NEWIPC | (0 if netns else _NEWNET)
    uid, gid = os.getuid(), os.getgid()
    try:
        if netns:
            with Path(netns).open("rb") as handle:
                _call("setns", handle.fileno(), _NEWNET)
        if uid == 0:
            _call("unshare", flags)
            return
        _call("unshare", flags | _NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    except OSError as error:
        raise Unavailable(
            f"namespaces are refused: {error.strerror}",
            "run as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1"
            ", kernel.apparmor_restrict_unprivileged_userns=0); in a container add capabilities SYS_ADMIN, NET_ADMIN",
        ) from error


def open_tun() -> int:
    """A TUN device that lives as long as its descriptor."""
    path = os.environ.get("CONFORM_TUN_DEVICE", "/dev/net/tun")
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError as error:
        raise Unavailable(
            f"{path}: {error.strerror}",
            "load the tun module (modprobe tun) and let this user open it (chmod 666 /dev/net/tun, as usual);"
            " in a container add --device /dev/net/tun",
        ) from error
    return fd


def sysctl(name: str, value: str) -> bool:
    """Set a setting of this network namespace; whether the kernel took it."""
    try:
        Path("/proc/sys/net", *name.split("/")).write_text(value)
    except OSError:
        return False
    return True


def configure(index: int, answers_all: bool, mtu_bytes: int, congestion: str | None) -> Document:
    """Addresses and default routes, v4 and v6; what this kernel granted."""
    for family in ("all", "default"):
        sysctl(f"ipv6/conf/{family}/disable_ipv6", "0")
        sysctl(f"ipv4/conf/{family}/rp_filter", "0")
    ipv6 = Path("/proc/sys/net/ipv6").exists()
    netlink.link_up("lo")
    netlink.add_address(DEVICE, addresses.v4(index), 32)
    netlink.link_up(DEVICE, mtu=mtu_bytes, queue_packets=addresses.TUN_QUEUE)
    netlink.add_route("0.0.0.0", 0, DEVICE)
    if ipv6:
        netlink.add_address(DEVICE, addresses.v6(index), 128)
        netlink.add_route("::", 0, DEVICE)
    if answers_all:
        sysctl("ipv4/ip_unprivileged_port_start", "0")  # its server is no root where the suite is none
        netlink.add_route(addresses.V4_NETWORK, 16, DEVICE, table=netlink.TABLE_LOCAL)
        netlink.add_route("0.0.0.0", 0, "lo", table=netlink.TABLE_LOCAL, kind=netlink.LOCAL)
        netlink.add_route(addresses.V6_NETWORK, 64, DEVICE, table=netlink.TABLE_LOCAL)
        netlink.add_route("::", 0, "lo", table=netlink.TABLE_LOCAL, kind=netlink.LOCAL)
    return {"ipv6": ipv6, **pin_congestion_control(congestion)}


def pin_congestion_control(asked: str | None) -> Document:
    """Set how TCP finds its rate: as asked, or what every kernel has, so that hosts compare."""
    chosen = next((name for name in ([asked] if asked else ["cubic", "reno"]) if _take_congestion(name)), None)
    current = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    found = current.read_text().strip() if current.exists() else "unknown"
    if asked and chosen is None:
        offered = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
        known = offered.read_text().strip() if offered.exists() else found
        raise Unavailable(f"this kernel has no TCP congestion control {asked!r}", f"use one of: {known}")
    return {"congestion_control": chosen or found, "congestion_pinned": chosen is not None}


def _take_congestion(name: str) -> bool:
    return sysctl("ipv4/tcp_congestion_control", name)


def point_resolver() -> str:
    """Give this mount namespace a resolver in the router; empty if it worked, else why not."""
    try:
        _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        wanted = {
            "/etc/resolv.conf": f"nameserver {addresses.RESOLVER_V4}\noptions timeout:2 attempts:1\n",
            "/etc/nsswitch.conf": "".join(f"{each}: files\n" for each in _FILES_ONLY) + "hosts: files dns\n",
        }
        for target, text in wanted.items():
            if not Path(target).exists():
                if target == "/etc/resolv.conf":
                    return f"{target} does not exist, so nothing can be mounted over it"
                continue
            with tempfile.NamedTemporaryFile("w", prefix="conform-") as source:
                Path(source.name).chmod(0o644)
                source.write(text)
                source.flush()
                _call("mount", source.name.encode(), target.encode(), None, _MS_BIND, None)
    except OSError as error:
        return f"mount refused: {error.strerror}"
    return ""


def tie_to(agent: int) -> None:
    """SIGKILL for this new child of the agent when the agent is gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != agent:
        os._exit(126)


class Agent:
    """suite: who tells it what to do. router: who asks which process sent a packet."""

    def __init__(self, suite: socket.socket, router: socket.socket, run_id: str) -> None:
        self._suite, self._router, self._run_id, self._parent = suite, router, run_id, os.getppid()
        self._finder = owning.Finder()
        self._canaries: list[socket.socket] = []
        self._spawned: set[int] = set()
        self._codes: dict[int, int] = {}
        self._operations: dict[str, Callable[[Document], tuple[Document, list[int]]]] = {
            "spawn": self._spawn,
            "socket": self._socket,
            "listeners": lambda _: ({"listeners": sockets.listeners(self._spawned)}, []),
            "signal": self._signal,
            "poll": lambda request: ({"code": self._codes.get(request["pid"])}, []),
            "canaries": self._plant,
            "release": self._release,
        }

    def serve(self) -> None:
        """Until the suite is gone. Children are reaped as they end; orphans of theirs come to us."""
        wake, nudge = socket.socketpair(type=socket.SOCK_DGRAM)
        for end in (wake, nudge):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(nudge.fileno(), warn_on_full_buffer=False)
        poller = select.poll()
        router = self._router.fileno()
        for fd in (self._suite.fileno(), wake.fileno(), os.pidfd_open(self._parent), router):
            poller.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poller.poll()}
            if router in ready:  # first: who sent a packet may end at any moment
                ready.discard(router)
                if not self._find_owners():
                    poller.unregister(router)
            if wake.fileno() in ready:
                wake.recv(4096)
            self._reap()
            if self._suite.fileno() in ready:
                message, fds, _, _ = socket.recv_fds(self._suite, MESSAGE_LIMIT, 1)
                if not message:
                    return
                self._serve_one({**json.loads(message), "stdin": fds[0] if fds else None})
                for fd in fds:
                    os.close(fd)
            elif ready - {wake.fileno()}:
                return

    def _serve_one(self, request: Document) -> None:
        fds: list[int] = []
        try:
            answer, fds = self._operations[request["op"]](request)
        except (OSError, subprocess.SubprocessError) as error:
            code = getattr(error, "errno", None)
            answer = {"error": str(error), "errno": code or errno.EIO}
        socket.send_fds(self._suite, [json.dumps(answer).encode()], fds)
        for fd in fds:
            os.close(fd)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._codes[pid] = os.waitstatus_to_exitcode(status)

    def _spawn(self, request: Document) -> tuple[Document, list[int]]:
        request["env"] = {**(os.environ if request["env"] is None else request["env"]), zygote.LABEL: self._run_id}
        with Path(request["log_path"] or os.devnull).open("ab") as log:
            forks = zygote.forkable(request["argv"], request["env"]) and request["uid"] is None
            pid = (self._fork if forks else self._execute)(request, log.fileno())
        self._codes.pop(pid, None)
        self._spawned.add(pid)
        return {"pid": pid}, []

    def _execute(self, request: Document, log: int) -> int:
        agent = os.getpid()
        child = subprocess.Popen(
            request["argv"],
            env=request["env"],
            cwd=request["cwd"],
            stdin=subprocess.DEVNULL if request["stdin"] is None else request["stdin"],
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: tie_to(agent),  # after a change of user, which would clear it
            user=request["uid"],
            group=request["gid"],
            extra_groups=[] if request["uid"] is not None else None,
        )
        child.returncode = 0  # reaped by us, not by subprocess
        return child.pid

    def _fork(self, request: Document, log: int) -> int:
        agent = os.getpid()

        def become() -> None:
            stdin = os.open(os.devnull, os.O_RDONLY) if request["stdin"] is None else request["stdin"]
            for number, fd in enumerate((stdin, log, log)):
                os.dup2(fd, number)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            if request["cwd"]:
                os.chdir(request["cwd"])
            tie_to(agent)
            zygote.take_environment(request["env"])

        _, _, module, *arguments = request["argv"]
        return zygote.fork(module, arguments, become)

    def _signal(self, request: Document) -> tuple[Document, list[int]]:
        pid, number = request["pid"], request["signal"]
        if pid not in self._spawned:
            raise OSError(errno.ESRCH, f"{pid} is not a process of this site")
        if pid in self._codes:
            return {"sent": False}, []
        if request["group"]:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
        return {"sent": True}, []

    def _socket(self, request: Document) -> tuple[Document, list[int]]:
        made = socket.socket(request["family"], request["type"])
        if request["buffer"]:
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, request["buffer"])
        return {}, [made.detach()]

    def _plant(self, request: Document) -> tuple[Document, list[int]]:
        """Send a canary of each kind, and keep their sockets, so that they have an owner until they are released."""
        self._release({})
        self._canaries, refused = canaries.send(request["nonce"], request["quic"])
        return {"refused": refused}, []

    def _release(self, _: Document) -> tuple[Document, list[int]]:
        while self._canaries:
            self._canaries.pop().close()
        return {}, []

    def _find_owners(self) -> bool:
        """Answer what the router has asked so far; False once it is gone."""
        while True:
            try:
                question = self._router.recv(MESSAGE_LIMIT)
                if not question:
                    return False
                asked = json.loads(question)
                self._router.send(json.dumps({"flow": asked["flow"], **self._finder.find(asked)}).encode())
            except BlockingIOError:
                return True
            except OSError:
                return False

    def kill_all(self) -> None:
        """SIGKILL to every process of the site, orphans included, until none is left."""
        signal.set_wakeup_fd(-1)
        for pid in self._spawned:
            if pid not in self._codes:
                _quietly(os.killpg, pid, signal.SIGKILL)
        for _ in range(100):  # generations of orphans, each of which becomes our child
            for pid in sockets.children(os.getpid()):
                _quietly(os.kill, pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return
            self._reap()


def _quietly(send: Callable[[int, int], None], pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        send(pid, number)


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as suite:
        message = suite.recv(MESSAGE_LIMIT)
        if not message:
            return
        plan = json.loads(message)
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            enter_namespaces(plan["netns"])
            tun = open_tun()
            facts = configure(plan["index"], plan["answers_all"], plan["mtu_bytes"], plan["congestion_control"])
        except Unavailable as error:
            suite.send(json.dumps({"reason": error.args[0], "remedy": error.args[1]}).encode())
            return
        except OSError as error:
            suite.send(json.dumps({"reason": str(error), "remedy": "run `conform doctor`"}).encode())
            return
        facts["resolver"] = point_resolver()
        router, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        router.setblocking(False)
        with theirs:
            socket.send_fds(suite, [json.dumps(facts).encode()], [tun, theirs.fileno()])
        os.close(tun)
        agent = Agent(suite, router, plan["run_id"])
        try:
            agent.serve()
        finally:
            agent.kill_all()


if __name__ == "__main__":
    main()
