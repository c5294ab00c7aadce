"""Which worker runs what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conform.commands.running import _workers
from conform.scheduling import scopes

PROFILES = ("saas", "saas-to-dedicated", "edge-dil")


def checks(profile: str, count: int) -> list[str]:
    return [f"suites/x/test_x.py::test_{n}[{profile}-a{n}]" for n in range(count)]


def sizes(found: dict[str, str]) -> dict[str, int]:
    return {scope: list(found.values()).count(scope) for scope in found.values()}


def test_a_profile_with_more_than_a_share_goes_to_several() -> None:
    nodeids = [*checks("saas", 189), *checks("edge-dil", 32), *checks("saas-to-dedicated", 32)]
    expected = {"saas/0": 63, "saas/1": 63, "saas/2": 63, "edge-dil": 32, "saas-to-dedicated": 32}
    assert sizes(scopes(nodeids, PROFILES, 4)) == expected
    assert sizes(scopes(nodeids, PROFILES, 1)) == {"saas": 189, "edge-dil": 32, "saas-to-dedicated": 32}


def test_what_has_no_profile_is_by_itself() -> None:
    assert scopes(["a.py::test_a", "a.py::test_b"], PROFILES, 2) == {n: n for n in ("a.py::test_a", "a.py::test_b")}


@given(st.lists(st.integers(0, 40), min_size=3, max_size=3).filter(any), st.integers(1, 9))
def test_shares_keep_order_profile_and_measure(counts: list[int], shares: int) -> None:
    of_profile = {name: checks(name, count) for name, count in zip(PROFILES, counts, strict=True)}
    found = scopes([nodeid for those in of_profile.values() for nodeid in those], PROFILES, shares)
    for name, those in of_profile.items():
        given_ = [found[nodeid] for nodeid in those]
        assert given_ == sorted(given_, key=lambda scope: int(scope.partition("/")[2] or 0))
        assert all(scope.partition("/")[0] == name for scope in given_)
        assert all(given_.count(scope) <= -(-sum(counts) // shares) for scope in given_)


@pytest.mark.parametrize(
    ("names", "driver", "workers"),
    [(["saas"], "a.b:C", 0), (["saas", "dedicated"], "a.b:C", 2), (["saas"], "local", 2)],
)
def test_a_deployment_that_exists_is_checked_by_one_process(names: list[str], driver: str, workers: int) -> None:
    assert _workers(None, names, None, driver) == workers
