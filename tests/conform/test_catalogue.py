"""The catalogue: what is refused, and what applies where."""

from __future__ import annotations

from pathlib import Path

import pytest

import profiles
from conform import catalogue
from conform.catalogue import CatalogueError, load

GOOD = """\
requirements:
  - id: ISO-01
    level: MUST
    priority: 1
    statement: "one"
    modes: [A]
"""


def written(folder: Path, text: str, suite: str = "isolation") -> Path:
    path = folder / suite / "catalogue.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (GOOD.replace("level:", "levle:"), 2, "Did you mean 'level'?"),
        (GOOD.replace("MUST", "OUGHT"), 2, "level"),
        (GOOD.replace("ISO-01", "ISO1"), 2, "id"),
        (GOOD.replace("[A]", "[E]"), 2, "modes"),
        (GOOD.replace("    modes: [A]\n", ""), 2, "either modes or paths"),
        (GOOD.replace("modes: [A]", 'modes: [A]\n    paths: ["A>B"]'), 2, "either modes or paths"),
        (GOOD + GOOD.split("\n", 1)[1], 7, "is taken by"),
        (GOOD + "other: 1\n", 1, "one key"),
        ("requirements: [\n", 2, "not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(CatalogueError) as refusal:
        load(tmp_path)
    assert f"{path}:{line}" in str(refusal.value)
    assert says in str(refusal.value)


def test_an_id_of_two_suites_names_both(tmp_path: Path) -> None:
    first, second = written(tmp_path, GOOD), written(tmp_path, GOOD, "security")
    with pytest.raises(CatalogueError) as refusal:
        load(tmp_path)
    assert str(first) in str(refusal.value)
    assert str(second) in str(refusal.value)


def test_the_catalogue_that_ships_is_whole() -> None:
    entries = catalogue.catalogue()
    assert len(entries) == 174
    assert len({entry.suite for entry in entries.values()}) == 11


@pytest.mark.parametrize(
    ("requirement", "profile", "reason"),
    [
        ("SYN-01", "edge-dil", None),
        ("SYN-01", "saas", "mode D"),
        ("MIG-01", "saas-to-dedicated", None),
        ("MIG-01", "dedicated-to-onprem", "A>B"),
        ("MIG-01", "saas", "path A>B"),
        ("FUN-11", "saas-to-dedicated", "migration path"),
        ("ISO-08", "dedicated", "mode A"),
        ("META-04", "dedicated-to-onprem", None),
    ],
)
def test_what_applies_where_and_why_not(requirement: str, profile: str, reason: str | None) -> None:
    found = catalogue.applies(catalogue.catalogue()[requirement], profiles.load(profile))
    assert found.applies is (reason is None)
    assert (reason or "") in found.reason


def test_a_profile_has_one_row_for_each_id() -> None:
    rows = catalogue.applicability("edge-dil")
    assert [row["id"] for row in rows] == list(catalogue.catalogue())
    assert all(row["reason"] for row in rows)


def test_checks_are_found_in_the_source_even_of_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "isolation").mkdir()
    (tmp_path / "isolation" / "test_x.py").write_text(
        "import no_such_module\n@requirement('ISO-01', only=('saas', 'dedicated'))\ndef test_it(deployment):\n"
        "    '''It holds.'''\n@other('ISO-02')\ndef test_else(): pass\n"
    )
    (check,) = catalogue.checks(tmp_path)
    assert (check.requirement, check.function, check.says) == ("ISO-01", "test_it", "It holds.")
    assert check.only == ("saas", "dedicated")
