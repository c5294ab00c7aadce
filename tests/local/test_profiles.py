"""Bad profiles get one error that names file, line, key and the nearest known name."""

from pathlib import Path

import pytest

import profiles

GOOD = (Path(profiles.__file__).parent / "edge-dil.yaml").read_text(encoding="utf-8")


def broken(tmp_path: Path, old: str, new: str) -> str:
    assert old in GOOD
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    return str(path)


def test_all_that_ship_load_and_each_mode_is_among_them() -> None:
    loaded = [profiles.load(name) for name in profiles.ids()]
    assert [each.id for each in loaded] == profiles.ids()
    assert {each.mode for each in loaded} == {"A", "B", "Ct", "Ca", "D"}
    assert {each.path for each in loaded} == {None, "A>B", "B>C"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("subject: edge-1", "subjct: edge-1", "Did you mean 'subject'"),
        ("variant: edge", "variant: edgy", "Expected"),
        ("ready_s: 10", "ready_s: -1", "greater than 0"),
        ("parent: saas", "parent: sass", "no node 'sass'"),
        ("preset: dil-degraded", "preset: dil-degrated", "Did you mean 'dil-degraded'"),
        ("site: edge-1", "site: [edge-1", "not YAML"),
        ("between: [edge-1, saas]", "between: [edge-1, edge-1]", "two different sites"),
        (
            "preset: dil-degraded",
            "forward: {loss: 0.9, burst: 2}",
            "forward.burst: burst must be at",
        ),
        ("preset: dil-degraded", "forward: {rate_bps: 9600}", "forward.queue_s: queue_s must be at least"),
        ("preset: dil-degraded", "forward: {dely_s: 1}", "Did you mean 'delay_s'"),
        ("preset: dil-degraded", "forward: {trace: lte-parking}", "one of lte-driving-down, lte-driving-up"),
    ],
)
def test_a_bad_profile_names_file_and_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = broken(tmp_path, old, new)
    with pytest.raises(profiles.ProfileError) as caught:
        profiles.load(path)
    assert expected in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def test_the_line_is_that_of_the_key(tmp_path: Path) -> None:
    path = broken(tmp_path, "    customer: acme", "    custmer: acme")
    line = Path(path).read_text().splitlines().index("    custmer: acme") + 1
    with pytest.raises(profiles.ProfileError, match=rf"mine\.yaml:{line}: nodes\.edge-1\.custmer"):
        profiles.load(path)


def test_a_misspelt_id_gets_the_nearest() -> None:
    with pytest.raises(profiles.ProfileError, match="Did you mean 'edge-dil'"):
        profiles.load("edge-dill")
