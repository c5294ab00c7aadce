"""Known-bad migrations: exports that lose or leak, imports that should have been refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from environments.companyos import admin, jws, migration
from environments.companyos.defects import defect
from environments.companyos.services import Principal, Services

Docs = dict[str, list[dict[str, Any]]]
SOURCE: dict[str, Any] = {"modes": ("A",), "roles": ("data",)}
TARGET: dict[str, Any] = {"modes": ("Ct", "Ca"), "roles": ("data",)}


def exported(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Let every exported entity go through `change`, before it is counted, digested and signed."""
    snapshot = migration.snapshot

    def replaced(services: Services, principal: Principal) -> Docs:
        found = snapshot(services, principal)
        return {**found, "entity": [change(doc) for doc in found["entity"]]}

    migration.snapshot = replaced


@defect(kills=("MIG-01",), **SOURCE)
def export_drops_nulls(services: Services) -> None:
    """Properties without a value are left out of the export."""
    exported(lambda doc: {**doc, "props": {k: v for k, v in doc["props"].items() if v is not None}})


@defect(kills=("MIG-01",), **SOURCE)
def export_cuts_large_values(services: Services) -> None:
    """Texts are cut at 64 KiB, the size of a column somewhere on the way."""

    def cut(doc: dict[str, Any]) -> dict[str, Any]:
        props = {k: v[:65_536] if isinstance(v, str) else v for k, v in doc["props"].items()}
        return {**doc, "props": props}

    exported(cut)


@defect(kills=("MIG-01",), **SOURCE)
def export_normalises_unicode(services: Services) -> None:
    """Text is brought into one Unicode form on the way: what was stored is not what arrives."""
    import unicodedata

    def normal(doc: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(doc["props"], ensure_ascii=False)
        return {**doc, "props": json.loads(unicodedata.normalize("NFC", text))}

    exported(normal)


@defect(kills=("MIG-01",), **SOURCE)
def export_skips_empty_rows(services: Services) -> None:
    """Entities without properties are taken for rubbish, and left behind with a clean report."""
    snapshot = migration.snapshot

    def replaced(services: Services, principal: Principal) -> Docs:
        found = snapshot(services, principal)
        gone = {doc["id"] for doc in found["entity"] if not doc["props"]}
        return {
            **found,
            "entity": [doc for doc in found["entity"] if doc["id"] not in gone],
            "relationship": [r for r in found["relationship"] if not gone & {r["srcId"], r["dstId"]}],
            "investigation": [
                {**i, "entityIds": [e for e in i["entityIds"] if e not in gone]} for i in found["investigation"]
            ],
        }

    migration.snapshot = replaced


@defect(kills=("MIG-02",), **SOURCE)
def export_as_superuser(services: Services) -> None:
    """The export is taken past the tenant's isolation: the other tenants' rows are in it, under the tenant's name."""
    snapshot = migration.snapshot

    def replaced(services: Services, principal: Principal) -> Docs:
        found = snapshot(services, principal)
        for tenant in services.store.tenants():
            if tenant != principal.tenant:
                with services.store.transaction(tenant) as tx:
                    found["entity"] += [{**doc, "tenantId": principal.tenant} for doc in tx.list_entities(limit=-1)]
        return found

    migration.snapshot = replaced


def adds_member(name: str, content: Callable[[], bytes]) -> None:
    pack = migration.pack
    migration.pack = lambda members: pack({**members, name: content()})


@defect(kills=("MIG-02", "MIG-01"), **SOURCE)
def export_holds_password_hashes(services: Services) -> None:
    """The users' table is exported as it is, with password hashes."""

    def users() -> bytes:
        with services.store.transaction(services.store.tenants()[0]) as tx:
            return b"".join(jws.canonical(user) + b"\n" for user in tx.list_users())

    adds_member("user.jsonl", users)


@defect(kills=("MIG-02", "MIG-01"), **SOURCE)
def export_holds_platform_key(services: Services) -> None:
    """The key that signs exports of every tenant travels with each of them."""
    adds_member("keys.json", lambda: Path(services.config.data_dir / "keys" / "export.json").read_bytes())


@defect(kills=("MIG-07",), **TARGET)
def version_warned_about(services: Services) -> None:
    """A backup of another version is restored with a warning in the log."""
    migration.check_version = lambda services, manifest: None


@defect(kills=("MIG-07",), **TARGET)
def patch_level_ignored(services: Services) -> None:
    """Versions match when major and minor do; what a patch changed in the data is found out weeks later."""
    check = migration.check_version

    def short(version: Any) -> str:
        return ".".join(str(version).split(".")[:2])

    def replaced(services: Services, manifest: Mapping[str, Any]) -> None:
        same = short(manifest.get("product_version")) == short(services.config.version)
        check(services, {**manifest, "product_version": services.config.version} if same else manifest)

    migration.check_version = replaced


@defect(kills=("MIG-07",), **TARGET)
def changes_before_version_check(services: Services) -> None:
    """The version is looked at when the first rows are already in."""
    check = migration.check_version

    def replaced(services: Services, manifest: Mapping[str, Any]) -> None:
        with services.store.transaction(manifest["tenant"]) as tx:
            tx.append_event("import.begin", "tenant", "00000000-0000-4000-8000-000000000000")
        check(services, manifest)

    migration.check_version = replaced


@defect(kills=("MIG-15",), modes=("D",), roles=("edge",))
def promotes_edges(services: Services) -> None:
    """An edge node becomes a core when it is told to."""
    admin.promote = lambda services, body: {"mode": "B", "promoted": True}


@defect(kills=("MIG-15",), modes=("A", "Ca", "D"), roles=("data",))
def takes_edge_archives(services: Services) -> None:
    """A core restores an edge's archive like any other."""
    migration.check_source = lambda manifest: None


@defect(kills=("MIG-15",), modes=("D",), roles=("edge",))
def edge_calls_itself_a_core(services: Services) -> None:
    """What an edge may not do depends on a mode that promotion quietly changes."""
    promote = admin.promote

    def replaced(services: Services, body: Any) -> dict[str, Any]:
        object.__setattr__(services, "config", replace_mode(services.config))
        return promote(services, body)

    admin.promote = replaced


def replace_mode(config: Any) -> Any:
    return config.model_copy(update={"mode": "B", "variant": "dedicated"})
