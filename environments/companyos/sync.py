"""The edge's half of sync: a thread that carries the durable outbox to the parent. GET /v1/sync tells where it stands.

A write is acknowledged to its client with its outbox row on disk, so nothing here can lose one: operations leave the
outbox only after the parent says that it has committed them, and what is sent twice is applied once. One connection
carries batch after batch; the first fault closes it, and the next attempt starts afresh after a pause that grows and
is never the same. The parent's half is in sync_receiver.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from environments.companyos import jws, log, outgoing
from environments.companyos.errors import ApiError
from environments.companyos.services import Services

FIRST_BATCH_BYTES = 4 * 1024  # four seconds at 8 kbit/s: a cut costs little
MAX_BATCH_BYTES = 256 * 1024
MAX_BATCH_OPS = 500
BACKOFF_S = 0.25
MAX_BACKOFF_S = 4.0


@dataclass
class State:
    """The pusher's memory; what must survive is in the store."""

    contact_at: float | None = None  # monotonic: when the parent last answered
    last_error: str | None = None
    token: str | None = None
    batch_bytes: int = FIRST_BATCH_BYTES
    failures: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


class Refused(Exception):
    """The parent answered, and not with an acknowledgement. `code`: its error code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def state(services: Services) -> State:
    found: State = services.extra.setdefault("sync", State())
    return found


def start(services: Services) -> None:
    """Carry the outbox in a thread of its own; an edge without a parent keeps it."""
    if services.config.parent_url is not None and services.config.enrolment is not None:
        threading.Thread(target=run, args=(services,), name="sync", daemon=True).start()


def run(services: Services) -> None:
    config, mine = services.config, state(services)
    assert config.parent_url is not None
    data = outgoing.Channel(config.parent_url)
    identity = outgoing.Channel(config.parent_identity_url or config.parent_url)
    while not mine.stop.is_set():
        attempt(services, data, identity)
        mine.stop.wait(pause_s(services, mine.failures))


def pause_s(services: Services, failures: int) -> float:
    """Between attempts: the sync interval, or after failures a pause that doubles to MAX_BACKOFF_S, half of it
    random."""
    if failures == 0:
        return services.config.sync_interval_s
    longest = min(BACKOFF_S * 2 ** min(failures, 10), MAX_BACKOFF_S)
    return random.uniform(longest / 2, longest)


def attempt(services: Services, data: outgoing.Channel, identity: outgoing.Channel) -> None:
    """Drain the outbox as far as it goes. Never raises: faults are in last_error, counted, and the outbox stays."""
    mine = state(services)
    try:
        while push(services, data, identity):
            mine.batch_bytes = min(mine.batch_bytes * 2, MAX_BATCH_BYTES)
        mine.failures, mine.last_error = 0, None
    except outgoing.LinkError as error:
        mine.batch_bytes = max(mine.batch_bytes // 4, FIRST_BATCH_BYTES)
        failed(services, f"UNREACHABLE: {error}")
    except (Refused, ApiError) as error:
        failed(services, error.code)
    except Exception as error:  # the thread must live: it is the only way out for the data
        log.crash("sync", error)
        failed(services, f"ERROR: {type(error).__name__}")
    finally:
        if mine.failures:
            data.close()
            identity.close()


def failed(services: Services, why: str) -> None:
    """Count it; one log line per cause, not per attempt."""
    mine = state(services)
    if mine.last_error != why:
        log.warning("sync failed", code=why)
    mine.failures, mine.last_error = mine.failures + 1, why


def push(services: Services, data: outgoing.Channel, identity: outgoing.Channel) -> bool:
    """Send one batch and forget what the parent committed. False when the outbox is empty."""
    first_seq, through_seq, ops = next_batch(services)
    if through_seq < first_seq:
        return False
    acked = send(services, data, identity, encode(services, first_seq, through_seq, ops))
    state(services).contact_at = time.monotonic()
    if acked < first_seq:
        raise Refused("NOT_ACKNOWLEDGED")
    services.store.ack_outbox(min(acked, through_seq))
    return True


def next_batch(services: Services) -> tuple[int, int, list[dict[str, Any]]]:
    """-> (first and last seq that the batch speaks for, its operations in order of seq). Operations of other tenants
    than the enrolled one are nobody's business at the parent: the batch speaks for them and leaves them out."""
    assert services.config.enrolment is not None
    acked = through = services.store.acked_seq()
    ops: list[dict[str, Any]] = []
    size = 0
    for op in services.store.outbox_after(acked, MAX_BATCH_OPS):
        if op["tenant"] != services.config.enrolment.tenant:
            through = op["seq"]
            continue
        size += len(jws.canonical(op["doc"])) + 120
        if ops and size > state(services).batch_bytes:
            break
        ops.append({name: op[name] for name in ("seq", "op_id", "kind", "doc")})
        through = op["seq"]
    return acked + 1, through, ops


def encode(services: Services, first_seq: int, through_seq: int, ops: list[dict[str, Any]]) -> bytes:
    batch: dict[str, Any] = {"node_id": services.config.node_id, "first_seq": first_seq, "ops": ops}
    if not ops or through_seq > ops[-1]["seq"]:
        batch["through_seq"] = through_seq
    return jws.canonical(batch)


def send(services: Services, data: outgoing.Channel, identity: outgoing.Channel, body: bytes) -> int:
    """-> the parent's acked_seq. Signs in when there is no token, and once more when the parent no longer takes it."""
    mine = state(services)
    fresh = mine.token is None
    token = mine.token or sign_in(services, identity)
    mine.token = token
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answer = data.request("POST", "/v1/sync/batches", body, headers)
    if answer.status == 401:
        mine.token = None
        if fresh:
            raise Refused("UNAUTHENTICATED")
        return send(services, data, identity, body)
    if answer.status != 200:
        raise Refused(error_code(answer))
    acked = document(answer).get("acked_seq")
    if document(answer).get("conflicts"):
        raise Refused("SYNC_CLONED")  # these numbers were used for other operations: keep ours until a person looks
    if type(acked) is not int:
        raise Refused("BAD_ANSWER")
    return acked


def sign_in(services: Services, identity: outgoing.Channel) -> str:
    """A token of the node's account at its parent."""
    account = services.config.enrolment
    assert account is not None
    body = {"tenant": account.tenant, "username": account.username, "password": account.password}
    headers = {"Content-Type": "application/json"}
    answer = identity.request("POST", "/v1/auth/login", json.dumps(body).encode(), headers)
    token = document(answer).get("accessToken")
    if answer.status != 200 or not isinstance(token, str):
        raise Refused(error_code(answer))
    return token


def document(answer: outgoing.Answer) -> dict[str, Any]:
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def error_code(answer: outgoing.Answer) -> str:
    """The code of an error answer, or HTTP_<status> if it has none."""
    error = document(answer).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and code.isascii() and len(code) <= 64 else f"HTTP_{answer.status}"


def status(services: Services) -> dict[str, Any]:
    """`{backlog, acked_seq, last_contact_s, last_error}`; `last_contact_s`: seconds since the parent last
    acknowledged, null before the first time since start."""
    return {
        "backlog": services.store.backlog(),
        "acked_seq": services.store.acked_seq(),
        "last_contact_s": since_contact_s(services),
        "last_error": state(services).last_error,
    }


def since_contact_s(services: Services) -> float | None:
    at = state(services).contact_at
    return None if at is None else round(time.monotonic() - at, 3)


def standing(services: Services, tenant: str) -> dict[str, Any]:
    """What people of a tenant may know of it."""
    return {"backlog": services.store.backlog(tenant), "last_contact_s": since_contact_s(services)}


def routes(services: Services) -> list[BaseRoute]:
    """The edge's status, or the parent's receiver."""
    if services.config.mode != "D":
        from environments.companyos import sync_receiver

        return sync_receiver.routes(services)

    def get_sync(request: Request) -> Response:
        services.require_operator(request)
        return JSONResponse(status(services))

    return [Route("/v1/sync", get_sync, methods=["GET"])]
