"""The lines of a journal, typed. Further fields are allowed: a journal can carry more than a report shows."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reports.journal import Journal, JournalError
from reports.verdicts import Verdict


class Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    line: int = Field(default=0, description="line of the journal this comes from")


class CatalogueEntry(BaseModel):
    """One requirement as the suite's catalogue.yaml states it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    suite: str
    level: str = ""
    priority: int = 0
    statement: str = ""
    basis: str = Field(default="", description="the clause it comes from")
    how: str = ""
    defect: str = ""
    modes: list[str] | None = None
    paths: list[str] | None = None

    @property
    def clause(self) -> str:
        """The basis in words: `S§4` is the strategy document, section 4, and `d` is derived good practice."""
        parts = [part.strip() for part in self.basis.replace("S§", "strategy document §").split(";")]
        return "; ".join("derived good practice" if part == "d" else part for part in parts)


class Applies(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    applies: bool
    reason: str = ""


class ProfileEntry(BaseModel):
    """One profile of the run, and for each catalogue id whether it applies."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    title: str = ""
    mode: str | None = None
    modes: Any = None
    path: str | None = None
    applies: dict[str, Applies]


class Header(Line):
    run_id: str
    started_at: str
    suite_version: str = ""
    argv: list[str] = []
    seed: int | None = None
    driver: str = ""
    host: dict[str, Any] = {}
    strict: bool = False
    catalogue: list[CatalogueEntry]
    profiles: list[ProfileEntry]
    in_force: list[str] = Field(default=[], description="ids that have a check")
    selected: list[str] | None = Field(default=None, description="ids this run was asked to check; null: all in force")
    stood_up: bool = Field(default=False, description="by `conform up` or `conform replay`: nothing was to be checked")
    link: str | None = Field(default=None, description="preset that every link was set to")
    profile_names: list[str] = Field(default=[], description="profiles as they were given: ids or files")
    schedule: str | None = Field(default=None, description="name of the schedule; its events are in schedule.yaml")
    defects_on: list[str] = Field(default=[], description="defects switched on by hand for this run")


class VerdictRecord(Line):
    """What one check said of one requirement in one profile."""

    requirement: str
    profile: str
    check: str = Field(description="pytest node id")
    verdict: Verdict
    reason: str = ""
    expected: str = ""
    observed: str = ""
    evidence: dict[str, Any] = {}
    started_at: str = ""
    duration_s: float = 0.0
    repro: str = ""
    defects: list[str] = []
    needs: str = Field(default="", description="for untestable: the capability or driver that is missing")
    deployment: str = ""


class TimelineRecord(Line):
    """A change of one link direction. `t_s`: seconds since the epoch, or since the start of the run."""

    profile: str
    deployment: str = ""
    t_s: float
    link: str
    direction: str = ""
    state: dict[str, Any] = {}
    reason: str = ""


class CalibrationRecord(Line):
    profile: str
    deployment: str = ""
    link: str
    measure: str
    asked: float | None
    measured: float | str | None
    tolerance: float | None = Field(default=None, description="absolute, in the unit of `asked`")
    ok: bool
    samples: int = 0
    low: float | None = Field(default=None, description="99 % confidence interval of what was measured")
    high: float | None = None
    cached_at: str | None = Field(default=None, description="when it was measured, if before this run on this host")


class EventRecord(Line):
    profile: str = ""
    deployment: str = ""
    t_s: float = 0.0
    what: str


class DeploymentRecord(Line):
    profile: str
    deployment: str = ""
    sites: list[str] = []
    nodes: Any = None
    ready_s: dict[str, float] = {}
    ready_limit_s: dict[str, float] = {}
    capabilities: list[str] = []
    missing: dict[str, str] = Field(default={}, description="capability -> why, and what to do")
    canaries: dict[str, dict[str, bool]] = Field(default={}, description="site -> kind of egress canary -> seen")
    congestion_control: dict[str, str] = Field(default={}, description="site -> how its TCP finds its rate, pinned")


Model = TypeVar("Model", bound=Line)


def header(journal: Journal) -> Header:
    """The header, with duplicate ids refused: two entries under one id would hide one of them."""
    found = _validated(journal, journal.header, Header)
    for what, ids in (
        ("requirement", [entry.id for entry in found.catalogue]),
        ("profile", [entry.id for entry in found.profiles]),
    ):
        for name in ids:
            if ids.count(name) > 1:
                raise _error(journal, 1, f"{what} {name} is listed twice")
    known = {entry.id for entry in found.catalogue}
    for field in ("in_force", "selected"):
        for name in getattr(found, field) or []:
            if name not in known:
                raise _error(journal, 1, f"{field} names {name}, which the catalogue does not have")
    return found


def records(journal: Journal, kind: str, model: type[Model]) -> list[Model]:
    return [_validated(journal, record, model) for record in journal.of(kind)]


def verdicts(journal: Journal, head: Header) -> list[VerdictRecord]:
    """All verdict records. One for an id or a profile the header lacks is refused: no report could show it."""
    found = records(journal, "verdict", VerdictRecord)
    ids, profiles = {entry.id for entry in head.catalogue}, {profile.id for profile in head.profiles}
    for record in found:
        if record.requirement not in ids:
            raise _error(journal, record.line, f"verdict for {record.requirement}, which the catalogue does not have")
        if record.profile not in profiles:
            raise _error(journal, record.line, f"verdict for profile {record.profile}, which is not in this run")
    return found


def _validated(journal: Journal, entry: Any, model: type[Model]) -> Model:
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _error(journal, int(entry["line"]), f"{entry['kind']} record, {where}: {first['msg']}") from error


def _error(journal: Journal, line: int, what: str) -> JournalError:
    return JournalError(
        journal.path, line, what, "Read it with the suite version that wrote it, or report this as its bug"
    )
