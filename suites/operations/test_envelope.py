"""OPS-04: an edge node on its own fits its envelope, and goes on to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from environments.contract import Capability, Client, Deployment, Evidence, LinkState, Node, requirement
from suites.exchange import conclude, data_of, document, healed_after, signed_in
from suites.operations.envelope import MIN_OPERATIONS, Sample, judge_limits, judge_soak, smallest_leak, trend
from suites.waiting import wait_until

SAMPLE_S = 0.25
WARM_OPS, WARM_BYTES = 80, 40_000  # more than the caches of the database hold, so that they are full before it counts
ENOUGH = 2 * MIN_OPERATIONS
WARM_FRACTION = 0.2  # of the soak, left out: allocators settle
PAYLOAD_BYTES = 200
DRAIN_S = 60.0
CREATE = 'mutation($props: JSON) { createEntity(input: {kind: "soak", props: $props}) { id } }'
READ = "query($id: ID!) { entity(id: $id) { id kind props } }"


def _write(client: Client, size_bytes: int) -> str:
    answer = client.graphql(CREATE, {"props": {"text": "x" * size_bytes}})
    identifier: str = data_of(answer, "createEntity")["createEntity"]["id"]
    return identifier


def _sizes(node: Node) -> tuple[int, int]:
    """(database and its log, every other file), bytes on the disk."""
    database = stray = 0
    for path in node.files():
        try:
            used = path.stat().st_blocks * 512
        except FileNotFoundError:
            continue
        if ".sqlite" in path.name:
            database += used
        elif not _installed(node, path):
            stray += path.stat().st_size
    return database, stray


def _installed(node: Node, path: Path) -> bool:
    """Configuration is written by whoever installs, not by the node."""
    return path.parent.name == "config" and not path.is_relative_to(node.data_dir)


@contextmanager
def _alone(deployment: Deployment, node: Node) -> Iterator[None]:
    """Cut off from its parent, if it has one; afterwards the backlog goes over a good link, so that nobody waits."""
    parent = deployment.parent
    with healed_after(deployment):
        if parent is None:
            yield
            return
        deployment.links.cut(node.site, parent.site)
        yield
        deployment.links.set(node.site, parent.site, LinkState())
        operator = node.login(node.user("operator"))
        wait_until(lambda: document(operator.admin("GET", "/v1/sync"))["backlog"] == 0, DRAIN_S)


def _sample(node: Node, started: float, operations: int) -> Sample:
    use = node.resources().use().values()
    database, stray = _sizes(node)
    return Sample(
        time.monotonic() - started,
        operations,
        sum(each.anonymous_bytes for each in use),
        sum(each.working_set_bytes for each in use),
        database,
        stray,
        sum(each.oom_kills for each in use),
    )


def _soak(node: Node, client: Client, soak_s: float) -> list[Sample]:
    """Writes and reads one after another, a sample every SAMPLE_S; longer than asked, up to four times, where the
    machine is too slow for enough operations."""
    samples: list[Sample] = []
    started = time.monotonic()
    operations, due_s = 0, 0.0
    while (now_s := time.monotonic() - started) < soak_s or (operations < ENOUGH and now_s < 4 * soak_s):
        identifier = _write(client, PAYLOAD_BYTES)
        assert data_of(client.graphql(READ, {"id": identifier}), "entity")["entity"]["id"] == identifier
        operations += 1
        if now_s >= due_s:
            samples.append(_sample(node, started, operations))
            due_s = now_s + SAMPLE_S
    return [each for each in samples if each.t_s >= soak_s * WARM_FRACTION]


@requirement("OPS-04", needs=(Capability.RESOURCE_LIMITS,))
def test_kernel_enforces_the_declared_limits(deployment: Deployment, evidence: Evidence) -> None:
    """Memory and processors of each service of the node are limited by the kernel to what the profile declares."""
    node = deployment.subject
    resources = node.resources()
    enforced = resources.enforced()
    evidence.add("declared", {service: vars(each) for service, each in resources.declared.items()})
    evidence.add("enforced", {service: vars(each) for service, each in enforced.items()})
    problems = []
    for service, declared in resources.declared.items():
        found = [enforced[service]] if service in enforced else []
        problems += [f"{service}: {problem}" for problem in judge_limits(declared, found)]
    conclude(evidence, problems, "limits of the profile in force", f"{enforced}")


@requirement("OPS-04", needs=(Capability.RESOURCE_LIMITS, Capability.LINK_CUTS, Capability.FILE_ACCESS))
def test_offline_soak_stays_within_the_envelope(deployment: Deployment, evidence: Evidence, soak_s: float) -> None:
    """Cut off and written to for the length of the soak, the node stays within its memory, is not killed for it, and
    neither its memory nor any file grows with the operations but for the backlog."""
    node = deployment.subject
    client = signed_in(node, "analyst")
    limits = [each.memory_bytes or 0 for each in node.resources().declared.values()]
    with _alone(deployment, node):
        for _ in range(WARM_OPS):
            _write(client, WARM_BYTES)
        samples = _soak(node, client, soak_s)
        alive = [service for service in node.services if node.alive(service)]
    if len({each.operations for each in samples}) > 1:
        xs = [float(each.operations) for each in samples]
        evidence.add("smallest leak to be seen, bytes an operation", round(smallest_leak(int(xs[-1] - xs[0]))))
        for name in ("anonymous_bytes", "database_bytes", "stray_bytes"):
            evidence.add(f"{name} per operation", vars(trend(xs, [float(getattr(each, name)) for each in samples])))
    evidence.add("samples", [vars(each) for each in samples[:: max(1, len(samples) // 50)]])
    assert alive == list(node.services), f"ended in the soak: {sorted(set(node.services) - set(alive))}"
    conclude(
        evidence,
        judge_soak(samples, sum(limits), PAYLOAD_BYTES),
        "within the declared memory, no growth beyond the backlog",
        f"{len(samples)} samples over {samples[-1].operations - samples[0].operations} operations, peak "
        f"{max(each.working_set_bytes for each in samples) >> 20} MiB of {sum(limits) >> 20}",
    )
