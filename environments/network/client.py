"""Talk to a running router from anywhere: `python -m environments.network.client WORKDIR '{"command": "show"}'`."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from environments.network.control import at_directory


class RouterGone(OSError):
    """The router does not answer: it was stopped, or it died."""


class RouterRefused(ValueError):
    """The router answered that it cannot do so; the message says why."""


class RouterClient:
    """One connection to <workdir>/router.sock; safe to use from several threads."""

    def __init__(self, workdir: Path, *, timeout_s: float = 30.0) -> None:
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            at_directory(workdir, self._socket.connect)
        except OSError as error:
            self._socket.close()
            raise RouterGone(f"no router answers in {workdir}: {error}") from error
        self._lines = self._socket.makefile("rb")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command (see control.py); its answer. Raises RouterRefused, RouterGone."""
        with self._lock:
            try:
                self._socket.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
                line = self._lines.readline()
            except (OSError, ValueError) as error:
                raise RouterGone(f"the router does not answer: {error}") from error
        if not line:
            raise RouterGone("the router is gone")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise RouterRefused(answer["error"])
        return answer

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def command(workdir: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """One command to the router of a deployment's folder; its answer. Raises RouterGone (OSError), RouterRefused."""
    client = RouterClient(workdir)
    try:
        return client.ask(**request)
    finally:
        client.close()


def main() -> int:
    if len(sys.argv) != 3:
        sys.stderr.write(f"{__doc__}\n")
        return 254
    request = json.loads(sys.argv[2])
    try:
        answer = command(Path(sys.argv[1]), request)
    except (RouterGone, RouterRefused) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
