"""INF-04: on-prem without a GPU has no inference, says so, and is otherwise whole."""

from __future__ import annotations

from environments.contract import Deployment, Evidence, requirement, vacuous
from suites.exchange import assert_no_crash, assert_refused, conclude, document, http_bases, shown, signed_in
from suites.functional.corpus import mini

PROMPT = {"model": "any", "messages": [{"role": "user", "content": "hello"}]}


@requirement("INF-04")
def test_absent_inference_is_typed_and_claimed_nowhere(deployment: Deployment, evidence: Evidence) -> None:
    """A completion is refused as CAPABILITY_ABSENT, discovery claims no inference, everything else is ready."""
    node = deployment.subject
    client = signed_in(node, "analyst")
    answer = client.data("POST", "/v1/chat/completions", json=PROMPT)
    evidence.add("completion", shown(answer))
    if answer.status == 200:
        vacuous("this deployment has a model server: the promise is about one without")
    assert_refused(answer, 501, "CAPABILITY_ABSENT", "chat completion")
    discovery = document(node.http().request("GET", node.url("data") + "/.well-known/companyos"))
    claims = {"capabilities": discovery["capabilities"], "inference": discovery["components"].get("inference")}
    evidence.add("claims", claims)
    problems = ["capability inference is claimed"] if "inference" in discovery["capabilities"] else []
    problems += ["component inference is claimed present"] if (claims["inference"] or {}).get("present") else []
    for role, base in http_bases(node).items():
        ready = assert_no_crash(node.http().request("GET", base + "/readyz"), f"{role} readiness")
        evidence.add(f"{role} ready", shown(ready))
        problems += [f"{role} is not ready: {ready.status}"] if ready.status != 200 else []
    failed, done = mini(client)
    conclude(
        evidence,
        problems + failed,
        "501 CAPABILITY_ABSENT, no claim, all else works",
        f"so it is; {done} operations passed",
    )
