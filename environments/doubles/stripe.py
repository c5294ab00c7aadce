"""A payment provider that speaks the part of Stripe's API that a metered product needs: meter events.

    python -m environments.doubles.stripe FOLDER PORT

Listens on 127.0.0.1. FOLDER/requests.jsonl has a row per request (see Row); FOLDER/answer.json, read at each request,
says how to answer: {"how": ok | fail | limit | refuse | drop | delay, "times": n or null, "delay_s": seconds}. `times`
counts from when the file was written. What Stripe promises holds here too: the same Idempotency-Key with the same
parameters gives the first answer again and applies nothing, with others a 400; the identifier of an event counts once.
Source: Stripe's API reference, "Idempotent requests", "Meter events", "Errors".
"""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

METER_EVENTS = "/v1/billing/meter_events"
REQUESTS, ANSWER = "requests.jsonl", "answer.json"
HOWS = ("ok", "fail", "limit", "refuse", "drop", "delay")
MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Row:
    """One request. status: None if no answer went out. applied: it changed what is billed. replayed: the answer to an
    earlier request with the same key."""

    t_s: float
    path: str
    key: str | None
    parameters: dict[str, str]
    status: int | None
    applied: bool
    replayed: bool
    how: str


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]


class Provider:
    """What it has taken. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._answered: dict[str, tuple[dict[str, str], Answer]] = {}  # by Idempotency-Key
        self._identifiers: set[str] = set()
        self._spent: tuple[int, int] = (0, 0)  # (when the wish was written, requests that it was granted to)

    def how(self) -> tuple[str, float]:
        """How to answer this request, and after how many seconds."""
        try:
            path = self.folder / ANSWER
            written = path.stat().st_mtime_ns
            wish = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "ok", 0.0
        with self._lock:
            since, spent = self._spent
            spent = spent if since == written else 0
            if wish.get("times") is not None and spent >= wish["times"]:
                return "ok", 0.0
            self._spent = (written, spent + 1)
        return str(wish["how"]), float(wish.get("delay_s") or 0.0)

    def take(self, key: str | None, parameters: dict[str, str]) -> tuple[Answer, bool, bool]:
        """(answer, applied, replayed) of a meter event."""
        with self._lock:
            if key is not None and key in self._answered:
                before, answer = self._answered[key]
                if before != parameters:
                    return error(400, "idempotency_error", "the key was used with other parameters"), False, False
                return answer, False, True
            answer, applied = self._event(parameters)
            if key is not None:
                self._answered[key] = (parameters, answer)
            return answer, applied, False

    def _event(self, given: dict[str, str]) -> tuple[Answer, bool]:
        for name in ("event_name", "payload[stripe_customer_id]", "payload[value]"):
            if not given.get(name):
                return error(400, "invalid_request_error", f"Missing required param: {name}."), False
        if not given["payload[value]"].isdigit():
            return error(400, "invalid_request_error", "the value is no whole number"), False
        if not given.get("timestamp", "0").isdecimal():
            return error(400, "invalid_request_error", "the timestamp is no whole number of seconds"), False
        identifier = given.get("identifier")
        if identifier is not None and identifier in self._identifiers:
            text = f"An event already exists with identifier {identifier}."
            return error(400, "invalid_request_error", text, "resource_already_exists"), False
        self._identifiers.add(identifier or "")
        taken = {"object": "billing.meter_event", "created": int(time.time()), "livemode": False}
        return Answer(200, {**taken, "event_name": given["event_name"], "identifier": identifier}), True

    def note(self, row: Row) -> None:
        with self._lock, (self.folder / REQUESTS).open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(row)) + "\n")


def error(status: int, kind: str, message: str, code: str | None = None) -> Answer:
    return Answer(status, {"error": {"type": kind, "code": code, "message": message}})


def signature(secret: str, body: bytes, at_s: float | None = None) -> str:
    """The Stripe-Signature header of a webhook."""
    stamp = str(int(time.time() if at_s is None else at_s))
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        raw = self.rfile.read(min(int(length), MAX_BYTES)) if length.isdigit() else b""
        parameters = dict(parse_qsl(raw.decode("utf-8", "replace")))
        how, delay_s = self.provider.how()
        answer, applied, replayed = self._decide(how, parameters)
        time.sleep(delay_s if how == "delay" else 0.0)  # asked for: a provider that takes its time
        sent = None if how in ("drop", "refuse") else answer.status
        key = self.headers.get("Idempotency-Key")
        self.provider.note(Row(time.time(), self.path, key, parameters, sent, applied, replayed, how))
        if sent is None:
            self.close_connection = True
            return
        body = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if replayed:
            self.send_header("Idempotent-Replayed", "true")
        self.end_headers()
        self.wfile.write(body)

    def _decide(self, how: str, parameters: dict[str, str]) -> tuple[Answer, bool, bool]:
        if how == "fail":
            return error(500, "api_error", "An unknown error occurred."), False, False
        if how == "limit":
            return error(429, "rate_limit_error", "Too many requests.", "rate_limit"), False, False
        if how == "refuse":
            return error(503, "api_error", "not sent"), False, False
        if not self.headers.get("Authorization", "").startswith("Bearer sk_test_"):
            return error(401, "invalid_request_error", "Invalid API Key provided."), False, False
        if self.path != METER_EVENTS:
            return error(404, "invalid_request_error", f"Unrecognized request URL (POST: {self.path})."), False, False
        return self.provider.take(self.headers.get("Idempotency-Key"), parameters)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Rows are in the record."""


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    Handler.provider = Provider(folder)
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main()
