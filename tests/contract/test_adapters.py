"""Adapters that are none: one clear error, and nothing is started. One that fits: its deployment is what checks get."""

from __future__ import annotations

from pathlib import Path

import pytest

import profiles
from environments import adapters
from environments.adapters import AdapterError

MODULES = {
    "breaks": "1 / 0",
    "needs": "import no_such_package",
    "empty": "class Adapter:\n    def __init__(self, profile, *, run_id, seed): ...",
    "gives_nothing": "def adapter(profile, *, run_id, seed): return object()",
    "gives_up": "def adapter(profile, *, run_id, seed): raise ConnectionError('the lab is closed')",
    "odd": "Adapter = 7\ndef adapter(profile): ...",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of the current folder, as somebody has them who tries an adapter out."""
    for name, source in MODULES.items():
        (tmp_path / f"adapter_that_{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("adapter_that_breaks:Adapter", "ZeroDivisionError"),
        ("adapter_that_needs:Adapter", "no_such_package"),
        ("adapter_that_empty:Adapter", "it lacks calibration, canaries, capabilities"),
        ("adapter_that_empty:adapter", "Did you mean Adapter?"),
        ("adapter_that_odd:Adapter", "is int, not a class or function"),
        ("adapter_that_odd:adapter", "adapter(profile, run_id=..., seed=...)"),
        ("adapter_that_is_not_there:Adapter", "cannot be imported"),
        (":Adapter", "package.module:Adapter"),
        ("adapter_that_empty:", "package.module:Adapter"),
    ],
)
def test_what_is_no_adapter_is_refused_before_it_is_called(name: str, says: str) -> None:
    with pytest.raises(AdapterError) as refused:
        adapters.load(name)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_a_function_gives_is_looked_at_when_it_gave_it() -> None:
    with pytest.raises(AdapterError, match="is no Deployment"):
        adapters.make("adapter_that_gives_nothing:adapter", profiles.load("saas"), run_id="r", seed=1)
    with pytest.raises(ConnectionError, match="the lab is closed"):
        adapters.make("adapter_that_gives_up:adapter", profiles.load("saas"), run_id="r", seed=1)


def test_the_adapter_of_the_documentation_fits() -> None:
    assert adapters.load("environments.adapters.http_only:HttpOnly")
