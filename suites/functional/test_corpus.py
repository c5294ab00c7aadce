"""FUN-01: the same operations give the same results in every mode."""

from __future__ import annotations

from environments.contract import Deployment, Evidence, requirement
from suites.exchange import conclude, signed_in
from suites.functional.corpus import declared, golden, judge_corpus, operations, replay


@requirement("FUN-01")
def test_corpus_gives_the_golden_results(deployment: Deployment, evidence: Evidence) -> None:
    """Each operation answers as the golden file says, except for the differences declared for this mode."""
    node = deployment.subject
    chosen = operations()
    found = replay(signed_in(node, "analyst"), chosen)
    differing = declared(chosen, node.mode.value)
    evidence.add("canonical", found)
    evidence.add("declared differences", differing)
    problems = judge_corpus(golden(), found, differing)
    conclude(
        evidence, problems, "golden results", f"{len(found)} operations, {len(differing)} with a declared difference"
    )
