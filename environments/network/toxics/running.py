"""A Toxiproxy server as a process of this one: ours, or the real one."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from environments.contract.requirement import SuiteError
from environments.network.toxics.client import Toxiproxy, ToxiproxyError

REPOSITORY = Path(__file__).resolve().parents[3]
_START_S, _STOP_S = 30.0, 5.0


def listening() -> socket.socket:
    """A socket for a server's API on loopback. The server inherits it, so whoever made it knows its port at once."""
    return socket.create_server(("127.0.0.1", 0))


def command(fd: int, seed: int) -> list[str]:
    """Command line of our server for an inherited socket."""
    return [sys.executable, "-m", "environments.network.toxics.server", "--fd", str(fd), "--seed", str(seed)]


class ToxicsServer:
    """A running server and its client. Ours ends with this process, whatever ends it."""

    def __init__(self, process: subprocess.Popen[bytes], client: Toxiproxy, log_path: Path) -> None:
        self.process, self.client, self._log_path = process, client, log_path
        deadline_s = time.monotonic() + _START_S
        while True:
            try:
                self.version = client.version()
                return
            except ToxiproxyError as error:
                if process.poll() is not None or time.monotonic() > deadline_s:
                    self.stop()
                    raise SuiteError(f"the toxics server did not start ({error}): {self._said()}") from None
            time.sleep(0.02)  # the poll interval of a named condition with a deadline

    @classmethod
    def builtin(cls, run_id: str, seed: int, log_path: Path) -> Self:
        path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
        with listening() as api, log_path.open("ab") as log:
            process = subprocess.Popen(
                [*command(api.fileno(), seed), "--until-eof"],
                pass_fds=[api.fileno()],
                env={**os.environ, "PYTHONPATH": path, "CONFORM_RUN_ID": run_id},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            port = api.getsockname()[1]
        return cls(process, Toxiproxy(port=port), log_path)

    @classmethod
    def real(cls, path: Path, log_path: Path) -> Self:
        """The real one cannot inherit a socket: its port is chosen here and could be taken meanwhile."""
        with listening() as probe:
            port = probe.getsockname()[1]
        argv = [str(path), "-host", "127.0.0.1", "-port", str(port), "-proxy-metrics"]
        with log_path.open("ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        return cls(process, Toxiproxy(port=port), log_path)

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """May be called twice."""
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _said(self) -> str:
        return self._log_path.read_text(encoding="utf-8", errors="replace").strip()[-500:] or "(it said nothing)"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
