"""TET-06: a policy update is signed, whole and newer, or it does not happen, and the node says why."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from itertools import zip_longest

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude, healed_after
from suites.licensing.compact import canonical
from suites.tether.judges import Tried, judge_updates
from suites.tether.plane import SEEN_S, Plane
from suites.tether.policies import BROKEN_MODULES, DENIED, modules, policy, tampered, unsigned

POLL_S = 0.3
SIGNATURE, ROLLBACK, MALFORMED = "POLICY_SIGNATURE", "POLICY_ROLLBACK", "POLICY_MALFORMED"


def bad_updates(deployment: Deployment, good: int) -> Iterator[tuple[str, str, frozenset[str]]]:
    """(name, text, codes). Every one would lift the denial if it were taken. Two that follow each other never have
    a code in common, so that a new report can be told from an old one."""
    vendor = deployment.vendor
    newer = policy(vendor, good + 1)
    cut_off = ("signature cut off", newer[:-20], frozenset({SIGNATURE, MALFORMED}))
    forged = [
        ("one bit changed", tampered(newer), frozenset({SIGNATURE})),
        ("a stranger's key", policy(vendor, good + 1, key="stranger"), frozenset({SIGNATURE})),
        ("a stranger's key under the vendor's kid", _stranger(deployment, good + 1), frozenset({SIGNATURE})),
        ("unsigned, alg none", unsigned(newer), frozenset({SIGNATURE})),
        (
            "signed as a licence",
            vendor.sign("licence", {"revision": good + 1, "modules": modules()}),
            frozenset({SIGNATURE}),
        ),
        ("the revision in force, other modules", policy(vendor, good), frozenset({ROLLBACK})),
    ]
    partial = {"revision": good + 1}
    broken = [(name, policy(vendor, good + 1, found), frozenset({MALFORMED})) for name, found in BROKEN_MODULES.items()]
    broken += [
        ("no modules member", vendor.sign("policy", partial), frozenset({MALFORMED})),
        ("revision is text", policy(vendor, str(good + 1)), frozenset({MALFORMED})),
        ("no revision", vendor.sign("policy", {"modules": modules()}), frozenset({MALFORMED})),
        ("payload is no JSON", vendor.sign("policy", canonical(partial)[:-3]), frozenset({MALFORMED})),
    ]
    older = (f"revision {good - 1}, older than {good}", policy(vendor, good - 1), frozenset({ROLLBACK}))
    yield cut_off
    yield older
    for one, two in zip_longest(forged, broken, fillvalue=older):
        yield one
        yield two


def _stranger(deployment: Deployment, revision: int) -> str:
    kid = deployment.vendor.public_jwk()["kid"]
    return policy(deployment.vendor, revision, key="stranger", header={"kid": kid})


def _offer(plane: Plane, name: str, text: str, codes: frozenset[str]) -> Tried:
    plane.publish(text)
    reported = _reported(plane, codes)
    return Tried(name, codes, reported, int(plane.in_force()["revision"]), plane.denies(), plane.serves())


def _reported(plane: Plane, codes: frozenset[str]) -> str | None:
    """last_error once it names one of `codes`, or whatever it is at the deadline; the judge decides."""

    def names() -> bool:
        return str(plane.in_force()["last_error"]).split(":")[0].split(" ")[0] in codes

    with contextlib.suppress(AssertionError):
        plane.wait(names, "the refusal is reported", SEEN_S)
    error = plane.in_force()["last_error"]
    return None if error is None else str(error)


@requirement("TET-06", needs=(Capability.VENDOR_KEYS,))
def test_bad_policy_updates_keep_the_last_good_one(deployment: Deployment, evidence: Evidence) -> None:
    """Forged, older, truncated and non-compiling policies are published, each of which would lift a denial: the denial
    stays, the node reports the reason, and the next good revision takes effect at once."""
    with healed_after(deployment):
        plane = Plane(deployment)
        plane.good_link()
        plane.publish_good()
        assert not plane.denies(), f"{DENIED} is denied before anything was published"
        good = plane.publish_good(DENIED)
        tried = []
        for name, text, codes in bad_updates(deployment, good):
            tried.append(_offer(plane, name, text, codes))
            if tried[-1].revision != good:
                break  # what follows would be judged against a policy that is not in force
        # Where control has a process of its own, the data service polls for itself and cannot be asked what it saw:
        # three of its intervals, and the denial must still be there.
        time.sleep(0 if plane.remote else 3 * POLL_S)
        problems = judge_updates(tried, good)
        problems += [] if plane.denies() else ["after all of them the denial is gone"]
        lifted = _publish_next(plane, good)
        problems += [] if lifted else ["the next good revision did not take effect"]
    evidence.add("updates", [[t.name, t.reported, t.revision, t.denies] for t in tried])
    conclude(evidence, problems, f"revision {good} throughout, reasons reported", f"{len(tried)} bad updates refused")


def _publish_next(plane: Plane, good: int) -> bool:
    revision = plane.publish_good()
    return revision > good and plane.in_force()["last_error"] is None
