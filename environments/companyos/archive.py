"""The export archive: which fields of a document travel, their canonical digest, and the shapes that are accepted."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from environments.companyos import jws, tarstream
from environments.companyos.errors import ApiError
from environments.companyos.storage.base import Doc
from environments.companyos.storage.rows import known_id

FORMAT = "companyos-export"
MANIFESTS = ("export.jws", "manifest.jws")  # the first member is named so
CERTIFICATE = "export-key.jws"
MAX_LINE_BYTES = 16 * 1024 * 1024
# Fields that the digest covers: what a migration must keep. Times are the server's, the tenant is the archive's.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "entity": ("id", "kind", "labels", "props", "createdBy", "version"),
    "relationship": ("id", "srcId", "dstId", "type", "props"),
    "investigation": ("id", "name", "description", "status", "entityIds"),
    "run": ("id", "runbook", "input", "createdBy"),
}
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_STATES = {"QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "ABORTED"}


@dataclass(frozen=True)
class Archive:
    """An archive that was read, signed by somebody trusted, and holds what it says."""

    manifest: Mapping[str, Any]
    documents: Mapping[str, Sequence[Doc]]  # by type, in the order of FIELDS


def refuse(reason: str, message: str) -> ApiError:
    """The refusal `IMPORT_<reason>` (422)."""
    return ApiError(f"IMPORT_{reason}", 422, message)


def line(type_: str, doc: Mapping[str, Any]) -> str:
    """Canonical JSON of the fields that the digest covers."""
    kept = {name: doc.get(name) for name in FIELDS[type_]}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(type_: str, docs: Sequence[Mapping[str, Any]]) -> str:
    """The contract's canonical digest: SHA-256 over the lines in order of id."""
    ordered = sorted(docs, key=lambda doc: str(doc["id"]))
    return hashlib.sha256("\n".join(line(type_, doc) for doc in ordered).encode()).hexdigest()


def member(docs: Sequence[Mapping[str, Any]]) -> bytes:
    """The `.jsonl` member of these documents."""
    return b"".join(jws.canonical(doc) + b"\n" for doc in docs)


# reading


def entries(fd: int) -> dict[str, bytes]:
    """name -> content, in the order of the archive. IMPORT_MALFORMED unless it is what an export may hold."""
    allowed = {*MANIFESTS, CERTIFICATE, *(f"{type_}.jsonl" for type_ in FIELDS)}
    found: dict[str, bytes] = {}
    try:
        for entry in tarstream.members(fd, os.fstat(fd).st_size):
            if entry.kind != tarstream.FILE or entry.path not in allowed or entry.path in found:
                raise refuse("MALFORMED", "a member that an export does not have")
            found[entry.path] = b"".join(tarstream.content(fd, entry))
    except tarstream.TarError as error:
        raise refuse("MALFORMED", str(error)) from None
    if next(iter(found), None) not in MANIFESTS:
        raise refuse("MALFORMED", "the first member is no manifest")
    return found


def documents(type_: str, raw: bytes, tenant: str) -> list[Doc]:
    """The documents of a member, of the right shape and tenant. IMPORT_MALFORMED."""
    found: list[Doc] = []
    for text in raw.split(b"\n"):
        if not text:
            continue
        try:
            doc = jws.parse_json(text)
        except jws.JwsError:
            raise refuse("MALFORMED", f"{type_}: a line is not JSON") from None
        if not isinstance(doc, dict) or len(text) > MAX_LINE_BYTES or not well_formed(type_, doc):
            raise refuse("MALFORMED", f"{type_}: a document of another shape")
        if doc["tenantId"] != tenant:
            raise refuse("MALFORMED", f"{type_}: a document of another tenant")
        found.append(doc)
    if len({doc["id"].lower() for doc in found}) != len(found):
        raise refuse("MALFORMED", f"{type_}: an id twice")
    return found


def check_references(found: Mapping[str, Sequence[Doc]]) -> None:
    """IMPORT_MALFORMED unless every reference leads to an entity of the archive."""
    known = {doc["id"].lower() for doc in found.get("entity", ())}
    ends = [doc[end] for doc in found.get("relationship", ()) for end in ("srcId", "dstId")]
    ends += [id_ for doc in found.get("investigation", ()) for id_ in doc["entityIds"]]
    if any(end.lower() not in known for end in ends):
        raise refuse("MALFORMED", "a reference to an entity that is not there")


def well_formed(type_: str, doc: Mapping[str, Any]) -> bool:
    """Exactly the fields of the type, each of its kind."""
    checks = SHAPES[type_]
    return doc.keys() == checks.keys() and all(check(doc[name]) for name, check in checks.items())


def is_id(value: Any) -> bool:
    return known_id(value) is not None


def is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(is_text(item) for item in value)


def is_ids(value: Any) -> bool:
    return isinstance(value, list) and all(is_id(item) for item in value)


def is_stamp(value: Any) -> bool:
    return isinstance(value, str) and _STAMP.fullmatch(value) is not None


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_anything(value: Any) -> bool:
    return True


def is_version(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 31


def is_steps(value: Any) -> bool:
    fields = {"name", "state", "effect"}
    return isinstance(value, list) and all(isinstance(step, dict) and step.keys() == fields for step in value)


_OWN = {"id": is_id, "tenantId": is_text, "createdAt": is_stamp}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "entity": {
        **_OWN,
        "kind": is_text,
        "labels": is_texts,
        "props": is_object,
        "updatedAt": is_stamp,
        "createdBy": is_text,
        "version": is_version,
    },
    "relationship": {**_OWN, "srcId": is_id, "dstId": is_id, "type": is_text, "props": is_object},
    "investigation": {
        **_OWN,
        "name": is_text,
        "description": lambda value: value is None or is_text(value),
        "status": is_text,
        "entityIds": is_ids,
    },
    "run": {
        **_OWN,
        "runbook": is_text,
        "state": lambda value: value in _STATES if isinstance(value, str) else False,
        "input": is_anything,
        "steps": is_steps,
        "createdBy": is_text,
    },
}
