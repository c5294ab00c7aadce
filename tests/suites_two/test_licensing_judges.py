"""The licence judges: right histories pass, each mutant is told, nothing observed is vacuous."""

from __future__ import annotations

import pytest

from environments.contract import EgressAttempt, SuiteError, Vacuous
from suites.licensing import judges
from suites.licensing.compact import flip, header_of, join, payload_of
from suites.licensing.judges import Answered, Moment
from suites.licensing.vectors import bit_flips, field_changes

CODES = frozenset({"LICENCE_SIGNATURE"})
TEXT = join({"alg": "EdDSA", "kid": "k", "typ": "companyos-licence"}, b'{"aud":"companyos","exp":2}', bytes(range(64)))


def test_refusals() -> None:
    good = Answered("x", CODES, 422, "LICENCE_SIGNATURE")
    assert judges.judge_refusals([good]) == []
    for mutant, word in (
        (Answered("x", CODES, 200, None), "accepted"),
        (Answered("x", CODES, 500, "INTERNAL"), "crash"),
        (Answered("x", CODES, 503, "UNAVAILABLE"), "crash"),
        (Answered("x", CODES, 422, "LICENCE_KEY"), "LICENCE_KEY"),
        (Answered("x", CODES, 400, "LICENCE_SIGNATURE"), "400"),
        (Answered("x", CODES, 401, "UNAUTHENTICATED"), "401"),
    ):
        assert word in judges.judge_refusals([good, mutant])[0]


def test_distinct_reasons() -> None:
    assert judges.judge_distinct({"aud": {"LICENCE_AUDIENCE", "LICENCE_MALFORMED"}, "mode": {"LICENCE_MODE"}}) == []
    assert judges.judge_distinct({"aud": {"LICENCE_PRODUCT"}, "mode": {"LICENCE_PRODUCT"}})


def test_silence_needs_a_ledger_that_hears() -> None:
    attempt = EgressAttempt(1.0, "s", "dns", "192.0.2.1", 53, "updates.example")
    assert judges.judge_silence({"tcp4": True}, []) == []
    assert "updates.example" in judges.judge_silence({"tcp4": True}, [attempt])[0]
    for canaries in ({}, {"tcp4": True, "dns": False}):
        with pytest.raises(SuiteError):
            judges.judge_silence(canaries, [])


def moments(*, inclusive: bool = False, exclusive: bool = False, shift_s: int = 0) -> list[Moment]:
    found = []
    for boundary in ("nbf", "exp"):
        for offset_s in (-1, 0, 1):
            now = offset_s + shift_s
            if boundary == "nbf":
                valid, code = (now > 0 if exclusive else now >= 0), "LICENCE_NOT_YET_VALID"
            else:
                valid, code = (now <= 0 if inclusive else now < 0), "LICENCE_EXPIRED"
            found.append(Moment("t", offset_s, boundary, 200 if valid else 422, None if valid else code))
    return found


def test_boundaries() -> None:
    assert judges.judge_boundaries(moments()) == []
    assert judges.judge_boundaries(moments(inclusive=True))
    assert judges.judge_boundaries(moments(exclusive=True))
    assert judges.judge_boundaries(moments(shift_s=3600))
    wrong = [m if m.status == 200 else Moment(m.label, m.offset_s, m.boundary, 422, "LICENCE_KEY") for m in moments()]
    assert judges.judge_boundaries(wrong)


def test_nothing_observed_is_vacuous() -> None:
    with pytest.raises(Vacuous):
        judges.judge_refusals([])
    with pytest.raises(Vacuous):
        judges.judge_distinct({"aud": {"LICENCE_AUDIENCE"}})
    with pytest.raises(Vacuous):
        judges.judge_boundaries(moments()[:5])


def test_every_byte_is_flipped_and_no_flip_is_the_original() -> None:
    vectors = list(bit_flips(TEXT, 3))
    assert len({v.name for v in vectors}) == len(vectors) and TEXT.encode() not in {v.body for v in vectors}
    positions = {int(v.name.split()[2]) for v in vectors if v.name.startswith("text")}
    assert positions == set(range(len(TEXT)))
    names = {v.name.rsplit(" bit", 1)[0] for v in vectors}
    assert {f"signature byte {n}" for n in range(64)} <= names
    assert [v.body for v in bit_flips(TEXT, 3)] == [v.body for v in vectors]
    assert [v.body for v in bit_flips(TEXT, 4)] != [v.body for v in vectors]


def test_field_changes_leave_header_and_signature() -> None:
    vectors = list(field_changes(TEXT, payload_of(TEXT)))
    assert {"claim aud", "claim exp", "claim added", "claim removed"} == {v.name for v in vectors}
    for each in vectors:
        head, _, signature = each.body.decode().split(".")
        assert (head, signature) == (TEXT.split(".")[0], TEXT.split(".")[2])
        assert payload_of(each.body.decode()) != payload_of(TEXT)


def test_compact_round_trip() -> None:
    assert header_of(TEXT)["alg"] == "EdDSA" and payload_of(TEXT) == {"aud": "companyos", "exp": 2}
    assert flip(b"\0", 0, 7) == b"\x80"
