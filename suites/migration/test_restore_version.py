"""MIG-07: a backup is restored by exactly the version that made it, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude, signed_in
from suites.migration.archive import Archive, read
from suites.migration.judges import Offered, judge_equal, judge_refused
from suites.migration.steps import (
    export,
    holding,
    imported,
    moving_tenant,
    new_mark,
    offer,
    plant_corpus,
    state,
    target_of,
)


def mismatches(archive: Archive) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, manifest changes): every neighbour of the version, and versions that are none."""
    major, minor, patch = (int(part) for part in str(archive.manifest["product_version"]).split("."))
    schema = int(archive.manifest["schema_version"])
    neighbours = {
        "next patch": f"{major}.{minor}.{patch + 1}",
        "next minor": f"{major}.{minor + 1}.{patch}",
        "next major": f"{major + 1}.{minor}.{patch}",
        "an earlier minor": f"{major}.{minor - 1}.{patch}",
        "an earlier major": f"{major - 1}.{minor}.{patch}",
        "the same with a suffix": f"{major}.{minor}.{patch}-rc.1",
        "the same with an edition": f"{major}.{minor}.{patch}+community",
        "a prefix of it": f"{major}.{minor}",
        "empty": "",
    }
    for name, version in neighbours.items():
        yield f"{name} ({version!r})", {"product_version": version}
    yield "no version", {"product_version": None}
    yield f"schema {schema + 1}", {"schema_version": schema + 1}
    yield f"schema {schema - 1}", {"schema_version": schema - 1}


@requirement("MIG-07", needs=(Capability.VENDOR_KEYS,))
def test_backups_of_other_versions_are_refused(deployment: Deployment, evidence: Evidence) -> None:
    """A genuine backup is given neighbouring versions, genuinely signed: each is refused for its version before
    anything changes at the target; the same backup with its own version is then restored."""
    source, target, tenant = deployment.subject, target_of(deployment), moving_tenant(deployment)
    plant_corpus(signed_in(source, "admin", tenant), new_mark())
    archive = read(export(source, tenant, "?kind=backup"))
    here = holding(signed_in(source, "admin", tenant))
    offers = []
    for name, changes in mismatches(archive):
        before = state(target, tenant, deployment)
        answer = offer(target, archive.resigned(deployment.vendor, **changes))
        after = state(target, tenant, deployment)
        # A missing or empty version may also be called malformed.
        code = "IMPORT_VERSION"
        if changes.get("product_version", "x") in (None, "") and answer.error_code == "IMPORT_MALFORMED":
            code = "IMPORT_MALFORMED"
        offers.append(Offered(name, code, answer.status, answer.error_code, before, after))
    problems = judge_refused(offers)
    evidence.add("offers", {o.name: f"{o.status} {o.answered}" for o in offers})
    if not problems:
        report = imported(target, archive.resigned(deployment.vendor))
        there = holding(signed_in(target, "admin", tenant))
        problems += judge_equal(here, there)
        if report.get("verified") is not True:
            problems.append(f"the matching version: verified is {report.get('verified')!r}")
    conclude(
        evidence, problems, "IMPORT_VERSION, nothing changed", f"{len(offers)} refused; the matching version restored"
    )
