"""Rows to documents and back. The same for both databases: text, integers and JSON as text."""

from __future__ import annotations

import json
import re
from typing import Any

from environments.companyos.errors import ApiError
from environments.companyos.storage.base import Doc

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

ENTITY = "id, tenant_id, kind, labels, props, created_at, updated_at, created_by, version"
RELATIONSHIP = "id, tenant_id, src_id, dst_id, type, props, created_at"
INVESTIGATION = "id, tenant_id, name, description, status, created_at"
RUN = "id, tenant_id, runbook, state, input, steps, created_by, created_at"
USER = "tenant_id, username, password_hash, roles, disabled"
START_AT = "startAt"  # the one key of a run's input that is the product's
AUDIT = "seq, at, tenant, actor, action, object_type, object_id, outcome, prev, hash"


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def known_id(id_: Any) -> str | None:
    """The id in lower case if it is a UUID; None if it cannot be the id of anything."""
    return id_.lower() if isinstance(id_, str) and _UUID.fullmatch(id_) else None


def required_id(id_: Any, code: str = "NOT_FOUND") -> str:
    known = known_id(id_)
    if known is None:
        raise ApiError(code, message="no such object" if code == "NOT_FOUND" else "an id must be a UUID")
    return known


def storable(value: Any, depth: int = 0) -> bool:
    """Do both databases keep it: no NUL, no lone surrogate, no infinity, not nested without end."""
    if isinstance(value, str):
        return "\0" not in value and not any(0xD800 <= ord(c) <= 0xDFFF for c in value if c > "\ud7ff")
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    if isinstance(value, dict):
        return depth < 32 and all(storable(k) and storable(v, depth + 1) for k, v in value.items())
    if isinstance(value, list):
        return depth < 32 and all(storable(v, depth + 1) for v in value)
    return True


def search_text(kind: str, labels: list[str], props: dict[str, Any]) -> str:
    """What search looks in, folded here because the databases fold differently."""
    found: list[str] = [kind, *labels]

    def walk(value: Any) -> None:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(props)
    return "\n".join(found).casefold()


def entity(row: tuple[Any, ...]) -> Doc:
    return {
        "id": row[0],
        "tenantId": row[1],
        "kind": row[2],
        "labels": json.loads(row[3]),
        "props": json.loads(row[4]),
        "createdAt": row[5],
        "updatedAt": row[6],
        "createdBy": row[7],
        "version": row[8],
    }


def relationship(row: tuple[Any, ...]) -> Doc:
    return {
        "id": row[0],
        "tenantId": row[1],
        "srcId": row[2],
        "dstId": row[3],
        "type": row[4],
        "props": json.loads(row[5]),
        "createdAt": row[6],
    }


def investigation(row: tuple[Any, ...], entity_ids: list[str]) -> Doc:
    return {
        "id": row[0],
        "tenantId": row[1],
        "name": row[2],
        "description": row[3],
        "status": row[4],
        "createdAt": row[5],
        "entityIds": entity_ids,
    }


def run(row: tuple[Any, ...]) -> Doc:
    return {
        "id": row[0],
        "tenantId": row[1],
        "runbook": row[2],
        "state": row[3],
        "input": json.loads(row[4]),
        "steps": json.loads(row[5]),
        "createdBy": row[6],
        "createdAt": row[7],
    }


def start_at(run: Doc) -> str | None:
    """When a scheduled run is due. Kept in its input, so that it travels wherever the input does."""
    found = run["input"].get(START_AT) if isinstance(run["input"], dict) else None
    return found if isinstance(found, str) else None


def user(row: tuple[Any, ...]) -> Doc:
    return {
        "tenantId": row[0],
        "username": row[1],
        "passwordHash": row[2],
        "roles": json.loads(row[3]),
        "disabled": bool(row[4]),
    }


def audit(row: tuple[Any, ...]) -> Doc:
    names = ("seq", "at", "tenant", "actor", "action", "objectType", "objectId", "outcome", "prev", "hash")
    return dict(zip(names, row, strict=True))
