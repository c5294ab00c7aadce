"""Export and import on PostgreSQL: everything arrives as it was, or nothing does."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes import postgres_dsns
from offline_kit import VENDOR, code_of, node

from environments.companyos import archive, jws, migration, upload
from environments.companyos.services import Principal, Services

ADMIN = Principal("adam", "acme", ("admin",), 9e9)
OPERATOR = Principal("olga", "_system", ("operator",), 9e9)
STAMP = "2026-01-01T00:00:00.000001Z"
VALUES: list[Any] = [
    {},
    {"null": None, "empty": "", "list": [], "object": {}, "false": False, "zero": 0},
    {"nfc": "caf\u00e9", "nfd": "cafe\u0301", "emoji": "\U0001f6f0", "quotes": "'\"\\\n\t", "copy": "\\N"},
    {"big": "x" * 1_000_000},
    {"numbers": [9007199254740991, -1, 0.1, 5e-324, 1e22]},
]


def hosted(folder: Path, mode: str, variant: str, **more: Any) -> Services:
    admin, app = postgres_dsns()
    return node(folder, mode, variant, "data", postgres_admin_dsn=admin, postgres_app_dsn=app, **more)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    found = hosted(tmp_path_factory.mktemp("source"), "A", "saas")
    fill(found, "acme", VALUES)
    fill(found, "globex", [{"canary": "globex only"}])
    yield found
    found.store.close()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Services]:
    found = hosted(tmp_path, "B", "dedicated", seed_users=[])
    yield found
    found.store.close()


def fill(services: Services, tenant: str, values: list[Any]) -> None:
    own = {"tenantId": tenant, "createdAt": STAMP, "createdBy": "adam"}
    with services.store.transaction(tenant) as tx:
        ids = [str(uuid.uuid4()) for _ in values]
        for id_, props in zip(ids, values, strict=True):
            kept = {"kind": "Th\u00efng", "labels": ["\u4e09"], "version": 3, "updatedAt": STAMP}
            tx.put_entity({**own, **kept, "id": id_, "props": props})
        link = {**own, "srcId": ids[0], "dstId": ids[-1], "type": "SELF", "props": {"n": None}}
        tx.put_relationship({**link, "id": str(uuid.uuid4())})
        for name, text in (("one", None), ("two", ""), ("three", "d\u00e9tails")):
            found = {**own, "name": name, "description": text, "status": "ACTIVE", "entityIds": ids[:2]}
            tx.put_investigation({**found, "id": str(uuid.uuid4())})
        step = {"name": "fetch", "state": "PENDING", "effect": None}
        run = {**own, "runbook": "enrich", "state": "QUEUED", "input": RUN_INPUT, "steps": [step]}
        tx.put_run({**run, "id": str(uuid.uuid4())})


RUN_INPUT = {"a": None, "startAt": "2999-01-01T00:00:00.000000Z"}  # a schedule travels in the input


def offer(services: Services, raw: bytes) -> dict[str, Any]:
    path = upload.create(services)
    path.write_bytes(raw)
    try:
        return migration.import_(services, OPERATOR, path)
    finally:
        upload.discard(path)


def members(raw: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(raw)) as opened:
        return {info.name: opened.extractfile(info).read() for info in opened}  # type: ignore[union-attr]


def manifest(raw: bytes) -> dict[str, Any]:
    text = members(raw)["export.jws"].decode()
    found: dict[str, Any] = jws.parse_json(jws.decode_part(text.split(".")[1]))
    return found


def resigned(raw: bytes, *, key: str = "vendor", content: dict[str, bytes] | None = None, **changes: Any) -> bytes:
    payload = {name: value for name, value in {**manifest(raw), **changes}.items() if value is not None}
    found = {**members(raw), **(content or {}), "export.jws": VENDOR.sign("export", payload, key=key).encode()}
    return migration.pack(found)


def rows(services: Services, tenant: str) -> dict[str, Any]:
    with services.store.transaction(tenant, snapshot=True) as tx:
        return migration.read_all(tx)


def test_everything_arrives_as_it_was(source: Services, target: Services) -> None:
    raw = migration.export(source, ADMIN, "tenant")
    report = offer(target, raw)
    there, here = rows(target, "acme"), rows(source, "acme")
    assert report["verified"] is True
    assert report["counts"] == {"entity": 5, "relationship": 1, "investigation": 3, "run": 1}
    for type_ in ("entity", "relationship", "investigation"):
        assert there[type_] == here[type_]
        assert report["digests"][type_] == archive.digest(type_, here[type_])
    (run,) = there["run"]
    assert (run["state"], run["input"], [step["state"] for step in run["steps"]]) == ("ABORTED", RUN_INPUT, ["ABORTED"])
    assert target.store.queued_runs("9999") == []
    assert "acme" in target.store.tenants()
    assert code_of(offer, target, raw) == "IMPORT_NOT_EMPTY"
    assert rows(target, "acme") == there


def test_export_holds_the_tenant_alone_and_no_secret(source: Services) -> None:
    raw = migration.export(source, ADMIN, "tenant")
    for secret in (b"globex", b"scrypt$", b'"d":'):
        assert secret not in raw
    assert "caf\u00e9".encode() in raw


def test_a_transaction_that_does_not_see_the_tenant_exports_nothing(source: Services) -> None:
    stranger = Principal("adam", "nobody", ("admin",), 9e9)
    assert code_of(migration.export, source, stranger, "tenant") == "UNAVAILABLE"
    assert code_of(migration.export, source, ADMIN, "backup") == "UNSUPPORTED_IN_MODE"
    assert code_of(migration.export, source, ADMIN, "other") == "INVALID"


def test_export_is_of_one_moment(source: Services) -> None:
    """A writer links each new entity to the one before, while exports run: every reference is in the archive."""
    stop = threading.Event()
    tenant = f"t{uuid.uuid4().hex[:8]}"
    with source.store.transaction(tenant) as tx:
        tx.put_user({"username": "adam", "passwordHash": "x", "roles": ["admin"]})
    fill(source, tenant, [{"first": True}])

    def writer() -> None:
        while not stop.is_set():
            fill_one(source, tenant)

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        counts = set()
        for _ in range(5):
            found = members(migration.export(source, Principal("adam", tenant, ("admin",), 9e9), "tenant"))
            ids = {json.loads(line)["id"] for line in found["entity.jsonl"].splitlines()}
            ends = [json.loads(line) for line in found["relationship.jsonl"].splitlines()]
            assert all(end["srcId"] in ids and end["dstId"] in ids for end in ends)
            counts.add(len(ids))
    finally:
        stop.set()
        thread.join()
    assert len(counts) > 1, "nothing was written meanwhile"


def fill_one(services: Services, tenant: str) -> None:
    own = {"tenantId": tenant, "createdAt": STAMP, "createdBy": "adam"}
    one, two = str(uuid.uuid4()), str(uuid.uuid4())
    with services.store.transaction(tenant) as tx:
        for id_ in (one, two):
            tx.put_entity({**own, "id": id_, "kind": "k", "labels": [], "props": {}, "version": 1, "updatedAt": STAMP})
        tx.put_relationship({**own, "id": str(uuid.uuid4()), "srcId": one, "dstId": two, "type": "t", "props": {}})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "stranger": ({"key": "stranger"}, "SIGNATURE"),
    "edge": ({"source": {"node_id": "e", "mode": "D"}}, "SOURCE_MODE"),
    "schema": ({"schema_version": 2}, "VERSION"),
    "schema text": ({"schema_version": "1"}, "VERSION"),
    "backup of another patch": ({"kind": "backup", "product_version": "1.4.1"}, "VERSION"),
    "backup of no version": ({"kind": "backup", "product_version": None}, "VERSION"),
    "digest": ({"digests": {"entity": "", "relationship": "", "investigation": "", "run": ""}}, "DIGEST"),
    "count": ({"counts": {"entity": 6, "relationship": 1, "investigation": 3, "run": 1}}, "DIGEST"),
    "content": ({"content": {"entity.jsonl": b""}}, "DIGEST"),
    "type dropped": ({"counts": {"entity": 5}, "digests": {"entity": ""}}, "DIGEST"),
    "system tenant": ({"tenant": "_system"}, "MALFORMED"),
    "another tenant": ({"tenant": "other"}, "MALFORMED"),
    "format": ({"format": "tar"}, "MALFORMED"),
    "foreign member": ({"content": {"../../x": b""}}, "MALFORMED"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_any_change(source: Services, target: Services, name: str) -> None:
    changes, code = REFUSED[name]
    raw = migration.export(source, ADMIN, "tenant")
    assert code_of(offer, target, resigned(raw, **changes)) == f"IMPORT_{code}"
    assert not any(rows(target, "acme").values())
    assert "acme" not in target.store.tenants()
    assert offer(target, resigned(raw))["verified"] is True


def test_a_key_that_nobody_certified(source: Services, target: Services) -> None:
    raw = migration.export(source, ADMIN, "tenant")
    forged = VENDOR.sign("node-key", {"jwk": dict(VENDOR.public_jwk("stranger"))}, key="stranger")
    signed = VENDOR.sign("export", manifest(raw), key="stranger")
    content = {**members(raw), "export.jws": signed.encode(), "export-key.jws": forged.encode()}
    assert code_of(offer, target, migration.pack(content)) == "IMPORT_SIGNATURE"
    for cut in (100, 5000, len(raw) - 1024):
        assert str(code_of(offer, target, raw[:cut])).startswith("IMPORT_")
    assert offer(target, raw)["verified"] is True


def test_a_crash_in_the_middle_leaves_nothing(
    source: Services, target: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = migration.export(source, ADMIN, "tenant")

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(migration, "verify_stored", crash)
        offer(target, raw)
    assert not any(rows(target, "acme").values())
    assert offer(target, raw)["verified"] is True


def test_documents_that_are_not_what_they_seem(source: Services, target: Services) -> None:
    """Genuinely signed, so only the shape and the references can tell."""
    raw = migration.export(source, ADMIN, "tenant")
    docs = rows(source, "acme")

    def code(type_: str, doc: dict[str, Any]) -> str | None:
        changed = {**docs, type_: [doc]}
        content = {f"{t}.jsonl": archive.member(found) for t, found in changed.items()}
        counts = {t: len(found) for t, found in changed.items()}
        digests = {t: archive.digest(t, found) for t, found in changed.items()}
        return code_of(offer, target, resigned(raw, content=content, counts=counts, digests=digests, members=None))

    entity, link = docs["entity"][0], docs["relationship"][0]
    assert code("entity", {**entity, "id": "'; DROP TABLE entities; --"}) == "IMPORT_MALFORMED"
    assert code("entity", {**entity, "extra": 1}) == "IMPORT_MALFORMED"
    assert code("entity", {**entity, "props": []}) == "IMPORT_MALFORMED"
    assert code("entity", {**entity, "version": True}) == "IMPORT_MALFORMED"
    assert code("entity", {**entity, "tenantId": "globex"}) == "IMPORT_MALFORMED"
    assert code("entity", {**entity, "createdAt": "now"}) == "IMPORT_MALFORMED"
    assert code("relationship", {**link, "dstId": str(uuid.uuid4())}) == "IMPORT_MALFORMED"
    assert not any(rows(target, "acme").values())
