"""Two runs of the same profiles by two drivers: the same verdict of every requirement, or a capability says why not."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from reports.model import Cell, Profile, Report
from reports.verdicts import Verdict


class Likeness(StrEnum):
    """What became of one requirement in one profile under two drivers."""

    SAME = "same"
    DECLARED = "declared"  # one of them declares that it lacks a capability, and so could not look
    BUG = "bug"  # of the product, of a driver, or of the suite: nothing explains the difference
    ASIDE = "aside"  # not looked at by one of the runs, or by both: says nothing


class Row(BaseModel):
    """One requirement in one profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requirement: str
    profile: str
    verdicts: tuple[Verdict, Verdict]
    likeness: Likeness
    why: str


class Parity(BaseModel):
    """Of two runs; `first` and `second` are (driver, run id)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: tuple[str, str]
    second: tuple[str, str]
    profiles: list[str]
    rows: list[Row]

    def count(self, likeness: Likeness, profile: str | None = None) -> int:
        return sum(row.likeness is likeness and profile in (None, row.profile) for row in self.rows)

    @property
    def holds(self) -> bool:
        """Nothing differs without a reason, and something was compared."""
        return self.count(Likeness.BUG) == 0 and self.count(Likeness.SAME) > 0


class NotComparable(Exception):
    """Two runs whose verdicts may differ for reasons of their own; `str()` is the one line for the user."""


_ASIDE = (Verdict.NOT_SELECTED, Verdict.NO_CHECK_YET, Verdict.NOT_APPLICABLE)


def compare(first: Report, second: Report) -> Parity:
    """Raises NotComparable."""
    _comparable(first, second)
    theirs = {profile.id: profile for profile in second.profiles}
    profiles = [(profile, theirs[profile.id]) for profile in first.profiles if profile.id in theirs]
    if not profiles:
        raise NotComparable("the two runs have no profile in common. Run the same profiles with both drivers")
    return Parity(
        first=(first.run.driver, first.run.run_id),
        second=(second.run.driver, second.run.run_id),
        profiles=[profile.id for profile, _ in profiles],
        rows=[row for pair in profiles for row in _rows(first, second, *pair)],
    )


def _comparable(first: Report, second: Report) -> None:
    if first.run.driver == second.run.driver:
        raise NotComparable(f"both runs are of driver {first.run.driver}. Give one of each: local, then containers")
    for report in (first, second):
        if report.run.stood_up or report.partial:
            raise NotComparable(f"run {report.run.run_id} was cut short, or checked nothing. Give whole runs")
    for what in ("defects_on", "schedule"):
        one, other = getattr(first.run, what), getattr(second.run, what)
        if one != other:
            raise NotComparable(f"the runs differ in {what}: {one} and {other}. Run both in the same circumstances")
    if [entry.id for entry in first.requirements] != [entry.id for entry in second.requirements]:
        raise NotComparable("the runs are of different catalogues. Run both with the same suite")


def _rows(first: Report, second: Report, ours: Profile, theirs: Profile) -> Iterator[Row]:
    cells = [{cell.requirement: cell for cell in each.cells if cell.profile == ours.id} for each in (first, second)]
    for requirement, one in cells[0].items():
        other = cells[1][requirement]
        likeness, why = _likeness((one, ours), (other, theirs))
        yield Row(
            requirement=requirement,
            profile=ours.id,
            verdicts=(one.verdict, other.verdict),
            likeness=likeness,
            why=why,
        )


def _likeness(*sides: tuple[Cell, Profile]) -> tuple[Likeness, str]:
    (one, _), (other, _) = sides
    if Verdict.ERROR in (one.verdict, other.verdict):
        broken = one if one.verdict is Verdict.ERROR else other
        return Likeness.BUG, f"without a sound verdict: {broken.reason}"
    if one.verdict in _ASIDE or other.verdict in _ASIDE:
        return Likeness.ASIDE, ""
    if one.verdict is other.verdict:
        return Likeness.SAME, ""
    for cell, profile in sides:
        if cell.verdict is Verdict.UNTESTABLE and cell.needs in _missing(profile):
            return Likeness.DECLARED, f"{cell.needs}: {_missing(profile)[cell.needs]}"
    return Likeness.BUG, "; ".join(dict.fromkeys(f"{cell.verdict}: {cell.reason}" for cell, _ in sides))


def _missing(profile: Profile) -> dict[str, str]:
    """What the deployments of a profile declared that they lack."""
    return {name: why for each in profile.deployments for name, why in each.missing.items()}
