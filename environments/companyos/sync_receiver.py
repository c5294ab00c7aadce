"""The parent's half of sync: apply an edge's batch in one transaction, acknowledge after its commit.

An operation that cannot be applied is put into quarantine with its reason, and does not hold up those behind it. A
number that arrives again under another operation id tells of a cloned or rolled back edge: it has no effect, and the
answer names it in `conflicts`, so that the edge keeps what it would otherwise forget.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from environments.companyos import jws, log, upload
from environments.companyos.errors import TRY_AGAIN, ApiError
from environments.companyos.services import Principal, Services

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_OPS = 5000
REMEMBERED = 2000  # operation ids kept per node, to recognise a clone
KINDS = frozenset({"entity.put", "entity.delete", "relationship.put", "relationship.delete"})


@dataclass(frozen=True)
class Batch:
    """`through_seq`: the batch speaks for all numbers from first_seq to this one, and its `ops` are all there are."""

    node_id: str
    first_seq: int
    through_seq: int
    ops: list[dict[str, Any]]


def parse(raw: bytes) -> Batch:
    """ApiError INVALID unless seqs rise from first_seq on."""
    try:
        body = jws.parse_json(raw)
    except jws.JwsError:
        raise ApiError("INVALID", message="the body is not JSON") from None
    if not isinstance(body, dict):
        raise ApiError("INVALID", message="the body is not an object")
    node_id, first, ops = body.get("node_id"), body.get("first_seq"), body.get("ops")
    if not is_seq(first) or not isinstance(node_id, str) or not isinstance(ops, list) or len(ops) > MAX_OPS:
        raise ApiError("INVALID", message="node_id, first_seq and ops are required")
    last = first - 1
    for op in ops:
        if not isinstance(op, dict) or not is_seq(op.get("seq")) or op["seq"] <= last:
            raise ApiError("INVALID", message="operations are in order of seq, from first_seq on")
        if not isinstance(op.get("op_id"), str) or len(op["op_id"]) > 200:
            raise ApiError("INVALID", message="an operation has an op_id")
        last = op["seq"]
    through = body.get("through_seq", last)
    if type(through) is not int or not last <= through < 1 << 62:
        raise ApiError("INVALID", message="through_seq is not below the last operation")
    return Batch(node_id, first, through, ops)


def is_seq(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 < value < 1 << 62


def check_sender(principal: Principal, node_id: str) -> None:
    """A node speaks for itself alone."""
    if principal.sub != f"node:{node_id}":
        raise ApiError("FORBIDDEN", message="not the account of this node")


def receive(services: Services, principal: Principal, batch: Batch) -> dict[str, Any]:
    """Apply and commit, then `{acked_seq}`, and `conflicts` where there are any. ApiError CONFLICT for a gap."""
    tenant = principal.tenant
    known = recall(services, tenant, batch.node_id)
    conflicts = [op["seq"] for op in batch.ops if known.get(str(op["seq"]), op["op_id"]) != op["op_id"]]
    try:
        acked = apply_batch(services, tenant, batch)
    except Poisoned:
        acked = apply_singly(services, principal, batch)
    remember(services, tenant, batch, known)
    if not conflicts:
        return {"acked_seq": acked}
    log.warning("cloned or rolled back edge", sender=batch.node_id, count=len(conflicts))
    services.audit.append(tenant, principal.sub, "sync.conflict", "operation", str(conflicts[0]), "CONFLICT")
    return {"acked_seq": acked, "conflicts": conflicts[:100]}


class Poisoned(Exception):
    """An operation of the batch cannot be applied."""


def apply_batch(services: Services, tenant: str, batch: Batch) -> int:
    """All operations in one transaction; the mark after its commit."""
    try:
        with services.store.transaction(tenant) as tx:
            for op in batch.ops:
                skip(tx, batch, op["seq"] - 1)
                tx.apply_sync_op(batch.node_id, op["seq"], op)
            skip(tx, batch, batch.through_seq)
            acked: int = tx.sync_mark(batch.node_id)
    except (ApiError, ValueError) as error:
        if isinstance(error, ApiError) and error.code in {"CONFLICT", *TRY_AGAIN}:
            raise
        raise Poisoned from error
    return acked


def skip(tx: Any, batch: Batch, seq: int) -> None:
    """Numbers from first_seq on that the batch leaves out were never meant for this parent: no gap."""
    if batch.first_seq <= tx.sync_mark(batch.node_id) + 1 <= seq:
        tx.advance_sync_mark(batch.node_id, seq)


def apply_singly(services: Services, principal: Principal, batch: Batch) -> int:
    """Each operation in a transaction of its own; those that fail go into quarantine."""
    for op in batch.ops:
        try:
            apply_batch(services, principal.tenant, replace(batch, through_seq=op["seq"], ops=[op]))
        except Poisoned as error:
            quarantine(services, principal, batch, op, error.__cause__)
    return apply_batch(services, principal.tenant, replace(batch, ops=[]))


def quarantine(
    services: Services, principal: Principal, batch: Batch, op: dict[str, Any], cause: BaseException | None
) -> None:
    """Keep the operation and its reason, count its seq as handled."""
    reason = cause.code if isinstance(cause, ApiError) else "INVALID"
    key = f"quarantine.{principal.tenant}.{batch.node_id}.{op['seq']}"
    with services.store.transaction(principal.tenant) as tx:
        kept = tx.seal(key, json.dumps(op))
    services.store.meta_set(key, json.dumps({"reason": reason, "op": kept}))
    log.warning("operation quarantined", seq=op["seq"], code=reason)
    with services.store.transaction(principal.tenant) as tx:
        skip(tx, batch, op["seq"])
        entry = services.audit.entry(
            principal.tenant, principal.sub, "sync.quarantine", "operation", str(op["seq"]), reason
        )
        tx.append_audit(entry)


# which operation a number was


def memory_key(tenant: str, node_id: str) -> str:
    return f"sync.ids.{tenant}.{node_id}"


def recall(services: Services, tenant: str, node_id: str) -> dict[str, str]:
    return dict(json.loads(services.store.meta_get(memory_key(tenant, node_id)) or "{}"))


def remember(services: Services, tenant: str, batch: Batch, known: dict[str, str]) -> None:
    """After the commit; the first operation of a number is the one that counts."""
    new = {str(op["seq"]): op["op_id"] for op in batch.ops} | known
    if new != known:
        newest = sorted(new, key=int)[-REMEMBERED:]
        services.store.meta_set(memory_key(tenant, batch.node_id), json.dumps({seq: new[seq] for seq in newest}))


def routes(services: Services) -> list[BaseRoute]:
    async def batches(request: Request) -> Response:
        principal = await run_in_threadpool(services.authenticate, request)
        raw = await upload.read(request, MAX_BODY_BYTES, "INVALID", 413)
        batch = await run_in_threadpool(parse, raw)
        check_sender(principal, batch.node_id)
        await run_in_threadpool(services.authorize, principal, "sync.write", "sync")
        return JSONResponse(await run_in_threadpool(receive, services, principal, batch))

    return [Route("/v1/sync/batches", batches, methods=["POST"])]
