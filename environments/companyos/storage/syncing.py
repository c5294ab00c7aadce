"""Applying an edge's operations at its parent: each once, in order, the same result whatever arrives first.

The higher version of an object wins; equal versions are decided by the canonical text, so two parents that saw the same
operations hold the same objects. Wall clocks decide nothing. A delete is a version too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from environments.companyos.errors import ApiError
from environments.companyos.storage.base import Doc
from environments.companyos.storage.rows import canonical, known_id, storable

if TYPE_CHECKING:
    from environments.companyos.storage.sql import SqlTx


def apply(tx: SqlTx, node_id: str, seq: int, op: Doc) -> bool:
    """See storage.base.Tx.apply_sync_op."""
    mark = tx.sync_mark(node_id)
    if seq <= mark:
        return False
    if seq != mark + 1:
        raise ApiError("CONFLICT", message=f"operation {mark + 1} is missing before {seq}")
    kind, doc = str(op.get("kind")), op.get("doc")
    if not isinstance(doc, dict) or not well_formed(kind, doc):
        raise ApiError("INVALID", message="malformed operation")
    event: str | None
    if kind == "entity.put":
        event = put_entity(tx, doc)
    elif kind == "entity.delete":
        event = delete_entity(tx, doc)
    elif kind == "relationship.put":
        event = put_relationship(tx, doc)
    else:
        event = "relationship.delete" if tx.delete_relationship(doc["id"]) else None
    tx.advance_sync_mark(node_id, seq)
    if event is not None:
        tx.append_event(event, event.partition(".")[0], doc["id"])
    return True


TEXTS = {
    "entity.put": ("kind", "createdAt", "updatedAt", "createdBy"),
    "entity.delete": (),
    "relationship.put": ("type", "createdAt", "srcId", "dstId"),
    "relationship.delete": (),
}


def well_formed(kind: str, doc: Doc) -> bool:
    """Does the operation say what its kind needs, in the types that the tables take?"""
    if kind not in TEXTS or known_id(doc.get("id")) is None or not storable(doc):
        return False
    if not all(isinstance(doc.get(name), str) and doc[name] for name in TEXTS[kind]):
        return False
    version = doc.get("version")
    if kind.startswith("entity.") and (type(version) is not int or not 0 < version < 1 << 31):
        return False
    labels = doc.get("labels")
    if kind == "entity.put" and not (isinstance(labels, list) and all(isinstance(item, str) for item in labels)):
        return False
    return not kind.endswith(".put") or isinstance(doc.get("props"), dict)


def wins(new: Doc, old: Doc) -> bool:
    """Does the arriving entity replace the one that is here?"""
    return (new["version"], _content(new)) > (old["version"], _content(old))


def _content(doc: Doc) -> str:
    return canonical({key: value for key, value in doc.items() if key != "tenantId"})


def put_entity(tx: SqlTx, doc: Doc) -> str | None:
    """The event of the change, None if nothing changed."""
    buried = tx.tombstone("entity", doc["id"])
    if buried is not None and buried >= doc["version"]:
        return None
    old = tx.lock_entity(doc["id"])
    if old is not None and not wins(doc, old):
        return None
    tx.put_entity(doc)
    return "entity.create" if old is None else "entity.update"


def delete_entity(tx: SqlTx, doc: Doc) -> str | None:
    """`doc` holds the id and the version of the deletion (one more than what was deleted)."""
    old = tx.lock_entity(doc["id"])
    version: int = doc["version"]
    if old is not None and old["version"] > version:
        return None
    if old is not None:
        tx.delete_entity(doc["id"])
    if version > (tx.tombstone("entity", doc["id"]) or 0):
        tx.bury("entity", doc["id"], version)
    return None if old is None else "entity.delete"


def put_relationship(tx: SqlTx, doc: Doc) -> str | None:
    """Skipped where an end is gone here: the edge will learn of the deletion, a dangling edge helps nobody."""
    if tx.tombstone("relationship", doc["id"]) is not None:
        return None
    if tx.get_entity(doc["srcId"]) is None or tx.get_entity(doc["dstId"]) is None:
        return None
    tx.put_relationship(doc)
    return "relationship.create"
