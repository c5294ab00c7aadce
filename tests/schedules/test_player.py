"""Playing: links go to the router, the rest is carried out here; what was broken is mended when it stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from environments.contract import Capability
from environments.schedules import Event, ScheduleError
from environments.schedules.player import Player
from suites.waiting import wait_until
from tests.schedules.fakes import LINK, cut, deployment, heal, schedule

P = "edge-1/edge"


def test_each_kind_is_carried_out_at_its_time() -> None:
    here = deployment()
    wanted = [
        Event(0.0, "process", P, "pause"),
        Event(0.01, "process", P, "resume"),
        Event(0.02, "clock", "edge-1", "step_s", 60.0),
        Event(0.03, "disk", "edge-1", "slow_s", 0.2),
        Event(0.04, "disk", "edge-1", "heal"),
        Event(0.05, "dependency", "edge-1/oidc", "toxic", {"type": "latency", "latency": 9}),
        Event(0.06, "process", P, "restart"),
    ]
    told: list[object] = []
    player = Player(here, schedule(*wanted), told.append)
    player.start()
    assert wait_until(lambda: len(player.played) == len(wanted), 30) < 30
    assert here.done == [
        ("node.pause", "edge"),
        ("node.resume", "edge"),
        ("clock.step", "edge-1", 60.0),
        ("disks.slow", "edge-1", 0.2),
        ("disks.heal", "edge-1"),
        ("dependencies.set", "edge-1/oidc", "latency", {"latency": 9}),
        ("node.kill", "edge"),
        ("node.start", "edge"),
    ]
    assert told == player.played
    assert all(each.late_s >= 0 and not each.problem for each in player.played)
    here.done.clear()
    player.stop()
    player.stop()
    assert sorted(here.done) == [("clock.release", "edge-1"), ("dependencies.heal", "edge-1/oidc")]


def test_links_are_handed_over_and_healed() -> None:
    here = deployment()
    player = Player(here, schedule(cut(0.0, "edge-1>saas"), cut(3000), heal(3001)))
    player.start()
    assert here.network.sent == [
        {"at_s": 0.0, "a": "edge-1", "b": "saas", "both": False, "cut": True},
        {"at_s": 3000, "a": "edge-1", "b": "saas", "both": True, "cut": True},
        {"at_s": 3001, "a": "edge-1", "b": "saas", "both": True, "heal": True},
    ]
    assert player.playing()
    player.stop()
    assert here.done == [("network.stop_playing",), ("network.heal", "edge-1", "saas")]
    assert not player.playing()


def test_what_a_check_did_first_is_noted_and_is_no_problem() -> None:
    here = deployment()
    here.nodes["edge-1"].down = True
    player = Player(here, schedule(Event(0.0, "process", P, "kill")))
    player.start()
    assert wait_until(lambda: bool(player.played), 30) < 30
    player.stop()
    assert (player.played[0].note, player.problems(), here.done) == ("it does not run", [], [])


def test_what_cannot_be_carried_out_is_a_problem() -> None:
    here = deployment(clock=object())
    player = Player(here, schedule(Event(0.0, "clock", "edge-1", "rate", 2.0, "storm.yaml:3")))
    player.start()
    assert wait_until(lambda: bool(player.played), 30) < 30
    player.stop()
    assert player.problems()[0].startswith("storm.yaml:3: rate edge-1 2.0: AttributeError")


@pytest.mark.parametrize(
    ("event", "changes", "why"),
    [
        (cut(1), {"capabilities": frozenset(), "missing": {Capability.LINK_CUTS: "needs namespaces"}}, "namespaces"),
        (Event(1, "disk", "edge-1", "full"), {"disks": None}, "no disks"),
        (Event(1, "dependency", "edge-1/ldap", "cut"), {}, "no dependency 'edge-1/ldap'; dependencies: edge-1/oidc"),
        (Event(1, "process", "edge-1/data", "kill"), {}, "no process 'edge-1/data'; processes: edge-1/edge"),
        (cut(1, "edge-1--mars"), {}, f"links: {LINK}"),
    ],
)
def test_a_target_that_is_not_there_is_refused_before_anything_starts(
    event: Event, changes: dict[str, object], why: str, tmp_path: Path
) -> None:
    here = deployment(**changes)
    with pytest.raises(ScheduleError, match=why):
        Player(here, schedule(event))
    assert here.done == []
