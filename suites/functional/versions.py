"""FUN-11: what a node says of its version, and where it says so."""

from __future__ import annotations

from collections.abc import Mapping

from environments.contract import vacuous

TOLD = ("product", "version", "schema_version")


def judge_one_version(said: Mapping[str, Mapping[str, object]]) -> list[str]:
    """`said`: place -> its document. A field that differs, or is not told; vacuous if fewer than two places tell."""
    if len(said) < 2:
        vacuous(f"{len(said)} place(s) tell a version; nothing can be compared")
    problems = []
    for field in TOLD:
        values = {place: document.get(field) for place, document in said.items()}
        problems += [f"{place} does not tell {field}" for place, value in values.items() if value is None]
        if len({repr(value) for value in values.values()}) > 1:
            problems.append(f"{field} differs: {values}")
    return problems
