"""Moving a tenant: export at the source, import at the target, both all or nothing.

An export is read in one transaction that sees one moment, and signed with the node's own key, which the vendor
certified. An import checks everything before it changes anything, writes in one transaction, reads back what it
wrote, and commits only if counts and digests are those of the archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joserfc.jwk import OKPKey
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from environments.companyos import archive, jws, limits, log, maestro, upload
from environments.companyos.archive import Archive, refuse
from environments.companyos.errors import ApiError
from environments.companyos.services import SYSTEM_TENANT, Principal, Services
from environments.companyos.storage.base import Doc, Tx

KINDS = ("tenant", "backup")
SOURCES = frozenset({"A", "B", "Ct", "Ca"})
_lock = threading.Lock()

# export


def export(services: Services, principal: Principal, kind: str) -> bytes:
    """The archive of the principal's tenant. Backups are of nodes that belong to one customer."""
    if kind not in KINDS:
        raise ApiError("INVALID", message="kind is tenant or backup")
    if kind == "backup" and services.config.mode == "A":
        raise ApiError("UNSUPPORTED_IN_MODE", message="a tenant of SaaS is exported, not backed up")
    key, certificate = signing_key(services)
    documents = snapshot(services, principal)
    members = {f"{type_}.jsonl": archive.member(docs) for type_, docs in documents.items()}
    manifest = {
        "format": archive.FORMAT,
        "kind": kind,
        "product_version": services.config.version,
        "schema_version": services.config.schema_version,
        "source": {"node_id": services.config.node_id, "mode": services.config.mode},
        "tenant": principal.tenant,
        "created": services.clock.stamp(),
        "counts": {type_: len(docs) for type_, docs in documents.items()},
        "digests": {type_: archive.digest(type_, docs) for type_, docs in documents.items()},
        "members": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
    }
    signed = jws.sign("export", manifest, key).encode()
    services.audit.append(principal.tenant, principal.sub, "export.create", "tenant", principal.tenant)
    return pack({archive.MANIFESTS[0]: signed, archive.CERTIFICATE: certificate.encode(), **members})


def snapshot(services: Services, principal: Principal) -> dict[str, list[Doc]]:
    """Everything of the tenant at one moment, by type. UNAVAILABLE if the transaction does not see the tenant: an
    export without its context would be empty and look like a success."""
    with services.store.transaction(principal.tenant, snapshot=True) as tx:
        if tx.get_user(principal.sub) is None:
            raise ApiError("UNAVAILABLE", message="the tenant cannot be seen")
        documents = read_all(tx)
        if {type_: len(docs) for type_, docs in documents.items()} != tx.counts():
            raise ApiError("UNAVAILABLE", message="the tenant cannot be read whole")
    if any(doc["tenantId"] != principal.tenant for docs in documents.values() for doc in docs):
        raise ApiError("UNAVAILABLE", message="rows of another tenant")
    return documents


def read_all(tx: Tx) -> dict[str, list[Doc]]:
    """Every document of the transaction's tenant, by type, in the order in which they can be imported."""
    return {
        "entity": tx.list_entities(limit=-1),
        "relationship": tx.list_relationships(),
        "investigation": tx.list_investigations(),
        "run": tx.list_runs(),
    }


def signing_key(services: Services) -> tuple[OKPKey, str]:
    """The node's export key and the vendor's certificate of it. UNAVAILABLE on a node that was not given one."""
    try:
        document = json.loads((services.config.data_dir / "keys" / "export.json").read_bytes())
        return OKPKey.import_key(document["jwk"]), str(document["certificate"])
    except (OSError, ValueError, KeyError) as error:
        raise ApiError("UNAVAILABLE", message="the node has no certified export key") from error


def pack(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# import


def import_(services: Services, principal: Principal, path: Path) -> dict[str, Any]:
    """`{counts, digests, verified}` of what is stored now. ApiError 422: nothing has changed."""
    with _lock:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            checked = check(services, fd)
        finally:
            os.close(fd)
        tenant = str(checked.manifest["tenant"])
        check_empty(services, tenant)
        services.store.ensure_tenant(tenant)
        report = store(services, principal, tenant, checked)
    puts = [(f"{type_}.put", doc) for type_ in ("entity", "relationship") for doc in checked.documents.get(type_, ())]
    services.graph.mirror(tenant, puts)
    log.info("imported", tenant=tenant, counts=report["counts"])
    return report


def check(services: Services, fd: int) -> Archive:
    """Everything that can be checked without the database, in this order: form, signature, source, version, content."""
    entries = archive.entries(fd)
    manifest = verify_manifest(services, entries)
    check_manifest(manifest)
    check_source(manifest)
    check_version(services, manifest)
    return Archive(manifest, check_members(manifest, entries))


def verify_manifest(services: Services, entries: Mapping[str, bytes]) -> dict[str, Any]:
    """The signed payload: by a trust root, or by a node key that a trust root certified. IMPORT_SIGNATURE otherwise."""
    raw = next(iter(entries.values()))
    roots: list[Mapping[str, Any]] = list(services.config.trust_roots)
    try:
        certificate = entries.get(archive.CERTIFICATE)
        if certificate is not None:
            roots.append(certified_key(services, certificate))
        return jws.verify(raw, roots, "export", max_bytes=1 << 20).payload
    except jws.JwsError as error:
        raise refuse("SIGNATURE", str(error)) from None


def certified_key(services: Services, certificate: bytes) -> Mapping[str, Any]:
    """The public key in a genuine certificate. Raises JwsError."""
    key = jws.verify(certificate, services.config.trust_roots, "node-key").payload.get("jwk")
    if not isinstance(key, dict) or any(root.get("kid") == key.get("kid") for root in services.config.trust_roots):
        raise jws.JwsError(jws.Reason.KEY, "the certificate holds no key of a node")
    return key


def check_manifest(manifest: Mapping[str, Any]) -> None:
    source, counts, digests = (manifest.get(name) for name in ("source", "counts", "digests"))
    well_formed = (
        manifest.get("format") == archive.FORMAT
        and manifest.get("kind") in KINDS
        and isinstance(source, dict)
        and isinstance(counts, dict)
        and isinstance(digests, dict)
        and counts.keys() == digests.keys()
        and counts.keys() <= archive.FIELDS.keys()
        and all(type(count) is int for count in counts.values())
    )
    tenant = manifest.get("tenant")
    if not well_formed or not archive.is_text(tenant) or tenant in ("", SYSTEM_TENANT):
        raise refuse("MALFORMED", "the manifest of another shape")


def check_source(manifest: Mapping[str, Any]) -> None:
    """An edge is never the source of a core: its data arrives by sync."""
    if manifest["source"].get("mode") not in SOURCES:
        raise refuse("SOURCE_MODE", "archives of this mode are not imported")


def check_version(services: Services, manifest: Mapping[str, Any]) -> None:
    """A backup is restored by exactly the version that made it; a tenant by the same schema."""
    config = services.config
    schema = manifest.get("schema_version")
    if type(schema) is not int or schema != config.schema_version:
        raise refuse("VERSION", f"schema {config.schema_version} is required")
    if manifest["kind"] == "backup" and manifest.get("product_version") != config.version:
        raise refuse("VERSION", f"version {config.version} is required")


def check_members(manifest: Mapping[str, Any], entries: Mapping[str, bytes]) -> dict[str, list[Doc]]:
    """The documents, if they are those that were signed. IMPORT_DIGEST or IMPORT_MALFORMED."""
    types = [type_ for type_ in archive.FIELDS if type_ in manifest["counts"]]
    present = {name for name in entries if name.endswith(".jsonl")}
    if present != {f"{type_}.jsonl" for type_ in types}:
        raise refuse("DIGEST", "members are missing or not listed")
    listed = manifest.get("members")
    if isinstance(listed, dict) and any(listed.get(n) != hashlib.sha256(entries[n]).hexdigest() for n in present):
        raise refuse("DIGEST", "a member with other content than signed")
    found: dict[str, list[Doc]] = {}
    for type_ in types:
        found[type_] = archive.documents(type_, entries[f"{type_}.jsonl"], manifest["tenant"])
        same = archive.digest(type_, found[type_]) == manifest["digests"][type_]
        if not same or len(found[type_]) != manifest["counts"][type_]:
            raise refuse("DIGEST", f"{type_}: other documents than signed")
    archive.check_references(found)
    return found


def store(services: Services, principal: Principal, tenant: str, checked: Archive) -> dict[str, Any]:
    """One transaction: all of it, read back, or nothing. IMPORT_MALFORMED for what the database does not take."""
    try:
        with services.store.transaction(tenant) as tx:
            write_all(tx, checked.documents)
            report = verify_stored(tx, checked)
            tx.append_audit(services.audit.entry(principal.tenant, principal.sub, "import.create", "tenant", tenant))
    except ApiError as error:
        if error.code in ("NOT_FOUND", "CONFLICT", "INVALID"):
            raise refuse("MALFORMED", "a document that cannot be stored") from error
        raise
    return report


def check_empty(services: Services, tenant: str) -> None:
    with services.store.transaction(tenant) as tx:
        if any(tx.counts().values()):
            raise refuse("NOT_EMPTY", "the tenant has data here")


def write_all(tx: Tx, documents: Mapping[str, Any]) -> None:
    """Entities before what refers to them. Runs that had not ended are aborted here: they go on at the source."""
    for doc in documents.get("entity", ()):
        tx.put_entity(doc, new=True)
    for doc in documents.get("relationship", ()):
        tx.put_relationship(doc)
    for doc in documents.get("investigation", ()):
        tx.put_investigation(doc)
    for doc in documents.get("run", ()):
        ended = doc["state"] not in ("QUEUED", "RUNNING")
        tx.put_run(doc if ended else maestro.aborted(doc))


def verify_stored(tx: Tx, checked: Archive) -> dict[str, Any]:
    """Read everything back and compare with the manifest; the report. IMPORT_DIGEST rolls the import back."""
    stored = read_all(tx)
    counts = {type_: len(stored[type_]) for type_ in checked.documents}
    digests = {type_: archive.digest(type_, stored[type_]) for type_ in checked.documents}
    if counts != dict(checked.manifest["counts"]) or digests != dict(checked.manifest["digests"]):
        raise refuse("DIGEST", "what was stored is not what was signed")
    return {"counts": counts, "digests": digests, "verified": True}


# routes


def routes(services: Services) -> list[Route]:
    def supported() -> None:
        if services.config.mode == "D":
            raise ApiError("UNSUPPORTED_IN_MODE", message="an edge node moves its data by sync")

    async def post_export(request: Request) -> Response:
        principal = await run_in_threadpool(services.authenticate, request)
        supported()
        if principal.tenant == SYSTEM_TENANT or not principal.has("admin"):
            raise ApiError("FORBIDDEN", message="the tenant's administrator exports")
        await run_in_threadpool(services.authorize, principal, "export.create", "export")
        raw = await run_in_threadpool(export, services, principal, request.query_params.get("kind", "tenant"))
        return Response(raw, media_type="application/x-tar")

    async def post_import(request: Request) -> Response:
        principal = await run_in_threadpool(services.require_operator, request)
        supported()
        too_large = ApiError("IMPORT_MALFORMED", 422, "the archive is too large")
        path = await upload.spool(services, request, limits.MAX_BUNDLE_BYTES, too_large)
        try:
            return JSONResponse(await run_in_threadpool(import_, services, principal, path))
        finally:
            upload.discard(path)

    return [
        Route("/v1/export", post_export, methods=["POST"]),
        Route("/v1/import", post_import, methods=["POST"]),
    ]
