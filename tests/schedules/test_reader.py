"""Schedule files: what is understood, that a mistake is named by file, line and key, that what is written is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.schedules import GENERATORS, ScheduleError, Targets, compiled, generate, read, written

HERE = Path("storm.yaml")
TARGETS = Targets(
    links=("edge-1--saas", "edge-2--saas"),
    processes=("edge-1/edge", "saas/data"),
    clocks=("edge-1", "saas"),
    disks=("edge-1",),
    dependencies=("saas/postgres",),
    states={"edge-1>saas": {"delay_s": 0.06}},
)


def test_every_kind_of_event() -> None:
    text = """
- {at_s: 5, link: edge-1--saas, cut: true}
- at_s: 0
  link: edge-1>saas
  state: {delay_s: 0.3, rate_bps: null}
- {at_s: 9.5, heal: true}
- {at_s: 1, process: edge-1/edge, pause: true}
- {at_s: 2, process: edge-1/edge, resume: true}
- {at_s: 3, clock: edge-1, freeze: 2038-01-19T03:14:07Z}
- {at_s: 4, clock: edge-1, step_s: -3600}
- {at_s: 5, clock: edge-1, release: true}
- {at_s: 6, disk: edge-1, slow_s: 0.2}
- {at_s: 7, disk: edge-1, heal: true}
- {at_s: 8, dependency: saas/postgres, toxic: {type: latency, latency: 300}}
- {at_s: 9, dependency: saas/postgres, heal: true}
"""
    schedule = compiled(text, HERE, TARGETS)
    assert [str(event) for event in schedule.events] == [
        "state edge-1>saas {'delay_s': 0.3, 'rate_bps': None}",
        "pause edge-1/edge",
        "resume edge-1/edge",
        "freeze edge-1 2147483647.0",
        "step_s edge-1 -3600",
        "cut edge-1--saas",
        "release edge-1",
        "slow_s edge-1 0.2",
        "heal edge-1",
        "toxic saas/postgres {'type': 'latency', 'latency': 300}",
        "heal saas/postgres",
        "heal edge-1--saas",  # `heal` alone: what was broken by then, both ways at once
    ]
    assert schedule.duration_s == 9.5
    assert compiled(written(schedule), HERE, TARGETS).events == schedule.events


def test_a_preset_has_two_directions() -> None:
    presets = {"sat": ({"delay_s": 0.3, "rate_bps": 1e6}, {"delay_s": 0.3, "rate_bps": 9e6})}
    text = "- {at_s: 0, link: edge-1--saas, state: sat}"
    there, back = compiled(text, HERE, TARGETS, presets.__getitem__).events
    assert (there.target, there.value["rate_bps"]) == ("edge-1>saas", 1e6)
    assert (back.target, back.value["rate_bps"]) == ("saas>edge-1", 9e6)


def test_a_shipped_preset_and_json() -> None:
    schedule = compiled('[{"at_s": 1, "link": "edge-1--saas", "state": "geo-vsat"}]', HERE, TARGETS)
    assert {event.value["delay_s"] for event in schedule.events} == {0.29}


def test_generated_and_own_events_together() -> None:
    text = """
generator: flapping
seed: 7
duration_s: 30
links: [edge-1--saas]
events:
- {at_s: 3, process: edge-1/edge, kill: true}
"""
    schedule = compiled(text, HERE, TARGETS)
    assert [event.kind for event in schedule.events].count("process") == 1
    assert len(schedule.of("link")) > 4
    assert schedule.grown_from == {"generator": "flapping", "seed": 7, "parameters": {"links": ["edge-1--saas"]}}
    assert compiled(text, HERE, TARGETS) == schedule


L, P = "link: edge-1--saas", "process: edge-1/edge"
MISTAKES = [
    ("at_s: 1", 1, "at_s"),
    ("7", 1, "schedule"),
    ("", 1, "schedule"),
    ("- 7", 1, "event"),
    (f"- {{at_s: 1, {L}, cut: true}}\n- {{at_s: soon, heal: true}}", 2, "at_s"),
    ("- {at_s: .nan, heal: true}", 1, "at_s"),
    ("- {at_s: 1, heal: true}", 1, "heal"),
    ("- {at_s: 1, cut: true}", 1, "event"),
    ("- at_s: 1\n  link: edge-3--saas\n  cut: true", 1, "link"),
    (f"- {{at_s: 1, {L}}}", 1, "event"),
    (f"- {{at_s: 1, {L}, {P}, cut: true}}", 1, "event"),
    (f"- {{at_s: 1, {L}, cut: true, heal: true}}", 1, "event"),
    (f"- at_s: 1\n  {L}\n  cut: false", 3, "cut"),
    (f"- at_s: 1\n  {L}\n  state:\n    delay_s: 1\n    loss: 3", 1, "state.loss"),
    (f"- at_s: 1\n  {L}\n  state: {{delay_ms: 3}}", 1, "state.delay_ms"),
    (f"- at_s: 1\n  {L}\n  state: mars", 3, "state"),
    (f"- at_s: 1\n  when: 3\n  {L}\n  cut: true", 2, "when"),
    (f"- {{at_s: 1, {L}, cut: true}}\n- {{at_s: 1, {L}, heal: true}}", 2, "heal"),
    (f"- {{at_s: 1, {L}, cut: true}}\n- {{at_s: 1, link: edge-1>saas, state: {{loss: 0.1}}}}", 2, "at_s"),
    (f"- {{at_s: 1, {L}, cut: true}}\n- {{at_s: 2, link: edge-1>saas, cut: true}}", 2, "cut"),
    (f"- {{at_s: 1, {L}, heal: true}}", 1, "heal"),
    (f"- {{at_s: 1, {P}, resume: true}}", 1, "resume"),
    (f"- {{at_s: 1, {P}, start: true}}", 1, "start"),
    (f"- {{at_s: 1, {P}, kill: true}}\n- {{at_s: 2, {P}, pause: true}}", 2, "pause"),
    (f"- {{at_s: 1, {P}, cut: true}}", 1, "cut"),
    ("- {at_s: 1, process: edge-1, kill: true}", 1, "process"),
    ("- {at_s: 1, clock: edge-1, release: true}", 1, "release"),
    ("- {at_s: 1, clock: edge-1, rate: 0}", 1, "rate"),
    ("- {at_s: 1, clock: edge-1, freeze: noon}", 1, "freeze"),
    ("- {at_s: 1, disk: saas, full: true}", 1, "disk"),
    ("- {at_s: 1, disk: edge-1, full: true}\n- {at_s: 2, disk: edge-1, full: true}", 2, "full"),
    ("- {at_s: 1, dependency: saas/postgres, toxic: latency}", 1, "toxic"),
    (f"duration_s: 5\nevents:\n- {{at_s: 9, {L}, cut: true}}", 3, "at_s"),
    ("duration_s: 5", 1, "schedule"),
    (f"lenght_s: 5\nevents:\n- {{at_s: 1, {L}, cut: true}}", 1, "lenght_s"),
    ("events: {}", 1, "events"),
    ("seed: 1\ngenerator: flaping\nduration_s: 9", 2, "generator"),
    ("generator: flapping\nduration_s: 9", 1, "seed"),
    ("generator: flapping\nseed: 1", 1, "duration_s"),
    ("generator: flapping\nseed: 1\nduration_s: 9\ndown_s: [0, 0]", 4, "down_s"),
    ("generator: flapping\nseed: 1\nduration_s: 9\ndown_s: [3, 1]", 4, "down_s"),
    ("generator: flapping\nseed: 1\nduration_s: 9\ndown: 3", 4, "down"),
    ("generator: storm\nseed: 1\nduration_s: 9\nkinds: [weather]", 4, "kinds"),
    ("generator: outages\nseed: 1\nduration_s: 0.001\nevery_s: 5", 3, "duration_s"),
    ("seed: 1\nseed: 2", 2, "seed"),
    ("- {at_s: 1\n- ]", 2, "schedule"),
]


@pytest.mark.parametrize(("text", "line", "key"), MISTAKES)
def test_a_mistake_is_named(text: str, line: int, key: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        compiled(text, HERE, TARGETS)
    assert str(caught.value).startswith(f"storm.yaml:{line}: {key}: ")


def test_a_kind_that_is_not_possible_here(tmp_path: Path) -> None:
    path = tmp_path / "disks.yaml"
    path.write_text("- {at_s: 1, disk: edge-1, full: true}\n")
    here = Targets(disks=("edge-1",), missing={"disk": "needs root"})
    with pytest.raises(ScheduleError, match=r"disks.yaml:1: disk: disk faults are not possible here: needs root"):
        read(path, here)


@pytest.mark.parametrize("name", list(GENERATORS))
@settings(deadline=None, max_examples=20)  # no example may fail for a busy machine
@given(seed=st.integers(0, 2**32))
def test_what_grows_from_a_seed_is_sound_and_replays(name: str, seed: int) -> None:
    natural = {"flap-3-3": None, "azure-offline": None, "fibre-reroute": None, "vsat-blockage": 4000.0}
    duration_s = natural.get(name, 500.0)
    grown = generate(name, seed=seed, duration_s=duration_s, targets=TARGETS)
    assert generate(name, seed=seed, duration_s=duration_s, targets=TARGETS) == grown
    again = compiled(written(grown), HERE, TARGETS)  # refuses whatever is impossible
    assert again.document() == grown.document()


def test_another_seed_is_another_schedule() -> None:
    first, second = (generate("flapping", seed=seed, duration_s=60, targets=TARGETS) for seed in (1, 2))
    assert first.events != second.events


def test_one_more_link_changes_nothing_for_the_others() -> None:
    alone = generate("flapping", seed=3, duration_s=60, targets=Targets(links=("edge-1--saas",)))
    both = generate("flapping", seed=3, duration_s=60, targets=TARGETS)
    assert [event for event in both.events if event.target == "edge-1--saas"] == list(alone.events)


def test_a_pattern_by_name() -> None:
    schedule = generate("flap-3-3", seed=1, duration_s=None, targets=Targets(links=("a--b",)))
    assert [(event.at_s, event.action) for event in schedule.events[:4]] == [
        (0, "cut"),
        (3, "heal"),
        (6, "cut"),
        (9, "heal"),
    ]
    assert (len(schedule.events), schedule.duration_s) == (16, 48)
    fast = generate("azure-offline", seed=1, duration_s=None, targets=TARGETS, parameters={"scale": "60"})
    assert fast.duration_s == 395
