"""What `conform link` and the live table ask of a router, answered for links that are streams: one JSON object a line.

Commands as in environments/network/control.py: show, set, cut, heal, counters. Others are refused: there is no router.
"""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from environments.contract import LinkState, SuiteError, Untestable
from environments.network.control import SOCKET, at_directory
from environments.network.toxics.links import StreamLinks

Document = dict[str, Any]


class StreamControl:
    """Listens in a deployment's folder until `stop`."""

    def __init__(self, workdir: Path, run_id: str, seed: int, links: StreamLinks) -> None:
        self._workdir, self._run_id, self._seed, self._links = workdir, run_id, seed, links
        self._commands: dict[str, Callable[[Document], Document]] = {
            "show": self._show,
            "set": self._set,
            "cut": self._cut,
            "heal": self._heal,
            "counters": self._counters,
        }
        self._server = _Server(workdir, self._answer)
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        with contextlib.suppress(OSError):
            (self._workdir / SOCKET).unlink()

    def _answer(self, line: bytes) -> Document:
        try:
            request = json.loads(line)
            command = self._commands.get(str(request.get("command")))
            if command is None:
                known = ", ".join(self._commands)
                raise ValueError(f"{request.get('command')!r} needs packets; links are TCP streams here, with {known}")
            return {"ok": True, **command(request)}
        except KeyError as error:
            return {"ok": False, "error": str(error.args[0])}
        except (ValueError, TypeError, AttributeError, Untestable, SuiteError) as error:
            return {"ok": False, "error": str(error)}

    def _show(self, _: Document) -> Document:
        return {"run_id": self._run_id, "seed": self._seed, "links": self._links.shown(), "playing": None}

    def _set(self, request: Document) -> Document:
        a, b = str(request["a"]), str(request["b"])
        reason, changes = str(request.get("reason", "set")), dict(request.get("state") or {})
        known = [each.name for each in fields(LinkState)]
        for name in changes.keys() - set(known):
            raise ValueError(f"unknown field {name!r}; known: {', '.join(known)}")
        pairs = [(a, b), (b, a)][: 1 + bool(request.get("both", True))]
        states = [replace(self._links.get(*pair), **changes) for pair in pairs]
        for pair, state in zip(pairs, states, strict=True):
            self._links.set(*pair, state, both=False, reason=reason)
        return {}

    def _cut(self, request: Document) -> Document:
        state: Document = {"up": False}
        state |= {name: True for name in ("reject", "half_open") if request.get(name)}
        return self._set({"reason": "cut", **request, "state": state})

    def _heal(self, request: Document) -> Document:
        both, reason = bool(request.get("both", True)), str(request.get("reason", "heal"))
        self._links.heal(request.get("a"), request.get("b"), both=both, reason=reason)
        return {}

    def _counters(self, request: Document) -> Document:
        asked = (request.get("a"), request.get("b"))
        pairs = [pair for pair, _ in self._links.directions() if asked == (None, None) or pair == asked]
        return {"counters": {f"{a}>{b}": asdict(self._links.counters(a, b)) for a, b in pairs}}


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, workdir: Path, answer: Callable[[bytes], Document]) -> None:
        self._workdir, self.answer = workdir, answer
        super().__init__(SOCKET, _Handler)

    def server_bind(self) -> None:
        (self._workdir / SOCKET).unlink(missing_ok=True)
        at_directory(self._workdir, self.socket.bind)
        self.server_address = SOCKET


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for line in self.rfile:
                self.wfile.write(json.dumps(self.server.answer(line)).encode() + b"\n")
