"""ISO-20: what two dedicated instances must not share, as values read from each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from environments.contract import vacuous

ASPECTS = ("database system", "data directory", "signing key", "address")


def judge_separation(instances: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """`instances`: node -> aspect -> values. A value that two hold is a problem; an aspect without one is vacuous."""
    if len(instances) < 2:
        vacuous(f"{len(instances)} instance(s): separation needs two")
    for name, aspects in instances.items():
        blank = [aspect for aspect in ASPECTS if not aspects.get(aspect)]
        if blank:
            vacuous(f"{name} shows no {', no '.join(blank)}")
    names = sorted(instances)
    return [
        f"{one} and {two} share {aspect} {value}"
        for index, one in enumerate(names)
        for two in names[index + 1 :]
        for aspect in ASPECTS
        for value in sorted(set(instances[one][aspect]) & set(instances[two][aspect]))
    ]
