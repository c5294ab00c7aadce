"""MIG-01, MIG-02: a tenant leaves the SaaS whole, and alone."""

from __future__ import annotations

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude, signed_in, tenants
from suites.migration.archive import read
from suites.migration.judges import FIELDS, digest, judge_equal, judge_only_own, judge_report
from suites.migration.steps import export, holding, imported, moving_tenant, new_mark, plant_corpus, target_of


@requirement("MIG-01")
def test_every_row_arrives_as_it_was(deployment: Deployment, evidence: Evidence) -> None:
    """A corpus of null, empty, large, unicode and nested values is exported and imported into the dedicated instance:
    counts and canonical digests per type, computed here from what both serve, are equal."""
    source, target, tenant = deployment.subject, target_of(deployment), moving_tenant(deployment)
    plant_corpus(signed_in(source, "admin", tenant), new_mark())
    before = holding(signed_in(source, "admin", tenant))
    raw = export(source, tenant)
    report = imported(target, raw)
    after = holding(signed_in(source, "admin", tenant))
    there = holding(signed_in(target, "admin", tenant))
    evidence.add("archive", {"bytes": len(raw), "members": sorted(read(raw).members)})
    evidence.add("counts", {type_: [len(before[type_]), len(there[type_])] for type_ in FIELDS})
    evidence.add("digests", {type_: [digest(type_, before[type_]), digest(type_, there[type_])] for type_ in FIELDS})
    problems = judge_equal(before, there) + judge_report(report, before)
    problems += [f"the source changed: {p}" for p in judge_equal(before, after)]
    problems += [f"tenantId {d['tenantId']} at the target" for d in there["entity"] if d["tenantId"] != tenant][:3]
    conclude(evidence, problems, "equal counts and digests per type", f"{sum(map(len, there.values()))} objects equal")


@requirement("MIG-02")
def test_export_holds_the_tenant_alone(deployment: Deployment, evidence: Evidence) -> None:
    """Canaries are planted in both tenants of the SaaS; the export of one holds all of its own, none of the other's, no
    credential and no key of the platform."""
    source, tenant = deployment.subject, moving_tenant(deployment)
    marks = {name: new_mark() for name in tenants(source)}
    foreign: dict[str, str] = {}
    for name, mark in marks.items():
        plant_corpus(signed_in(source, "admin", name), mark)
        if name != tenant:
            held = holding(signed_in(source, "admin", name))
            foreign[f"the canary of {name}"] = mark
            foreign |= {f"{type_} {d['id']} of {name}": str(d["id"]) for type_ in FIELDS for d in held[type_][-30:]}
    secrets = {f"the password of {u.username}@{u.tenant}": u.password for u in source.users}
    secrets |= {"a password hash": "scrypt$", "a PEM key": "PRIVATE KEY-----", "a Stripe key": "sk_test_"}
    secrets |= _key_material(deployment)
    raw = export(source, tenant)
    archive = read(raw)
    problems = judge_only_own(raw, [marks[tenant]], foreign, secrets)
    rows = [(name, d) for name in FIELDS for d in archive.rows(name)]
    strangers = [f"{name}.jsonl: tenant {d['tenantId']}" for name, d in rows if d.get("tenantId", tenant) != tenant]
    evidence.add("looked for", {"foreign": len(foreign), "secrets": len(secrets), "bytes": len(raw)})
    evidence.add("members", {name: len(content) for name, content in archive.members.items()})
    observed = f"own canary seen; {len(foreign)} foreign marks absent"
    conclude(evidence, problems + strangers[:5], "own canaries only, no secrets", observed)


def _key_material(deployment: Deployment) -> dict[str, str]:
    """Private parts of the keys that lie in the source's files, where they can be read."""
    import json

    if Capability.FILE_ACCESS not in deployment.capabilities:
        return {}
    found = {}
    for path in deployment.subject.files():
        if "keys" in path.parts and path.stat().st_size < 65_536:
            try:
                document = json.loads(path.read_bytes())
            except ValueError:
                continue
            key = document.get("jwk", document) if isinstance(document, dict) else {}
            if isinstance(key, dict) and isinstance(key.get("d"), str):
                found[f"the private key in {path.name}"] = key["d"]
    return found
