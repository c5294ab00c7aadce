"""AIR-07, AIR-08, AIR-09: a bundle is verified whole, by keys that were there before, and never leaves its folder."""

from __future__ import annotations

import uuid

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.airgap.judges import Answered, judge_escapes, judge_refusals
from suites.airgap.steps import (
    admin_service,
    applied,
    apply,
    apply_all,
    apply_good,
    marked,
    next_version,
    operator,
    releases,
    restart,
    victim_folder,
    watched,
)
from suites.airgap.vectors import MEMBERS, SAFE_LINK, SAFE_LINK_UP, archive_attacks, good, tampered, unsigned
from suites.exchange import assert_refused, conclude, healed_after, shown

SKIPS = {
    f"{prefix}{name}": value
    for prefix in ("", "COMPANYOS_")
    for name, value in {
        "SKIP_VERIFY": "1",
        "INSECURE": "1",
        "VERIFY": "0",
        "VERIFY_BUNDLES": "false",
        "ALLOW_UNSIGNED": "true",
        "BUNDLE_VERIFY": "never",
        "DEBUG": "1",
    }.items()
}
QUERIES = ("?verify=false", "?skip_verify=1", "?insecure=true", "?force=1", "?allow_unsigned=true")
HEADERS = {"X-Skip-Verify": "1", "X-Allow-Unsigned": "true", "X-Force": "1"}


@requirement("AIR-07", needs=(Capability.VENDOR_KEYS, Capability.FILE_ACCESS))
def test_unsigned_bundles_are_refused_by_default(deployment: Deployment, evidence: Evidence) -> None:
    """Without any flag, and with every flag a caller could think of, an unsigned bundle is refused and nothing
    written."""
    node, client = deployment.subject, operator(deployment.subject)
    apply_good(deployment, client)
    before, files = applied(client), releases(node)
    version = next_version(client)
    vectors = list(unsigned(deployment.vendor, version))
    answers = apply_all(client, vectors)
    for query in QUERIES:
        answer = apply(client, vectors[0].body, f"/v1/bundle{query}")
        answers.append(Answered(f"{vectors[0].name} with {query}", vectors[0].codes, answer.status, answer.error_code))
    answer = apply(client, vectors[0].body, **HEADERS)
    answers.append(Answered("with headers that ask to skip", vectors[0].codes, answer.status, answer.error_code))
    problems = judge_refusals(answers)
    if applied(client) != before or releases(node) != files:
        problems.append("the release in force or its files changed")
    evidence.add("answers", {a.name: f"{a.status} {a.code}" for a in answers})
    conclude(evidence, problems, "422, nothing written", f"{len(answers)} refused, no file changed")


@requirement("AIR-07", needs=(Capability.VENDOR_KEYS, Capability.FILE_ACCESS, Capability.PROCESS_CONTROL))
def test_missing_keys_do_not_switch_verification_off(deployment: Deployment, evidence: Evidence) -> None:
    """The node starts with no trust root, then with every skip variable set: without a root, unsigned and genuine
    bundles alike are refused; with it, the environment changes nothing."""
    node = deployment.subject
    client = operator(node)
    apply_good(deployment, client)
    before, files = applied(client), releases(node)
    version = next_version(client)
    problems: list[str] = []
    with healed_after(deployment):
        restart(node, config={"trust_roots": []})
        rootless = operator(node)
        genuine = apply(rootless, good(deployment.vendor, version))
        evidence.add("genuine bundle without a trust root", shown(genuine))
        assert_refused(genuine, 422, "BUNDLE_NO_TRUST_ROOT", "a genuine bundle without a trust root")
        for each in unsigned(deployment.vendor, version):
            answer = apply(rootless, each.body)
            codes = each.codes | {"BUNDLE_NO_TRUST_ROOT"}
            seen = Answered(f"{each.name}, no trust root", codes, answer.status, answer.error_code)
            problems += judge_refusals([seen])
        restart(node, env=SKIPS)
        problems += judge_refusals(apply_all(operator(node), unsigned(deployment.vendor, version)))
        if applied(operator(node)) != before or releases(node) != files:
            problems.append("the release in force or its files changed")
        assert node.alive(admin_service(node)), "the node did not stay up"
    apply_good(deployment, operator(node))
    conclude(
        evidence,
        problems,
        "refused without root; skips ignored",
        "refused in every configuration; accepted again after",
    )


@requirement("AIR-08", needs=(Capability.VENDOR_KEYS, Capability.FILE_ACCESS))
def test_tampered_bundles_are_refused(deployment: Deployment, evidence: Evidence) -> None:
    """Each bundle differs from a genuine one in one thing: it is refused for that, and what runs stays as it is."""
    node, client = deployment.subject, operator(deployment.subject)
    apply_good(deployment, client)
    before, files = applied(client), releases(node)
    answers = apply_all(client, tampered(deployment.vendor, next_version(client)))
    problems = judge_refusals(answers)
    if applied(client) != before or releases(node) != files:
        problems.append("the release in force or its files changed")
    evidence.add("answers", {a.name: f"{a.status} {a.code}" for a in answers})
    apply_good(deployment, client)
    conclude(evidence, problems, "422 with the code of the fault", f"{len(answers)} refused; genuine ones accepted")


@requirement("AIR-09", needs=(Capability.VENDOR_KEYS, Capability.FILE_ACCESS))
def test_archive_attacks_write_nothing_outside(deployment: Deployment, evidence: Evidence) -> None:
    """Genuinely signed members try to leave by names, links, devices and modes: refused, and nothing outside is
    touched."""
    node, client = deployment.subject, operator(deployment.subject)
    apply_good(deployment, client)
    before = applied(client)
    mark = f"escape-{uuid.uuid4().hex[:12]}"
    with victim_folder(deployment, mark) as victim:
        files = watched(node, victim)
        answers = apply_all(client, archive_attacks(deployment.vendor, next_version(client), mark, victim))
        found = marked([deployment.workdir, node.data_dir], mark, node.data_dir / "releases")
        found = [path for path in found if path != str(victim)]
        problems = judge_refusals(answers) + judge_escapes(files, watched(node, victim), found)
    if applied(client) != before:
        problems.append(f"the release in force changed: {before} -> {applied(client)}")
    inside = marked([node.data_dir / "releases"], mark, deployment.workdir / "nothing")
    problems += [f"unpacked: {path}" for path in inside]
    evidence.add("answers", {a.name: f"{a.status} {a.code}" for a in answers})
    conclude(
        evidence,
        problems,
        "422, nothing written outside",
        f"{len(answers)} refused, {len(files)} watched files unchanged",
    )


@requirement("AIR-09", needs=(Capability.VENDOR_KEYS, Capability.FILE_ACCESS))
def test_safe_internal_links_are_allowed(deployment: Deployment, evidence: Evidence) -> None:
    """A link that stays inside its release is unpacked as a link and leads to its member."""
    node, client = deployment.subject, operator(deployment.subject)
    version = next_version(client)
    members = [*MEMBERS, SAFE_LINK, SAFE_LINK_UP]
    apply_good(deployment, client, version, good(deployment.vendor, version, members))
    root = node.data_dir / "releases" / "current"
    problems = []
    for link in (SAFE_LINK, SAFE_LINK_UP):
        path = root / link.name
        target = next(m for m in MEMBERS if m.name.endswith(link.target.removeprefix("../")))
        if not path.is_symlink():
            problems.append(f"{link.name} is no link")
        elif not path.exists() or path.read_bytes() != target.content:
            problems.append(f"{link.name} does not lead to {target.name}")
        elif not path.resolve().is_relative_to(root.resolve()):
            problems.append(f"{link.name} leads outside")
    evidence.add("version", version)
    conclude(evidence, problems, "links inside the release work", "2 links lead to their members")
