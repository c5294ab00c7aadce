"""The judge of versions: documents that agree pass, each way to disagree is told, too few say nothing."""

from __future__ import annotations

import pytest

from environments.contract import Vacuous
from suites.functional.versions import judge_one_version

SAID = {"product": "companyos", "version": "1.4.0", "schema_version": 1}


def test_documents_that_agree_pass() -> None:
    assert judge_one_version({"/a": SAID, "/b": {**SAID, "more": 1}}) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": "1.3.0"}, "version differs: {'/a': '1.4.0', '/b': '1.3.0'}"),
        ({"schema_version": 0}, "schema_version differs"),
        ({"schema_version": "1"}, "schema_version differs"),  # a number is not its text
        ({"product": None}, "/b does not tell product"),
    ],
)
def test_each_way_to_disagree_is_told(changes: dict[str, object], says: str) -> None:
    assert judge_one_version({"/a": SAID, "/b": {**SAID, **changes}})[0].startswith(says)


@pytest.mark.parametrize("said", [{}, {"/a": SAID}])
def test_with_nothing_to_compare_it_is_vacuous(said: dict[str, dict[str, object]]) -> None:
    with pytest.raises(Vacuous):
        judge_one_version(said)
