"""SYN-07: after any kind of partition the upload goes on by itself."""

from __future__ import annotations

import pytest

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude, healed_after
from suites.sync.judges import judge_lost, judge_resumed
from suites.sync.workload import Edge
from suites.waiting import wait_until

RESUME_S = 15.0  # from the heal to the last write at the parent: a few retries that back off, of seconds each
HELD_S = 1.2  # long enough for a batch to be on its way, time out once and be tried again
WRITES = 4


@requirement("SYN-07", needs=(Capability.LINK_CUTS, Capability.PROCESS_CONTROL))
@pytest.mark.parametrize("partition", ["out", "in", "both", "half-open", "refused"])
def test_upload_resumes_after_a_partition(deployment: Deployment, evidence: Evidence, partition: str) -> None:
    """Packets stop in one direction, in both, the parent forgets the connection while they stop (half-open), or it
    is down and refuses: the writes of that time arrive afterwards, without a restart of the edge."""
    with healed_after(deployment):
        edge = Edge(deployment, f"syn07{partition[0]}")
        edge.create()
        edge.wait_arrived(1, RESUME_S)
        started = len(edge.at_parent().entities)
        if partition == "refused":
            edge.fault("parent down")
            edge.parent.kill("data")
        else:
            edge.cut("both" if partition == "half-open" else partition)
        for _ in range(WRITES):
            edge.create()
        if partition == "half-open":
            # The parent's process dies with its sockets; the edge is not told, because nothing gets through.
            edge.parent.kill("data")
            edge.parent.start("data")
            edge.parent.wait_ready()
        if partition == "refused":
            # Until the edge has been refused; then the parent comes back.
            edge.wait_tried()
            before = started
            edge.parent.start("data")
            edge.parent.wait_ready()
        else:
            wait_until(lambda: len(edge.at_parent().entities) > WRITES, HELD_S)
            before = len(edge.at_parent().entities)
        if partition == "in" and before > WRITES:
            # Data may pass when only acknowledgements are cut: what is held back then is a write after the timeout.
            edge.create()
            before = len(edge.at_parent().entities)
        expected = len(edge.alive)
        edge.heal()
        took_s = edge.wait_arrived(expected, RESUME_S)
        above = edge.at_parent()
        alive = edge.node.alive("edge")
    evidence.add("history", edge.history.summary())
    evidence.add("at the parent", {"before the cut": started, "before the heal": before, "after": len(above.entities)})
    problems = judge_resumed(before, len(above.entities), expected, took_s, RESUME_S) + judge_lost(edge.history, above)
    if started < 1:
        problems.append("the write before the partition did not arrive: sync did not work to begin with")
    if not alive:
        problems.append("the edge did not survive")
    conclude(evidence, problems, f"all arrived within {RESUME_S:g} s of the heal", f"{expected} after {took_s:.2f} s")
