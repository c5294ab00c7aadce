"""ISO-16: what leaves a node or is written beside its database holds no other tenant's content."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from environments.contract import Capability, Deployment, Evidence, Node, Response, requirement
from suites.exchange import conclude, document, http_bases, probe, shown, signed_in, two_tenants
from suites.isolation.artefacts import served
from suites.isolation.leaving import judge_written, scan_files
from suites.isolation.planting import Filled, fill, views
from suites.isolation.provoking import Spoken, judge_error_texts, provoke, spoken
from suites.isolation.scan import judge_leaks
from suites.product import create_entity

OPEN = ("/metrics", "/.well-known/companyos", "/version", "/readyz", "/healthz", "/v1/auth/jwks.json", "/")
PAGES = 200  # of the audit log, at most


@dataclass(frozen=True)
class Side:
    """One tenant: what it has, and how it speaks."""

    filled: Filled
    say: Spoken


def _sides(node: Node) -> list[Side]:
    made = []
    for tenant in two_tenants(node):
        client = signed_in(node, "admin", tenant)
        canary = f"leak-{tenant}-{uuid.uuid4().hex}"
        made.append(Side(fill(client, tenant, canary), spoken(node, client, canary)))
    return made


def _own(node: Node, sides: list[Side]) -> Iterator[tuple[str, str, bytes]]:
    """(tenant, what, bytes) of everything that each tenant's administrator gets."""
    for side in sides:
        tenant = side.filled.tenant
        for what, answer in views(side.say.client, side.filled).items():
            yield tenant, what, answer.body
        yield tenant, "artefact", served(node, side.filled.artefact).body


def _open(node: Node) -> Iterator[tuple[str, str, bytes]]:
    """What anybody gets."""
    for role, base in http_bases(node).items():
        for path in OPEN:
            answer = probe(node, "GET", base + path)
            if isinstance(answer, Response):
                yield "nobody", f"{path} of {role}", answer.body


def _trail(node: Node) -> Iterator[tuple[str, str, bytes]]:
    """The audit log, as the operator reads it."""
    operator, after = node.login(node.user("operator")), 0
    for _ in range(PAGES):
        answer = operator.admin("GET", f"/v1/audit?after={after}")
        assert answer.status == 200, shown(answer)
        yield "the operator", f"audit after {after}", answer.body
        following = int(document(answer)["next"])
        if following <= after:
            return
        after = following


@requirement("ISO-16")
def test_what_leaves_the_node_is_of_one_tenant(deployment: Deployment, evidence: Evidence) -> None:
    """Two tenants fill every place that keeps text with their canaries and provoke every error; then each looks at all
    that it can get: lists, searches, events, archives, artefacts, the support bundle, answers to errors. None holds
    the other's canary or the name that somebody tried to log in with there; metrics and discovery hold nobody's."""
    node = deployment.subject
    sides = _sides(node)
    errors, errored = [], []
    for side in sides:
        answers = provoke(side.say, side.filled)
        errors += [f"{side.filled.tenant}: {problem}" for problem in judge_error_texts(answers)]
        errored += [
            (side.filled.tenant, f"the answer to {what}", answer.body)
            for what, answer in answers.items()
            if isinstance(answer, Response)
        ]
    seen = [*_own(node, sides), *errored, *_open(node)]
    content = {side.filled.tenant: side.filled.canary for side in sides}
    accounts = {side.filled.tenant: side.say.account for side in sides}
    problems = errors + judge_leaks(content, [*seen, *_trail(node)]) + judge_leaks(accounts, seen)
    evidence.add("looked at", sorted({what for _, what, _ in seen}))
    conclude(
        evidence,
        problems,
        "nothing of another tenant in anything that a tenant, the operator or anybody gets",
        f"{len(seen)} answers and archives scanned in every encoding, each tenant's own canary seen in its own",
    )


@requirement("ISO-16", needs=(Capability.FILE_ACCESS,))
def test_what_the_node_writes_holds_no_content(deployment: Deployment, evidence: Evidence) -> None:
    """After all that, no log, span, temporary file or setting of the node holds a canary of content or a login name.
    The ids of the traces that the requests were part of are found by the same scan: it sees what was just written."""
    node = deployment.subject
    marks, controls = {}, {}
    for side in _sides(node):
        tenant = side.filled.tenant
        provoke(side.say, side.filled)
        views(side.say.client, side.filled)
        create_entity(side.say.client, "after the errors", {"note": side.filled.canary})
        marks[f"content of {tenant}"] = side.filled.canary
        marks[f"a login name tried at {tenant}"] = side.say.account
        controls[f"the trace of {tenant}"] = side.say.trace
    scan = scan_files(node.files(), {**marks, **controls}, {})
    logs = {service: node.logs(service) for service in node.services}
    problems = judge_written(scan, set(controls), logs, marks)
    evidence.add("files that told of the traces", sorted(scan.files))
    evidence.add("logs", {service: len(text) for service, text in logs.items()})
    conclude(
        evidence,
        problems,
        "no content in any file",
        f"{scan.looked_at} files and {len(logs)} logs scanned; the traces of both tenants seen, content of none",
    )
