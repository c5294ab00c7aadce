"""The air-gap judges and the hand-made archives."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from environments.contract import EgressAttempt, SuiteError, Vacuous
from suites.airgap import judges, vectors
from suites.airgap.judges import Answered, Applied, Boot, Phase, describe
from suites.licensing.compact import header_of, payload_of
from tests.suites_two.seal import Seal

PHASES = [Phase("boot", 0.0, 1.0, 1), Phase("steady state", 1.0, 2.0, 5)]


def attempt(t_s: float, protocol: str = "tcp") -> EgressAttempt:
    return EgressAttempt(t_s, "s", protocol, "198.51.100.1", 443)


def test_silence() -> None:
    assert judges.judge_silence(PHASES, []) == []
    assert judges.judge_silence(PHASES, [attempt(1.5)])[0].startswith("steady state: tcp")
    assert judges.judge_silence(PHASES, [attempt(9.0)])[0].startswith("between phases")
    for idle in ([], [Phase("boot", 0.0, 1.0, 0), PHASES[1]]):
        with pytest.raises(Vacuous):
            judges.judge_silence(idle, [])


def test_what_is_allowed_or_only_a_warning_breaks_no_silence() -> None:
    row = attempt(1.5)
    for harmless in (replace(row, phase="allowed"), replace(row, phase="canary"), replace(row, warning=True)):
        assert judges.judge_silence(PHASES, [harmless]) == []
    assert judges.judge_silence(PHASES, [replace(row, service="https", pid=7, command="curl")]) == [
        f"steady state: {describe(row).replace(' (IPv4)', ' (https) (IPv4)')} by curl [7]"
    ]
    said = describe(replace(row, trusted=True, said="GET /licence"))
    assert "trusted a stranger's certificate" in said
    assert "GET /licence" in said


def test_canaries() -> None:
    judges.judge_canaries({"tcp4": True, "dns": True}, 2)
    for canaries in ({"tcp4": True, "dns": False}, {"tcp4": True}, {}):
        with pytest.raises(SuiteError):
            judges.judge_canaries(canaries, 2)


def test_refusals() -> None:
    codes = frozenset({"BUNDLE_PATH"})
    assert judges.judge_refusals([Answered("x", codes, 422, "BUNDLE_PATH")]) == []
    for status, code in (
        (200, None),
        (500, "INTERNAL"),
        (422, "BUNDLE_SIZE"),
        (413, "BUNDLE_PATH"),
        (503, "UNAVAILABLE"),
    ):
        assert judges.judge_refusals([Answered("x", codes, status, code)])
    with pytest.raises(Vacuous):
        judges.judge_refusals([])


def test_escapes() -> None:
    before = {"/v/keep": "a"}
    assert judges.judge_escapes(before, dict(before), []) == []
    assert judges.judge_escapes(before, {"/v/keep": "b"}, [])
    assert judges.judge_escapes(before, {}, [])
    assert judges.judge_escapes(before, {**before, "/v/new": "c"}, [])
    assert judges.judge_escapes(before, dict(before), ["/v/escape"])
    with pytest.raises(Vacuous):
        judges.judge_escapes({}, {}, [])


def ladder(*, down_accepted: bool = False, half: bool = False, code: str = "BUNDLE_ROLLBACK") -> list[Applied]:
    down = Applied("down", "1.0.9", False, 200, None, "1.0.9") if down_accepted else None
    refused = Applied("down", "1.0.9", False, 422, code, "1.0.9" if half else "1.0.10")
    return [Applied("up", "1.0.10", True, 200, None, "1.0.10"), down or refused]


def test_ladder() -> None:
    assert judges.judge_ladder(ladder(), "1.0.0") == []
    assert judges.judge_ladder(ladder(down_accepted=True), "1.0.0")
    assert judges.judge_ladder(ladder(half=True), "1.0.0")
    assert judges.judge_ladder(ladder(code="BUNDLE_SIGNATURE"), "1.0.0")
    with pytest.raises(Vacuous):
        judges.judge_ladder(ladder()[:1], "1.0.0")
    with pytest.raises(Vacuous):
        judges.judge_ladder([], "1.0.0")


def test_a_genuine_bundle_is_a_tar_that_tarfile_reads() -> None:
    raw = vectors.good(Seal(), "1.2.3", [*vectors.MEMBERS, vectors.SAFE_LINK], allow_rollback_to="1.2.3")
    with tarfile.open(fileobj=io.BytesIO(raw)) as opened:
        members = opened.getmembers()
        first = opened.extractfile(members[0])
        assert first is not None
        signed = payload_of(first.read().decode())
    assert [m.name for m in members[1:]] == [row["path"] for row in signed["members"]]
    assert members[-1].issym() and signed["members"][-1]["target"] == "api.oci"
    assert signed["allow_rollback_to"] == "1.2.3"
    for row, entry in zip(signed["members"], vectors.MEMBERS, strict=False):
        assert row["sha256"] == hashlib.sha256(entry.content).hexdigest() and row["size"] == len(entry.content)


def test_long_names_survive() -> None:
    name = "images/" + "a/" * 200 + "x"
    with tarfile.open(fileobj=io.BytesIO(vectors.tar([vectors.Entry(name, b"content")]))) as opened:
        assert opened.getnames() == [name]


def test_vectors_are_distinct_and_differ_from_the_genuine_one(tmp_path: Path) -> None:
    genuine = vectors.good(Seal(), "1.2.3")
    for pack in (
        list(vectors.tampered(Seal(), "1.2.3")),
        list(vectors.archive_attacks(Seal(), "1.2.3", "escape-1", tmp_path)),
    ):
        assert len({v.name for v in pack}) == len(pack) > 20
        assert len({v.body for v in pack}) == len(pack)
        assert genuine not in {v.body for v in pack}
        assert all(v.codes and all(code.startswith("BUNDLE_") for code in v.codes) for v in pack)


def test_archive_attacks_are_genuinely_signed(tmp_path: Path) -> None:
    """So that they are refused for the attack, not for the signature."""
    for each in vectors.archive_attacks(Seal(), "1.2.3", "escape-1", tmp_path):
        with tarfile.open(fileobj=io.BytesIO(each.body)) as opened:
            member = opened.next()
            assert member is not None and member.name == "manifest.jws"
            file = opened.extractfile(member)
            assert file is not None
            text = file.read().decode()
        assert header_of(text)["kid"] == "vendor"
        assert len(payload_of(text)["members"]) > len(vectors.MEMBERS)


def test_boots_are_judged_by_time_and_by_silence() -> None:
    good = [Boot("drop", 3.0, 5, ()), Boot("reject", 3.0, 5, ())]
    assert judges.judge_boots(good, 10.0) == []
    assert judges.judge_boots([replace(good[0], ready_s=11.0), good[1]], 10.0)
    assert judges.judge_boots([replace(good[0], ready_s=None, observations=0), good[1]], 10.0)
    assert judges.judge_boots([good[0], replace(good[1], attempts=(attempt(1.0),))], 10.0)
    assert judges.judge_boots([good[0], replace(good[1], attempts=(replace(attempt(1.0), warning=True),))], 10.0) == []
    for idle in (good[:1], [replace(good[0], answer="answer")], [replace(good[0], observations=0), good[1]]):
        with pytest.raises(Vacuous):
            judges.judge_boots(idle, 10.0)


def test_what_a_stranger_changed_is_found() -> None:
    state = {"bundle": {"version": "1.0.0"}, "licence": "valid"}
    quiet = [attempt(1.5), replace(attempt(1.5), warning=True)]  # attempts alone are AIR-01's
    assert judges.judge_unmoved(state, dict(state), 1.0, PHASES, quiet) == []
    assert judges.judge_unmoved(state, {**state, "licence": "other"}, 1.0, PHASES, [])
    assert judges.judge_unmoved(state, {"bundle": state["bundle"]}, 1.0, PHASES, [])
    assert judges.judge_unmoved(state, dict(state), -86_400.0, PHASES, [])
    [problem] = judges.judge_unmoved(
        state, dict(state), 1.0, PHASES, [replace(attempt(1.5), trusted=True, said="GET /")]
    )
    assert "GET /" in problem
    for before, phases in (({}, PHASES), (state, []), (state, [replace(PHASES[0], observations=0)])):
        with pytest.raises(Vacuous):
            judges.judge_unmoved(before, state, 1.0, phases, [])
