"""ISO-22: which flaws a PostgreSQL server still has, by the version that it runs and not by what is said of it.

Sources, read 2026-11: postgresql.org/support/security (a page per CVE names the first minor release of each major that
is fixed) and postgresql.org/support/versioning (the last day of each major). A major newer than all of the tables was
branched after the fixes and is maintained; the tables are then due for a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from environments.contract import vacuous


@dataclass(frozen=True)
class Flaw:
    cve: str
    what: str
    fixed_in: Mapping[int, int]  # major -> first minor without it; a major below all of them was never fixed


_AUGUST_2025 = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}
FLAWS = (
    Flaw(
        "CVE-2023-2455", "row security ignores a change of user after inlining", {11: 20, 12: 15, 13: 11, 14: 8, 15: 3}
    ),
    Flaw(
        "CVE-2024-10976",
        "row security below subqueries disregards a change of user",
        {12: 21, 13: 17, 14: 14, 15: 9, 16: 5, 17: 1},
    ),
    Flaw("CVE-2025-8713", "statistics show rows that row security hides", _AUGUST_2025),
    Flaw("CVE-2025-8714", "a dump runs code at its restore, by the source's superuser", _AUGUST_2025),
    Flaw("CVE-2025-8715", "a dump runs code at its restore, by a newline in a name", _AUGUST_2025),
)
LAST_DAY: Mapping[int, date] = {
    13: date(2025, 11, 13),
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}
# The catalogue version is in the data files and in the server's code: a server cannot run on files of another major.
CATALOGUE: Mapping[int, int] = {
    13: 202007201,
    14: 202107181,
    15: 202209061,
    16: 202307071,
    17: 202406281,
    18: 202506291,
}

FACTS = """
select current_setting('server_version_num')::int as number, version() as text,
       (select catalog_version_no from pg_control_system()) as catalogue"""


@dataclass(frozen=True)
class Engine:
    """What the server told a superuser's session."""

    number: int  # server_version_num: 160002 is 16.2
    text: str  # version()
    catalogue: int  # catalogue version of its data files

    @property
    def release(self) -> tuple[int, int]:
        return self.number // 10000, self.number % 10000

    @property
    def version(self) -> str:
        return f"{self.release[0]}.{self.release[1]}"


def open_flaws(major: int, minor: int, flaws: Sequence[Flaw] = FLAWS) -> list[Flaw]:
    """The flaws that this release has."""
    return [
        flaw
        for flaw in flaws
        if major < min(flaw.fixed_in) or (major in flaw.fixed_in and minor < flaw.fixed_in[major])
    ]


def judge_engine(engine: Engine | None, claimed: str | None, today: str) -> list[str]:
    """Fixed, maintained, consistent with itself, and what discovery claims. today: as 2026-11-25.

    Vacuous if no server was asked."""
    if engine is None:
        vacuous("no session told the version of the engine")
    major, minor = engine.release
    problems = [
        f"PostgreSQL {engine.version} has {flaw.cve} ({flaw.what}): fixed in "
        + ", ".join(f"{one}.{two}" for one, two in sorted(flaw.fixed_in.items()) if one >= major)
        for flaw in open_flaws(major, minor)
    ]
    last = LAST_DAY.get(major)
    if major < min(LAST_DAY) or (last is not None and today > last.isoformat()):
        problems.append(f"PostgreSQL {major} has no fixes any more (its last day was {last or 'before 2025'})")
    if major in CATALOGUE and engine.catalogue != CATALOGUE[major]:
        problems.append(f"says {engine.version}, its data files are of catalogue {engine.catalogue}: another major")
    if f"PostgreSQL {engine.version}" not in engine.text:
        problems.append(f"server_version_num says {engine.version}, version() says {engine.text[:60]!r}")
    if claimed != engine.version:
        problems.append(f"discovery claims {claimed or 'no version'}, the server is {engine.version}")
    return problems
