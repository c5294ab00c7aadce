"""Schedules on real things: exact in time on the router, carried out on processes, and undone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import profiles
from conform import playing
from conform.holder import Holder
from environments import provision
from environments.contract import LinkState
from environments.drivers.local.deployment import LocalDeployment
from environments.network import NamespacesUnavailable, Network, SitePlan, probe
from environments.schedules import Event, Schedule
from environments.schedules.player import Player, command_of
from suites.waiting import wait_until
from tests.schedules.fakes import cut, heal, schedule

LIMIT_S = 60.0


@pytest.fixture(scope="module")
def namespaces() -> None:
    try:
        probe()
    except NamespacesUnavailable as refusal:
        pytest.skip(f"{refusal.reason}: {refusal.remedy}")


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "links.jsonl").read_text().splitlines()]


def test_every_change_is_logged_with_the_time_that_was_asked(namespaces: None, tmp_path: Path) -> None:
    """That none is early, and none is left out; how late they are is a benchmark's matter, on a quiet machine."""
    events = [event for n in range(20) for event in (cut(n * 0.05), heal(n * 0.05 + 0.025))]
    storm = schedule(*events)
    plans = [SitePlan("saas", 0), SitePlan("edge-1", 1)]
    with Network.start("test-run", plans, {("edge-1", "saas"): LinkState()}, 1, tmp_path) as network:
        network.play(storm.name, [command_of(event) for event in storm.events])
        assert wait_until(lambda: not network.playing(), LIMIT_S) < LIMIT_S
    changes = [row for row in rows(tmp_path) if row["reason"] != "start"]
    began_s = float(changes[0]["t_s"])  # type: ignore[arg-type]
    late = playing.landed(changes, storm.name, began_s)
    assert len(late) == 2 * len(events)  # two directions each
    assert min(late) > -0.001


@pytest.fixture(scope="module")
def edge(namespaces: None) -> Iterator[LocalDeployment]:
    with provision(profiles.load("edge-dil"), run_id="test-schedules", calibrate=False) as deployment:
        yield deployment


@pytest.mark.timeout(180)
def test_processes_and_links_together_and_undone(edge: LocalDeployment) -> None:
    """A kill and a cut by schedule are there; a heal of the deployment ends the schedule, and all is as before."""
    player = Player(edge, schedule(Event(0.1, "process", "edge-1/edge", "kill"), cut(0.2), heal(3000)))
    edge.before_heal(player.stop)
    player.start()
    assert wait_until(lambda: not edge.links.get("edge-1", "saas").up, LIMIT_S) < LIMIT_S
    assert wait_until(lambda: bool(player.played), LIMIT_S) < LIMIT_S
    assert not edge.nodes["edge-1"].alive("edge")
    edge.heal()
    assert edge.nodes["edge-1"].alive("edge")
    assert edge.links.get("edge-1", "saas").up
    assert not player.playing() and not edge.network.playing()
    assert player.problems() == [] and edge.crashed() == []


@pytest.mark.timeout(180)
def test_the_journal_tells_what_was_done_and_when(edge: LocalDeployment) -> None:
    told: list[dict[str, object]] = []

    class Told(Holder):
        def __init__(self) -> None:
            """Only its journal is used."""

        def event(self, what: str, **more: object) -> None:
            told.append({"what": what, **more})

    storm = schedule(Event(0.05, "process", "edge-1/edge", "restart"), cut(0.1), heal(0.2))
    player = playing.start(Told(), edge, storm)
    assert wait_until(lambda: not player.playing() and len(told) == 2, LIMIT_S) < LIMIT_S
    edge.heal()
    assert [each["what"] for each in told] == [
        "schedule storm.yaml starts: 3 events / 0.2 s",
        "storm.yaml at 0.05 s: restart edge-1/edge",
    ]
    assert len(playing.landed(edge.timeline(), storm.name, player.started_at_s)) == 4


def test_what_this_deployment_cannot_do_is_refused_with_its_reason(edge: LocalDeployment) -> None:
    with pytest.raises(ValueError, match="disk faults are not possible here"):
        Player(edge, Schedule("full.yaml", (Event(1, "disk", "edge-1", "full"),), 1.0))
