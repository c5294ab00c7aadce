from __future__ import annotations

from typing import Any

import pytest

from environments.companyos import defects


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []
    monkeypatch.setattr(defects, "_registry", {})

    @defects.defect(kills=("ISO-08",), modes=("A",), roles=("data",))
    def opens_a_door(services: Any) -> None:
        """The door is open."""
        seen.append(services)

    @defects.defect(kills=("ISO-10",), modes=("A",), phase="install")
    def breaks_the_lock(config: Any, connection: Any) -> None:
        seen.append((config, connection))

    return seen


def test_a_defect_applies_in_its_phase_mode_and_process_alone(applied: list[Any]) -> None:
    names = ["opens_a_door", "breaks_the_lock"]
    defects.apply(names, "service", "A", "data", "services")
    defects.apply(names, "service", "A", "control", "services")
    defects.apply(names, "service", "D", "data", "services")
    assert applied == ["services"]
    defects.apply(names, "install", "A", "install", "config", "connection")
    assert applied[1:] == [("config", "connection")]
    assert defects.registry()["opens_a_door"].says == "The door is open."


def test_an_unknown_defect_is_an_error() -> None:
    with pytest.raises(SystemExit, match="no such defect"):
        defects.apply(["does_not_exist"], "service", "A", "data", None)
    defects.apply([], "service", "A", "data", None)
