"""ISO-19: a tenant that is removed is gone within the promised time, and its name brings nothing of it back."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

import pytest

from environments.contract import Capability, Client, Deployment, Evidence, Node, Response, requirement
from suites.exchange import conclude, document, healed_after, need, shown, signed_in, tenants
from suites.isolation.artefacts import served
from suites.isolation.leaving import (
    Scan,
    judge_counts,
    judge_files,
    judge_nothing_seen,
    judge_shut_out,
    judge_sight,
    judge_tables,
    scan_files,
    scan_tables,
)
from suites.isolation.passing import GONE_S, PassingTenant, passing_tenant
from suites.isolation.planting import Filled, artefact_now, fill, marks, views
from suites.product import create_entity, entity

COUNTED = ("usage",)  # tells numbers, not objects; judged by itself
LEAST_TABLES = 8  # of those that a filled tenant has rows in: objects, accounts, events, what is billed, jobs


@dataclass(frozen=True)
class Doomed:
    """A tenant with something of every type."""

    tenant: PassingTenant
    client: Client
    filled: Filled


def _doomed(node: Node) -> Doomed:
    mark = uuid.uuid4().hex[:20]
    tenant = PassingTenant(node, f"leaving-{mark}", f"admin-{mark}")
    client = tenant.create()
    return Doomed(tenant, client, fill(client, tenant.name, f"left-{uuid.uuid4().hex}"))


def _promised_s(node: Node) -> float:
    limits = document(node.http().request("GET", node.url("data") + "/.well-known/companyos"))["limits"]
    stated = limits.get("deletion_s")
    assert isinstance(stated, int | float), f"the node states no bound (limits.deletion_s): {limits}"
    return float(stated)


def _rows(node: Node, doomed: Doomed) -> Scan:
    names = {"its name": doomed.tenant.name, "the name of its account": doomed.tenant.user.username}
    ids = {what: text for what, text in marks(doomed.filled).items() if what != "the canary"}
    with node.sql() as connection:
        return scan_tables(connection, {"its canary": doomed.filled.canary}, {**names, **ids})


def _files(node: Node, doomed: Doomed) -> Scan:
    place = {"its area of the object store": doomed.filled.artefact.area}
    return scan_files(node.files(), {"its canary": doomed.filled.canary}, place)


def _asks(doomed: Doomed) -> dict[str, Response]:
    """With what the tenant's administrator had: a token on each service, and the password."""
    client, user = doomed.client, doomed.tenant.user
    body = {"tenant": user.tenant, "username": user.username, "password": user.password}
    return {
        "GraphQL": client.graphql("{ me { sub } }"),
        "events": client.data("GET", "/v1/events?after=0"),
        "export": client.data("POST", "/v1/export"),
        "export job": client.data("POST", "/v1/exports", json={"name": "late.tar"}),
        "address": client.data("POST", "/v1/objects/sign", json={"key": doomed.filled.artefact.key}),
        "usage": client.control("GET", "/v1/billing/usage"),
        "directory": client.control("GET", "/v1/directory/users"),
        "login": client.control("POST", "/v1/auth/login", json=body),
    }


def _control(node: Node, doomed: Doomed) -> dict[str, Response]:
    """Before: everything is seen by the views that must show nothing later."""
    seen = views(doomed.client, doomed.filled)
    known = {**marks(doomed.filled), "its account": doomed.tenant.user.username}
    blind = judge_sight(seen, known, COUNTED)
    assert not blind, f"the control of this check: {blind}"
    served(node, doomed.filled.artefact)
    return seen


def _late_address(node: Node, doomed: Doomed) -> list[str]:
    answer = artefact_now(node, doomed.filled)
    if isinstance(answer, Response) and answer.status == 404:
        return []
    told = shown(answer, 80) if isinstance(answer, Response) else f"no answer ({answer.kind})"
    return [f"the address of its artefact is answered {told}"]


def _born_again(node: Node, doomed: Doomed) -> list[str]:
    """What a tenant that gets the name now can find out about the one that had it; and it works."""
    again = PassingTenant(node, doomed.tenant.name)
    client = again.create()
    known = {**marks(doomed.filled), "its account": doomed.tenant.user.username}
    seen = views(client, doomed.filled)
    problems = judge_nothing_seen({name: each for name, each in seen.items() if name != "directory"}, known)
    listed = [user["username"] for user in document(seen["directory"])["users"]]
    if listed != [again.user.username]:
        problems.append(f"the directory of the re-created tenant lists {listed}")
    problems += judge_counts(document(seen["usage"]), document(seen["events"]))
    problems += judge_shut_out({f"{what} with the old token": each for what, each in _old_token(doomed).items()})
    problems += [f"to the re-created tenant {each}" for each in _late_address(node, doomed)]
    made = create_entity(client, "fresh", {"note": "of the new tenant"})
    assert entity(client, made["id"]) is not None, "the re-created tenant does not see its own object"
    return problems


def _old_token(doomed: Doomed) -> dict[str, Response]:
    return {what: answer for what, answer in _asks(doomed).items() if what != "login"}


@requirement("ISO-19")
def test_removed_tenant_is_shut_out_and_its_name_brings_nothing_back(
    deployment: Deployment, evidence: Evidence
) -> None:
    """From the moment its removal is accepted no token or password of the tenant is good on any service; within the
    stated time it is gone; a tenant that gets its name then sees nothing of it by any view, and the other tenants,
    one with a name that begins the same among them, have what they had."""
    node = deployment.subject
    promised_s, doomed = _promised_s(node), _doomed(node)
    seeded = signed_in(node, "admin", tenants(node)[0])
    kept = create_entity(seeded, "kept", {"note": "of a seeded tenant"})
    beside = PassingTenant(node, f"{doomed.tenant.name}-too")
    neighbour = beside.create()
    theirs = create_entity(neighbour, "kept", {"note": "of the neighbour"})
    _control(node, doomed)
    started = time.monotonic()
    doomed.tenant.delete()
    problems = judge_shut_out(_asks(doomed))
    doomed.tenant.wait_gone(GONE_S)
    took_s = time.monotonic() - started
    if took_s > promised_s:
        problems.append(f"it took {took_s:.1f} s, {promised_s:g} s are promised")
    problems += _late_address(node, doomed)
    problems += _born_again(node, doomed)
    others = {"a seeded tenant": (seeded, kept), "its neighbour": (neighbour, theirs)}
    for whose, (client, made) in others.items():
        if entity(client, made["id"]) != made:
            problems.append(f"{whose} no longer has its object {made['id']}")
    PassingTenant(node, doomed.tenant.name).delete()
    beside.delete()
    evidence.add("gone after", round(took_s, 2))
    conclude(
        evidence,
        problems,
        f"401 at once, gone within {promised_s:g} s, nothing to be seen under the same name",
        f"shut out at once, gone after {took_s:.1f} s, nothing seen by any view; others unharmed",
    )


@requirement("ISO-19", needs=(Capability.SQL_AUDIT,))
def test_no_row_and_no_file_of_a_removed_tenant_is_left(deployment: Deployment, evidence: Evidence) -> None:
    """When a tenant is gone, no table holds its name, its account, an id or the canary of its objects (the audit log
    no content), and no file of the services holds its canary or is in its area of the object store. The same scans
    found all of it before."""
    node = deployment.subject
    doomed = _doomed(node)
    reads_files = Capability.FILE_ACCESS in deployment.capabilities
    rows, files = _rows(node, doomed), _files(node, doomed) if reads_files else Scan()
    doomed.tenant.delete()
    waited_s = doomed.tenant.wait_gone(GONE_S)
    problems = [] if waited_s <= GONE_S else [f"it is not gone after {waited_s:.0f} s"]
    after = _rows(node, doomed)
    problems += judge_tables(rows, after, LEAST_TABLES)
    if reads_files:
        problems += judge_files(files, _files(node, doomed))
    evidence.add("tables that held it", rows.tables)
    evidence.add("files that held it", files.files or "file-access is not offered")
    conclude(
        evidence,
        problems,
        "no row, no file",
        f"{after.looked_at} tables scanned, {len(rows.tables)} held it before and none now;"
        f" {files.looked_at} files scanned, {len(files.files)} held it before and none now",
    )


@requirement("ISO-19", needs=(Capability.PROCESS_CONTROL, Capability.SQL_AUDIT))
@pytest.mark.parametrize("killed", ["before", "after"])
def test_removal_survives_a_kill(deployment: Deployment, evidence: Evidence, killed: str) -> None:
    """The data service is killed before the removal is asked for, or right after it was accepted: once the service is
    back the tenant is gone within the stated time, rows and all."""
    node = deployment.subject
    promised_s, doomed = _promised_s(node), _doomed(node)
    before = _rows(node, doomed)
    with healed_after(deployment):
        if killed == "before":
            node.kill("data")
        doomed.tenant.delete()
        if killed == "after":
            node.kill("data")
        node.start("data")
        node.wait_ready()
        waited_s = doomed.tenant.wait_gone(promised_s)
        problems = judge_shut_out(_old_token(doomed))
        if waited_s > promised_s:
            problems.append(f"{waited_s:.1f} s after the service was ready it is still not gone")
        problems += judge_tables(before, _rows(node, doomed), LEAST_TABLES)
    evidence.add("gone after", round(waited_s, 2))
    conclude(evidence, problems, f"gone {promised_s:g} s after the start", f"gone {waited_s:.1f} s after the start")


@requirement("ISO-19", needs=(Capability.PROCESS_CONTROL,))
def test_new_tenant_of_the_name_has_keys_of_its_own(deployment: Deployment, evidence: Evidence) -> None:
    """What a re-created tenant writes is there after a restart: it was sealed with a key that the node keeps for it,
    and not with one of the removed tenant that a service still had in memory."""
    node = deployment.subject
    need(deployment, Capability.PROCESS_CONTROL)
    doomed = _doomed(node)
    doomed.tenant.delete()
    assert doomed.tenant.wait_gone(GONE_S) <= GONE_S, "the tenant is not gone"
    problems = []
    with healed_after(deployment):
        again = PassingTenant(node, doomed.tenant.name)
        made = create_entity(again.create(), "fresh", {"note": "of the new tenant"})
        node.kill("data")
        node.start("data")
        node.wait_ready()
        answer = node.login(again.user).graphql(f'{{ entity(id: "{made["id"]}") {{ id props }} }}')
        evidence.add("after the restart", shown(answer))
        if answer.error_code or not document(answer)["data"]["entity"]:
            problems.append(f"its object {made['id']} cannot be read after a restart: {shown(answer)}")
        again.delete()
    conclude(evidence, problems, "the object of the re-created tenant, after a restart", "read after a restart")


@requirement("ISO-19")
def test_only_the_operator_removes_and_only_tenants(deployment: Deployment, evidence: Evidence) -> None:
    """Administrators of tenants remove nobody, the node's own tenant cannot be removed, and there are no two of one
    name."""
    node = deployment.subject
    problems = []
    with passing_tenant(node) as (tenant, client):
        attempts = {
            "its own administrator": (client.control("DELETE", f"/v1/tenants/{tenant.name}"), "FORBIDDEN"),
            "a foreign administrator": (
                signed_in(node, "admin", tenants(node)[0]).control("DELETE", f"/v1/tenants/{tenant.name}"),
                "FORBIDDEN",
            ),
            "nobody": (node.anonymous().control("DELETE", f"/v1/tenants/{tenant.name}"), "UNAUTHENTICATED"),
            "the node's own tenant": (tenant.operate("DELETE", "/v1/tenants/_system"), "NOT_FOUND"),
            "a tenant that is none": (tenant.operate("DELETE", f"/v1/tenants/{uuid.uuid4().hex}"), "NOT_FOUND"),
            "a second one of the name": (
                tenant.operate(
                    "POST",
                    "/v1/tenants",
                    {"tenant": tenant.name, "admin": {"username": "other", "password": uuid.uuid4().hex}},
                ),
                "CONFLICT",
            ),
        }
        for what, (answer, expected) in attempts.items():
            evidence.add(what, shown(answer))
            if answer.error_code != expected:
                problems.append(f"{what}: {answer.status} {answer.error_code}, not {expected}")
        if tenant.state() != "ACTIVE":
            problems.append(f"the tenant is {tenant.state()} after refused attempts")
        tenant.delete()
        assert tenant.wait_gone(GONE_S) <= GONE_S, "the operator's own removal had no effect: the control"
    conclude(
        evidence, problems, "refused, each by its name", f"{len(attempts)} attempts refused; the operator's served"
    )
