"""Commands to a running router: one JSON object a line, one JSON object back. Also its timeline and its schedule.

{"command": "show"}
{"command": "set", "a": "edge-1", "b": "core", "state": {"delay_s": 0.3}, "both": true, "reason": "by hand"}
{"command": "cut" | "heal", "a": "edge-1", "b": "core", "both": true}      heal without a and b: every link
{"command": "counters", "a": "edge-1", "b": "core"}      without a and b: every direction
{"command": "ledger", "site": "edge-1", "since_s": 0}    {"command": "sync"}    {"command": "timeline"}
{"command": "mode", "answer": "drop" | "reject" | "answer"}    {"command": "phase", "phase": "install"}
{"command": "play", "name": "storm.yaml", "events": [{"at_s": 1.5, "a": ..., "b": ..., "cut": true}]}
    {"command": "stop-play"}    {"command": "reset"} counters and sequences afresh    {"command": "calm"} and no weather
    {"command": "capture", "folder": "capture", "limit_bytes": 1000000}      without folder: end it
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments import jsonlines
from environments.link import LinkState, changed, traces
from environments.network import ledger
from environments.network.capture import LIMIT_BYTES, Captures
from environments.network.links import Direction
from environments.network.sentinel import MODES

if TYPE_CHECKING:
    from environments.network.router import Router

SOCKET = "router.sock"
Document = dict[str, Any]


class Refused(Exception):
    """A command that cannot be carried out; the message says why."""


def at_directory(directory: Path, use: Callable[[str], None]) -> None:
    """Use the socket path of a directory of any length: a Unix socket's path may have 107 bytes."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        use(f"/proc/self/fd/{fd}/{SOCKET}")
    finally:
        os.close(fd)


class Control:
    def __init__(self, router: Router) -> None:
        self._router = router
        self._timeline = (router.workdir / "links.jsonl").open("a", buffering=1, encoding="utf-8")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        (router.workdir / SOCKET).unlink(missing_ok=True)
        at_directory(router.workdir, self._listener.bind)
        self._listener.listen(16)
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        self._events: list[Document] = []
        self._play_name, self._play_from = "", 0.0
        self._commands: dict[str, Callable[[Document], Document]] = {
            "show": self._show,
            "set": self._set,
            "cut": self._cut,
            "heal": self._heal,
            "counters": self._counters,
            "sync": lambda _: {"recorded": router.sentinel.recorded, "unanswered": router.sentinel.owners.unanswered},
            "ledger": self._ledger,
            "mode": self._mode,
            "phase": self._phase,
            "planting": self._planting,
            "timeline": lambda _: {"rows": jsonlines.read(router.workdir / "links.jsonl")},
            "reset": self._reset,
            "calm": self._calm,
            "capture": self._capture,
            "play": self._play,
            "stop-play": self._stop_play,
        }
        for direction in router.directions.values():
            self.note(direction, "start")

    def fds(self) -> list[int]:
        return [self._listener.fileno(), *self._clients]

    def serve(self, fd: int) -> None:
        if fd == self._listener.fileno():
            client, _ = self._listener.accept()
            client.settimeout(1.0)  # a client that does not read its answers is dropped
            self._clients[client.fileno()] = (client, bytearray())
            return
        client, pending = self._clients[fd]
        try:
            data = client.recv(65536)
            pending += data
            while b"\n" in pending:
                line, _, rest = bytes(pending).partition(b"\n")
                pending[:] = rest
                client.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        except OSError:
            data = b""
        if not data:
            del self._clients[fd]
            client.close()

    def _answer(self, line: bytes) -> Document:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise Refused("a command is a JSON object")
            command = self._commands.get(str(request.get("command")))
            if command is None:
                raise Refused(f"unknown command {request.get('command')!r}; known: {', '.join(self._commands)}")
            return {"ok": True, **command(request)}
        except (Refused, ValueError, TypeError) as error:
            return {"ok": False, "error": str(error)}

    # links

    def _directions(self, request: Document) -> list[Direction]:
        """Those that a command is about: a -> b, the way back too unless both is false; all without a and b."""
        known = self._router.directions
        a, b = request.get("a"), request.get("b")
        if a is None and b is None:
            return list(known.values())
        pairs = [(str(a), str(b)), (str(b), str(a))][: 1 + bool(request.get("both", True))]
        missing = [pair for pair in pairs if pair not in known]
        if missing:
            links = ", ".join(f"{x}>{y}" for x, y in known) or "none"
            raise Refused(f"no link {missing[0][0]}>{missing[0][1]}; links: {links}")
        return [known[pair] for pair in pairs]

    def note(self, direction: Direction, reason: str) -> None:
        """A line in the timeline, and a remark in the capture that runs."""
        row = self.row(direction, reason)
        self._timeline.write(json.dumps(row) + "\n")
        if self._router.capture:
            self._router.capture.remark(row)

    def row(self, direction: Direction, reason: str) -> Document:
        return {
            "t_s": time.time(),
            "link": direction.link,
            "direction": direction.name,
            "state": asdict(direction.now),
            "reason": reason,
        }

    def _set(self, request: Document) -> Document:
        chosen = self._directions(request)
        states = [changed(each.state, request.get("state") or {}) for each in chosen]
        for state in states:
            if state.trace:
                traces.load(state.trace)
        self._put(chosen, states, str(request.get("reason", "set")))
        return {}

    def _put(self, chosen: Sequence[Direction], states: Sequence[LinkState], reason: str) -> None:
        now_s = time.monotonic()
        for direction, state in zip(chosen, states, strict=True):
            direction.set(state, now_s)
            self.note(direction, reason)

    def _cut(self, request: Document) -> Document:
        """Down; with `reject`, refused at once; with `half_open`, only what was open hears nothing more."""
        if request.get("half_open"):
            state: Document = {"half_open": True}
        else:
            state = {"up": False, "reject": bool(request.get("reject", False))}
        return self._set({"reason": "cut", **request, "state": state})

    def _heal(self, request: Document) -> Document:
        chosen = self._directions(request)
        self._put(chosen, [each.initial for each in chosen], str(request.get("reason", "heal")))
        return {}

    def _show(self, request: Document) -> Document:
        router = self._router
        return {
            "pid": os.getpid(),
            "seed": router.seed,
            "run_id": router.config["run_id"],
            "sites": list(router.ports),
            "mode": router.sentinel.answer_mode,
            "phase": router.sentinel.phase,
            "links": [
                {
                    "link": d.link,
                    "a": d.source,
                    "b": d.target,
                    "state": asdict(d.now),  # with the changes of the episodes that last
                    "asked": asdict(d.state),
                    "as_asked": d.state == d.initial,  # the state of the profile
                    "episodes": d.weather.lasting() if d.weather else [],
                    "began_s": d.began_s,
                }
                for d in router.directions.values()
            ],
            "unlinked": {name: port.unlinked for name, port in router.ports.items()},
            "playing": self._play_name if self._events else None,
        }

    def _counters(self, request: Document) -> Document:
        chosen = self._directions({"both": False, **request})
        now_s = time.monotonic()
        return {"counters": {each.name: asdict(each.counted(now_s)) for each in chosen}}

    def _reset(self, request: Document) -> Document:
        self._router.reset()
        return {}

    def _calm(self, _: Document) -> Document:
        """As reset, and no episodes until the next reset: for calibration."""
        self._router.reset()
        now_s = time.monotonic()
        for direction in self._router.directions.values():
            direction.calm(now_s)
        return {}

    # sentinel

    def _ledger(self, request: Document) -> Document:
        rows = ledger.merge(jsonlines.read(self._router.workdir / ledger.FILE))
        chosen = ledger.select(rows, request.get("site"), float(request.get("since_s", 0)))
        return {"rows": [row for row in chosen if row["phase"] != ledger.CANARY]}

    def _mode(self, request: Document) -> Document:
        answer = request.get("answer")
        if answer not in MODES:
            raise Refused(f"mode must be one of {', '.join(MODES)}, not {answer!r}")
        if answer == "answer" and self._router.answerer is None:
            raise Refused(
                "the namespace that answers everything is not started; Network.egress.mode('answer') starts it"
            )
        self._router.sentinel.answer_mode = answer
        return {}

    def _phase(self, request: Document) -> Document:
        self._router.sentinel.phase = str(request["phase"])
        return {}

    def _planting(self, request: Document) -> Document:
        self._router.sentinel.planting = str(request.get("site") or "")
        return {}

    def _capture(self, request: Document) -> Document:
        """Begin a capture of every site into a folder of the deployment's, or end the one that runs; what it has."""
        router, ended = self._router, self._router.capture
        packets = ended.close() if ended else {}
        router.capture = None
        if request.get("folder"):
            name = str(request["folder"])
            if Path(name).name != name:
                raise Refused(f"folder must be a plain name, not {name!r}")
            limit_bytes = int(request.get("limit_bytes") or LIMIT_BYTES)
            router.capture = Captures(router.workdir / name, list(router.ports), limit_bytes)
            for direction in router.directions.values():
                router.capture.remark(self.row(direction, "at the start of the capture"))
        return {"packets": packets, "truncated": ended.truncated if ended else []}

    # schedule

    def _play(self, request: Document) -> Document:
        events = sorted(request["events"], key=lambda event: float(event["at_s"]))
        self._rehearse(events)
        self._events, self._play_name = events, str(request.get("name", "schedule"))
        self._play_from = time.monotonic()
        return {"events": len(events), "from_s": self._play_from}

    def _rehearse(self, events: Sequence[Document]) -> None:
        """Raise for what could not be played one after another, before any of it is."""
        states: dict[str, LinkState] = {}
        for event in events:
            for direction in self._directions(event):
                if event.get("heal"):
                    states[direction.name] = direction.initial
                    continue
                state = changed(states.get(direction.name, direction.state), event.get("state") or {})
                if state.trace:
                    traces.load(state.trace)
                states[direction.name] = state

    def _stop_play(self, request: Document) -> Document:
        left, self._events = len(self._events), []
        return {"left": left}

    def play_due(self, now: float) -> float:
        """Carry out what is due by now; when the next event is, infinity if there is none."""
        while self._events and self._play_from + self._events[0]["at_s"] <= now:
            event = self._events.pop(0)
            event["reason"] = f"{self._play_name} at {event['at_s']:.10g} s"
            action = self._cut if event.get("cut") else self._heal if event.get("heal") else self._set
            try:
                action(event)
            except (
                Refused,
                ValueError,
            ) as error:  # the link was changed by hand meanwhile, and the two do not go together
                for direction in self._directions(event):
                    self.note(direction, f"{event['reason']}, refused: {error}")
        return float(self._play_from + self._events[0]["at_s"]) if self._events else float("inf")
