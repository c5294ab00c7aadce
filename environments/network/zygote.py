"""A zygote: a process that has imported modules of ours and forks into them, which spares them a new interpreter.

Python's start and the imports of a node take 0.4 s of a processor, and the kill matrix needs them some 600 times: its
processes have a zygote each. Everywhere else, and for every other program, processes start as usual. What is forked
looks like what is started: to itself, to `ps`, to the egress ledger and to `conform clean`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

LABEL = "CONFORM_RUN_ID"
_MESSAGE_LIMIT = 1 << 20
_modules: frozenset[str] = frozenset()  # those that this process may fork into; none unless it came of a zygote
_of_this_process: Zygote | None = None


class Started(Protocol):
    """What is asked of a process that was started or forked: see subprocess.Popen."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...


class Forked:
    """A process that the zygote forked."""

    def __init__(self, zygote: Zygote, pid: int, handle: int) -> None:
        self.pid, self._zygote, self._handle, self._code = pid, zygote, handle, 0

    def poll(self) -> int | None:
        """Its exit code (negative: the signal that ended it); None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self._handle >= 0:
            if not select.select([self._handle], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            os.close(self._handle)
            self._handle, self._code = -1, int(self._zygote.ask({"ended": self.pid})[0])
        return self._code

    def kill(self) -> None:
        if self._handle >= 0:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)


class Zygote:
    """As the process holds it that has one. Safe to use from several threads."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = frozenset(modules)
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            try:
                _serve(theirs, self.modules)
            finally:  # never back into what this process was
                os._exit(0)
        theirs.close()

    def start(self, module: str, fd: int, environment: Mapping[str, str], *arguments: str) -> Forked:
        """Fork into `main()` of the module, whose sys.argv begins with the descriptor."""
        request = {"module": module, "environment": dict(environment), "arguments": arguments}
        pid, fds = self.ask(request, [fd])
        return Forked(self, int(pid), fds[0])

    def ask(self, request: Mapping[str, Any], fds: Sequence[int] = ()) -> tuple[bytes, list[int]]:
        with self._lock:
            socket.send_fds(self._channel, [json.dumps(request).encode()], fds)
            answer, received, _, _ = socket.recv_fds(self._channel, _MESSAGE_LIMIT, 1)
        return answer, received


def begin(*modules: str) -> None:
    """Give this process a zygote for these modules, which it has imported. Call it before any thread is started."""
    global _of_this_process
    missing = [name for name in modules if name not in sys.modules]
    assert not missing, f"to be imported before: {missing}"
    _of_this_process = Zygote(modules)


def of_this_process(module: str) -> Zygote | None:
    """The zygote that can fork into the module, if this process has one."""
    return _of_this_process if _of_this_process and module in _of_this_process.modules else None


def forkable(argv: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether `fork` can do what this command would: `python -m module arguments`, and nothing preloaded."""
    return list(argv[:2]) == [sys.executable, "-m"] and argv[2] in _modules and "LD_PRELOAD" not in environment


def fork(module: str, arguments: Sequence[str], become: Callable[[], None]) -> int:
    """Run `main()` of an imported module in a child, in a session of its own; its pid. `become` is called there first.

    The child keeps descriptors 0 to 2 and those that `main()` opens: close the others in `become`."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            _forget_signals()
            become()
            _show_as([sys.executable, "-m", module, *arguments])
            code = _main(module, arguments)
        except BaseException:  # as an interpreter ends
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def take_environment(environment: Mapping[str, str]) -> None:
    """Have these variables and no others, the time zone among them."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def _show_as(command: Sequence[str]) -> None:
    """Write the command and the environment over those of the interpreter that was started, as far as they go, where
    the kernel lets a process."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    places = [int(each) for each in fields[45:49]]  # arg_start, arg_end, env_start, env_end: proc(5)
    label_first = sorted(os.environ, key=lambda name: name != LABEL)
    texts = (command, [f"{name}={os.environ[name]}" for name in label_first])
    with contextlib.suppress(OSError), Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        for begin, end, text in zip(places[::2], places[1::2], texts, strict=True):
            memory.seek(begin)
            memory.write("\0".join(text).encode()[: end - begin - 1].ljust(end - begin, b"\0"))


def _main(module: str, arguments: Sequence[str]) -> int:
    sys.argv = [module, *arguments]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    try:
        sys.modules[module].main()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _forget_signals() -> None:
    """As in a new interpreter."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _serve(channel: socket.socket, modules: frozenset[str]) -> None:
    """Until the process is gone that began this one; what was forked sees that, and ends too."""
    global _modules
    os.setsid()
    keep = channel.fileno()
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
    _modules = modules
    while True:
        message, fds, _, _ = socket.recv_fds(channel, _MESSAGE_LIMIT, 1)
        if not message:
            return
        request = json.loads(message)
        if "ended" in request:
            code = os.waitstatus_to_exitcode(os.waitpid(request["ended"], 0)[1])
            channel.send(str(code).encode())
            continue

        def become(environment: Mapping[str, str] = request["environment"]) -> None:
            channel.close()
            take_environment(environment)

        pid = fork(request["module"], [str(fds[0]), *request["arguments"]], become)
        handle = os.pidfd_open(pid)
        socket.send_fds(channel, [str(pid).encode()], [handle])
        for fd in (*fds, handle):
            os.close(fd)
