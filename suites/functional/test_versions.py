"""FUN-11: a node has one version, wherever it is asked for it."""

from __future__ import annotations

from environments.contract import Deployment, Evidence, requirement
from suites.exchange import conclude, document, shown
from suites.functional.versions import TOLD, judge_one_version

PLACES = ("/.well-known/companyos", "/version")


@requirement("FUN-11")
def test_every_place_tells_the_same_version(deployment: Deployment, evidence: Evidence) -> None:
    """Discovery and the version page of a node tell the same product, version and schema version."""
    node = deployment.subject
    said = {}
    for place in PLACES:
        answer = node.http().request("GET", node.url("data") + place)
        evidence.add(place, shown(answer))
        assert answer.status == 200, f"{place} is not served without a token: {shown(answer)}"
        said[place] = document(answer)
    told = {field: said[PLACES[0]].get(field) for field in TOLD}
    conclude(evidence, judge_one_version(said), "the same in every place", f"{len(said)} places tell {told}")
