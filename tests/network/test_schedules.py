"""Schedule files: what is understood, and that a mistake is named by file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from environments.network.schedules import ScheduleError, load

LINKS = ["edge-1--core"]


def written(tmp_path: Path, text: str, name: str = "storm.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_schedule(tmp_path: Path) -> None:
    text = """
- {at_s: 5, link: core--edge-1, cut: true}
- at_s: 0
  link: edge-1>core
  state: {delay_s: 0.3, rate_bps: null}
- {at_s: 9.5, heal: true}
- {at_s: 12, link: edge-1--core, state: bad}
"""
    assert load(written(tmp_path, text), LINKS, {"bad": {"loss": 0.2}}) == [
        {"at_s": 0, "a": "edge-1", "b": "core", "both": False, "state": {"delay_s": 0.3, "rate_bps": None}},
        {"at_s": 5, "a": "core", "b": "edge-1", "both": True, "cut": True},
        {"at_s": 9.5, "heal": True},
        {"at_s": 12, "a": "edge-1", "b": "core", "both": True, "state": {"loss": 0.2}},
    ]


def test_json_too(tmp_path: Path) -> None:
    path = written(tmp_path, '[{"at_s": 1, "link": "edge-1--core", "cut": true}]', "storm.json")
    assert len(load(path, LINKS)) == 1


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("at_s: 1", 1, "schedule"),
        ("- 7", 1, "event"),
        ("- {at_s: 1, heal: true}\n- {at_s: soon, heal: true}", 2, "at_s"),
        ("- {heal: true}", 1, "at_s"),
        ("- {at_s: .nan, heal: true}", 1, "at_s"),
        ("- {at_s: 1, cut: true}", 1, "link"),
        ("- at_s: 1\n  link: edge-2--core\n  cut: true", 2, "link"),
        ("- {at_s: 1, link: edge-1--core}", 1, "event"),
        ("- {at_s: 1, link: edge-1--core, cut: true, heal: true}", 1, "event"),
        ("- at_s: 1\n  link: edge-1--core\n  cut: false", 3, "cut"),
        ("- at_s: 1\n  link: edge-1--core\n  state:\n    delay_s: 1\n    loss: 3", 5, "state.loss"),
        ("- at_s: 1\n  link: edge-1--core\n  state: {delay_ms: 3}", 3, "state.delay_ms"),
        ("- at_s: 1\n  link: edge-1--core\n  state: mars", 3, "state"),
        ("- at_s: 1\n  when: 3\n  heal: true", 2, "when"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, line: int, key: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ScheduleError) as caught:
        load(path, LINKS)
    assert (caught.value.line, caught.value.key) == (line, key)
    assert str(caught.value).startswith(f"{path}:{line}: {key}: ")


def test_what_is_no_yaml_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"storm.yaml:2: not YAML"):
        load(written(tmp_path, "- {at_s: 1\n- ]"), LINKS)
