"""SYN-01 under weather: an edge that never stops writing, over a link that is left alone or comes and goes."""

from __future__ import annotations

import random

import pytest

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude, healed_after
from suites.sync.judges import acknowledged, judge_lost
from suites.sync.workload import Edge

STEADY_S = 8.0  # forty sync intervals; also how much of `conform run --schedule` this check sees
FLAPS = 6
# Shorter than any timeout that a client of slow links can afford, and about as long as its backoff: the link is back
# while the client is in the middle of giving up. Up for long enough to be sure of itself again.
DOWN_S = (1.1, 1.8)
UP_S = (1.0, 1.6)
DRAIN_S = 20.0


@requirement("SYN-01", needs=(Capability.LINK_CUTS,))
@pytest.mark.parametrize("weather", ["steady", "flapping"])
def test_nothing_is_lost_while_writes_go_on(deployment: Deployment, evidence: Evidence, weather: str) -> None:
    """The edge writes twenty times a second. Left alone, and with the link down for about a second at times by seed,
    the parent holds in the end all that the edge acknowledged. (Left alone is also what `--schedule` plays on.)"""
    with healed_after(deployment):
        edge = Edge(deployment, f"syn01{weather[0]}")
        if weather == "steady":
            edge.write_for(STEADY_S)
        else:
            _flap(edge, random.Random(f"{deployment.seed}/flapping"))
        deployment.links.heal()
        took_s = edge.wait_settled(DRAIN_S)
        below, above = edge.at_edge(), edge.at_parent()
    evidence.add("history", edge.history.summary())
    evidence.add("settled after", round(took_s, 3))
    problems = judge_lost(edge.history, above) + judge_lost(edge.history, below)
    count = len(acknowledged(edge.history.ops))
    conclude(evidence, problems, "acked minus final is empty", f"{count} acknowledged, all there")


def _flap(edge: Edge, draw: random.Random) -> None:
    edge.write_for(draw.uniform(*UP_S))
    for flap in range(FLAPS):
        edge.cut(("out", "both")[flap % 2])
        edge.write_for(draw.uniform(*DOWN_S))
        edge.heal()
        edge.write_for(draw.uniform(*UP_S))
