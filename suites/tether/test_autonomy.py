"""TET-02, TET-03: without its control plane a node goes on serving, under the last policy it knew to be good."""

from __future__ import annotations

import time

from environments.contract import Capability, Deployment, Evidence, requirement, vacuous
from suites.exchange import conclude, healed_after
from suites.tether.corpus import serve
from suites.tether.judges import judge_corpus, judge_last_known_good
from suites.tether.plane import Plane
from suites.tether.policies import DENIED

AUTONOMY_S = 4 * 3600.0  # beyond the lifetime of a token (900 s), and what an outage over night needs at least


@requirement("TET-02", needs=(Capability.PROCESS_CONTROL, Capability.VENDOR_KEYS))
def test_data_plane_serves_without_control_plane(deployment: Deployment, evidence: Evidence) -> None:
    """The control plane is taken away (link cut, or its process killed): the whole corpus is served as before, with
    a fresh login where identity is local, and hours later by the node's clock."""
    with healed_after(deployment):
        plane = Plane(deployment)
        plane.publish_good()
        before = serve(plane.client)
        plane.take_down()
        if plane.reachable():
            vacuous("the control plane still answers")
        during = serve(plane.client)
        if plane.local_identity:
            plane.sign_in()
            during += serve(plane.client)
            if Capability.CLOCK_CONTROL in deployment.capabilities:
                deployment.clock.freeze(plane.node.name, time.time() + AUTONOMY_S)
                plane.sign_in()
                during += serve(plane.client)
                deployment.clock.release(plane.node.name)
                plane.sign_in()
        plane.restart_data()
        during += serve(plane.client)
        gone = not plane.reachable()
    evidence.add("without control plane", [[each.name, each.failure] for each in during])
    if not gone:
        vacuous("the control plane came back meanwhile")
    conclude(evidence, judge_corpus(before, during), "served as before", f"{len(during)} requests served without it")


@requirement("TET-03", needs=(Capability.PROCESS_CONTROL, Capability.VENDOR_KEYS))
def test_restart_while_cut_keeps_the_last_good_policy(deployment: Deployment, evidence: Evidence) -> None:
    """A policy that denies one action is published and seen to be enforced; then the control plane goes, and the
    node is killed -9 and started: the same revision is in force, and still denies it."""
    with healed_after(deployment):
        plane = Plane(deployment)
        allowed_before = not plane.denies()
        revision = plane.publish_good(DENIED)
        enforced = {"before the cut": plane.denies() and allowed_before}
        revisions = {"published": revision}
        plane.take_down()
        if plane.reachable():
            vacuous("the control plane still answers")
        enforced["cut"] = plane.denies()
        for moment in ("after a restart", "after a second restart"):
            plane.restart_data()
            enforced[moment] = plane.denies()
            enforced[f"{moment}, allowed actions served"] = plane.serves()
            if plane.local_identity:
                revisions[moment] = int(plane.in_force()["revision"])
        if plane.reachable():
            vacuous("the control plane came back meanwhile")
    restored = Plane(deployment)
    restored.publish_good()
    if restored.denies():
        enforced["lifted by the next policy after the heal"] = False
    evidence.add("enforced", enforced)
    evidence.add("revisions", revisions)
    problems = judge_last_known_good(enforced, revisions)
    conclude(evidence, problems, f"{DENIED} denied throughout", f"revision {revision} kept over two restarts while cut")
