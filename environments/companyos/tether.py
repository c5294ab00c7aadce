"""The tether: signed policy comes down it, pulled by the node. When it is cut, the last policy that was good stays
in force.

Control keeps the published policy as the text it was given and serves it; only the nodes judge it. A node swaps to a
policy that is genuine, newer than its own and compiles, keeps it on disk, and verifies it again when it starts.
"""

from __future__ import annotations

import hashlib
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import files, jws, log, outgoing, upload
from environments.companyos.errors import ApiError
from environments.companyos.policy import PolicyAway, PolicyError
from environments.companyos.services import Services

MAX_POLICY_BYTES = 2 * 1024 * 1024
MAX_BACKOFF_S = 5.0
CODES = {
    jws.Reason.MALFORMED: "POLICY_MALFORMED",
    jws.Reason.UNSIGNED: "POLICY_SIGNATURE",
    jws.Reason.SIGNATURE: "POLICY_SIGNATURE",
    jws.Reason.ALGORITHM: "POLICY_SIGNATURE",
    jws.Reason.KEY: "POLICY_SIGNATURE",
    jws.Reason.TYPE: "POLICY_SIGNATURE",
}


class Refused(Exception):
    """A policy that is not put in force; `code` is one of the contract's POLICY_ reasons."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class State:
    """The poller's memory. Times are those of the node's clock, seconds since the epoch."""

    confirmed_at: float | None = None  # when control last said that the policy in force is the current one
    last_error: str | None = None
    etag: str | None = None  # of what was last judged, good or bad
    judged: str | None = None  # why that was refused
    failures: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


def state(services: Services) -> State:
    found: State = services.extra.setdefault("tether", State())
    return found


def kept_file(services: Services) -> Path:
    return services.config.data_dir / "policy" / f"{services.role}.jws"


# the node's side


def start(services: Services) -> None:
    """Put the last good policy in force, then poll in a thread of its own."""
    reload(services)
    services.policy.live = True
    if services.config.control_url is not None:
        threading.Thread(target=run, args=(services,), name="tether", daemon=True).start()


def reload(services: Services) -> None:
    """The kept policy, verified again: the disk is not trusted more than the wire."""
    try:
        text = kept_file(services).read_bytes()
        state(services).confirmed_at = kept_file(services).stat().st_mtime
    except OSError:
        return
    try:
        accept(services, text, keep=False)
    except Refused as error:
        state(services).last_error = error.code
        log.warning("kept policy refused", code=error.code)


def run(services: Services) -> None:
    assert services.config.control_url is not None
    channel = outgoing.Channel(services.config.control_url)
    mine = state(services)
    while not mine.stop.is_set():
        poll(services, channel)
        mine.stop.wait(pause_s(services, mine.failures))


def pause_s(services: Services, failures: int) -> float:
    """The poll interval; after failures twice as long each time up to MAX_BACKOFF_S, with jitter."""
    longest = min(services.config.policy_poll_s * 2**failures, max(MAX_BACKOFF_S, services.config.policy_poll_s))
    return longest if failures == 0 else random.uniform(longest / 2, longest)


def poll(services: Services, channel: outgoing.Channel) -> None:
    """Ask once. Never raises: whatever is wrong is in last_error, and the policy in force stays."""
    mine = state(services)
    try:
        answer = fetch(channel, mine.etag)
        mine.failures = 0
        if answer.status == 200:
            mine.etag, mine.judged = answer.headers.get("etag"), None
            accept(services, answer.body, keep=True)
        mine.last_error = mine.judged if answer.status in (200, 304, 404) else f"HTTP_{answer.status}"
        if mine.last_error is None:
            mine.confirmed_at = services.clock.now()
    except outgoing.LinkError as error:
        mine.failures = min(mine.failures + 1, 10)
        mine.last_error = f"UNREACHABLE: {error}"
    except Refused as error:
        mine.last_error = mine.judged = error.code
        log.warning("policy refused", code=error.code)
    except PolicyAway as error:
        mine.etag = None  # not judged: it is asked for again
        mine.last_error = f"POLICY_UNAVAILABLE: {error}"
        log.warning("policy not taken", code=str(error))
    except Exception as error:  # the thread must live: it is the only way to newer policy
        mine.failures = min(mine.failures + 1, 10)
        mine.last_error = f"ERROR: {type(error).__name__}"
        log.crash("tether", error)


def fetch(channel: outgoing.Channel, etag: str | None) -> outgoing.Answer:
    headers = {"If-None-Match": etag} if etag else {}
    return channel.request("GET", "/v1/policy/bundle", headers=headers, answer_bytes=64 * 1024)


def accept(services: Services, text: bytes, *, keep: bool) -> None:
    """Judge a policy and put it in force. Refused: the one in force stays. The same one again changes nothing."""
    payload = verify(services, text)
    revision, digest = payload["revision"], hashlib.sha256(text).hexdigest()
    if revision == services.policy.revision and digest == services.policy.digest:
        return
    check_revision(services, revision)
    if services.policy.kind == "opa" and not isinstance(payload.get("opa"), str):
        raise Refused("POLICY_SIGNATURE")
    try:
        services.policy.load(payload["modules"], revision, digest, payload.get("opa"))
    except PolicyError:
        raise Refused("POLICY_MALFORMED") from None
    if keep:
        files.write_atomic(kept_file(services), text)


def verify(services: Services, text: bytes) -> dict[str, Any]:
    """The payload of a genuine policy of the right shape."""
    try:
        payload = jws.verify(text, services.config.trust_roots, "policy", max_bytes=MAX_POLICY_BYTES).payload
    except jws.JwsError as error:
        raise Refused(CODES[error.reason]) from None
    revision, modules = payload.get("revision"), payload.get("modules")
    if type(revision) is not int or revision >= 1 << 53 or not isinstance(modules, dict) or not modules:
        raise Refused("POLICY_MALFORMED")
    if not all(isinstance(source, str) for source in modules.values()):
        raise Refused("POLICY_MALFORMED")
    return payload


def check_revision(services: Services, revision: int) -> None:
    """Revisions rise; another policy of the revision in force is no rise."""
    if revision <= services.policy.revision:
        raise Refused("POLICY_ROLLBACK")


def status(services: Services) -> dict[str, Any]:
    """`{revision, digest, age_s, last_error}`. `age_s`: seconds since control last confirmed the policy in force (or
    since it was put in force, if it never did), by the node's clock."""
    mine = state(services)
    since = mine.confirmed_at if mine.confirmed_at is not None else services.policy.loaded_at
    return {
        "revision": services.policy.revision,
        "digest": services.policy.digest,
        "age_s": round(max(0.0, services.clock.now() - since), 3),
        "last_error": mine.last_error or services.policy.last_error,
    }


# control's side


def published_file(services: Services) -> Path:
    return services.config.data_dir / "published-policy"


def publish(services: Services, text: bytes) -> None:
    """Keep the text as it is. It is not judged here: control could not make a bad policy good."""
    files.write_atomic(published_file(services), text)


def control_routes(services: Services) -> list[Route]:
    async def put(request: Request) -> Response:
        principal = await run_in_threadpool(services.require_operator, request)
        text = await upload.read(request, MAX_POLICY_BYTES, "INVALID", 413)
        if not text:
            raise ApiError("INVALID", message="an empty policy")
        await run_in_threadpool(publish, services, text)
        etag = hashlib.sha256(text).hexdigest()
        await run_in_threadpool(
            services.audit.append, principal.tenant, principal.sub, "policy.publish", "policy", etag[:16]
        )
        return JSONResponse({"etag": etag})

    def serve(request: Request) -> Response:
        try:
            text = published_file(services).read_bytes()
        except FileNotFoundError:
            raise ApiError("NOT_FOUND", message="no policy is published") from None
        etag = f'"{hashlib.sha256(text).hexdigest()}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        return Response(text, media_type="application/jose", headers={"ETag": etag})

    return [Route("/v1/policy", put, methods=["PUT"]), Route("/v1/policy/bundle", serve)]
