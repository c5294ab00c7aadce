"""OPS-01: health and readiness tell the truth, and ask nobody outside."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from environments.contract import (
    Capability,
    Client,
    Deployment,
    Evidence,
    Node,
    TransportError,
    requirement,
    untestable,
)
from suites.exchange import conclude, healed_after, http_bases, signed_in
from suites.functional.corpus import mini
from suites.operations.readiness import Sample, judge_readiness, look
from suites.waiting import wait_until

DEADLINE_S = 20.0  # for readiness to follow the dependency; supervisors poll at 1 to 10 s


def _works(client: Client) -> bool:
    """A real read of the database: an absent id is looked up."""
    try:
        answer = client.graphql(
            f'{{ entity(id: "{uuid.uuid4()}") {{ id }} entities(limit: 1) {{ id }} }}', timeout_s=8.0
        )
    except TransportError:
        return False
    return answer.status == 200 and not answer.json().get("errors")


def _round(node: Node, phase: str, client: Client, wanted: Callable[[Sample], bool]) -> list[Sample]:
    """One sample per HTTP service, each taken again until it is as wanted or the deadline is over."""
    return [_settled(node, role, base, phase, client, wanted) for role, base in http_bases(node).items()]


def _settled(node: Node, role: str, base: str, phase: str, client: Client, wanted: Callable[[Sample], bool]) -> Sample:
    looks: list[Sample] = []

    def as_wanted() -> bool:
        looks.append(look(node, role, base, phase, _works(client) if role == "data" else None))
        return wanted(looks[-1])

    wait_until(as_wanted, DEADLINE_S)
    return looks[-1]


@contextmanager
def _database_unusable(node: Node) -> Iterator[None]:
    """PostgreSQL is killed; the file of an edge node is replaced by bytes that are no database, and put back."""
    if "postgres" in node.services:
        node.kill("postgres")
        yield
        node.start("postgres")
        return
    files = [p for p in node.data_dir.rglob("*") if p.is_file() and p.read_bytes()[:15] == b"SQLite format 3"]
    if not files:
        untestable("file-access: no SQLite database under the node's data directory")
    service = "edge" if "edge" in node.services else "data"
    node.kill(service)
    aside = [(path, path.with_name(path.name + ".aside")) for path in files]
    for path, away in aside:
        path.rename(away)
        path.write_bytes(b"not a database at all " * 400)
        os.chown(path, away.stat().st_uid, away.stat().st_gid)
        for suffix in ("-wal", "-shm"):
            extra = path.with_name(path.name + suffix)
            if extra.exists():
                extra.rename(away.with_name(away.name + suffix))
    node.start(service)
    try:
        yield
    finally:
        node.kill(service)
        for path, away in aside:
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
                extra = away.with_name(away.name + suffix)
                if extra.exists():
                    extra.rename(path.with_name(path.name + suffix))
            away.rename(path)
        node.start(service)


@requirement("OPS-01", needs=(Capability.PROCESS_CONTROL, Capability.FILE_ACCESS))
def test_broken_database_shows_in_readiness_and_heals(deployment: Deployment, evidence: Evidence) -> None:
    """With the database gone /readyz is 503 naming it while /healthz stays 200; with it back, ready again."""
    node = deployment.subject
    client = signed_in(node)
    with healed_after(deployment):
        samples = _round(node, "before", client, lambda s: s.ready == 200)
        with _database_unusable(node):
            samples += _round(node, "broken", client, lambda s: s.alive == 200 and s.ready == 503)
        samples += _round(node, "after", client, lambda s: s.ready == 200 and s.operation is not False)
    evidence.add("samples", [vars(s) for s in samples])
    problems = judge_readiness(samples, "database")
    conclude(
        evidence,
        problems,
        "503 naming database while broken, 200 before and after",
        f"{len(samples)} samples as expected",
    )


@requirement("OPS-01")
def test_ready_means_that_work_succeeds(deployment: Deployment, evidence: Evidence) -> None:
    """Every service says ready, and at that moment a small corpus of reads and writes passes."""
    node = deployment.subject
    statuses = {role: node.http().request("GET", base + "/readyz").status for role, base in http_bases(node).items()}
    assert statuses and set(statuses.values()) == {200}, f"not ready at rest: {statuses}"
    problems, done = mini(signed_in(node, "analyst"))
    conclude(evidence, problems, "ready and the corpus passes", f"{statuses}, {done} operations passed")


@requirement("OPS-01", needs=(Capability.EGRESS_LEDGER,))
def test_readiness_asks_nobody_outside(deployment: Deployment, evidence: Evidence) -> None:
    """With everything outside dropped, and with it rejected, /readyz is 200 within a second and sends nothing out."""
    node = deployment.subject
    problems = []
    with healed_after(deployment):
        for answer in ("drop", "reject"):
            deployment.egress.mode(answer)
            since = time.time()
            for role, base in http_bases(node).items():
                got = node.http().request("GET", base + "/readyz", timeout_s=10.0)
                evidence.add(f"{answer}/{role}", {"status": got.status, "elapsed_s": round(got.elapsed_s, 3)})
                if got.status != 200 or got.elapsed_s > 1.0:
                    problems.append(f"{role} with {answer}: {got.status} after {got.elapsed_s:.1f} s")
            sites = {site for link in deployment.links.names() for site in link.split("--")} | {node.site}
            for attempt in deployment.egress.attempts(node.site, since):
                if attempt.destination not in sites:
                    problems.append(
                        f"egress while asked for readiness: {attempt.protocol} {attempt.destination} {attempt.name}"
                    )
        sighted = deployment.egress.plant(node.site)
    evidence.add("canaries", dict(sighted))
    assert any(sighted.values()), "the ledger saw no canary: it could not have seen an attempt either"
    conclude(evidence, problems, "200 at once, no egress", "200 at once under drop and reject; no egress")
