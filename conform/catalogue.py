"""The catalogue: every requirement of every suite, which of them have a check, and what applies to which profile."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import profiles
from profiles import Profile
from profiles.models import MODE_OF_VARIANT

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same grammar, a tenth of the time
SUITES = Path(__file__).resolve().parent.parent / "suites"
MODE_NAMES = {
    "A": "SaaS",
    "B": "dedicated",
    "Ct": "on-prem connected or tethered",
    "Ca": "on-prem air-gapped",
    "D": "edge",
}
assert set(MODE_NAMES) == set(MODE_OF_VARIANT.values())


class CatalogueError(Exception):
    """A catalogue that cannot be used. `str()` is the one line for the user."""


class Requirement(BaseModel):
    """One promise that can be put to the test."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[A-Z]{3,4}-\d{2}$")
    suite: str
    level: Literal["MUST", "SHOULD", "MAY"]
    priority: int = Field(ge=1, le=3)
    statement: str = Field(min_length=1)
    modes: tuple[Literal["A", "B", "Ct", "Ca", "D"], ...] | None = None
    paths: tuple[Literal["A>B", "B>C"], ...] | None = None
    needs_links: bool = False  # nothing to ask of a profile whose sites no link joins
    how: str = ""
    defect: str = ""
    basis: str = ""

    @property
    def meta(self) -> bool:
        """About the suite itself: it applies in every mode."""
        return self.suite == "meta"


@dataclass(frozen=True)
class Applies:
    applies: bool
    reason: str = ""


@dataclass(frozen=True)
class Check:
    """A test function that decides a requirement, as found in the source (nothing is imported)."""

    requirement: str
    suite: str
    path: Path
    function: str
    says: str  # first paragraph of its docstring
    only: tuple[str, ...] = ()  # profiles that can host it; empty: every one that the requirement applies to


def load(folder: Path = SUITES) -> dict[str, Requirement]:
    """Every requirement by id, suites in alphabetical order, ids in file order. Raises CatalogueError."""
    found: dict[str, Requirement] = {}
    where: dict[str, str] = {}
    files = sorted(folder.glob("*/catalogue.yaml"))
    if not files:
        raise CatalogueError(f"{folder}: no suite has a catalogue.yaml. Is this the folder of the suites?")
    for path in files:
        for line, raw in _entries(path):
            entry = _validated(path, line, raw)
            if entry.id in found:
                raise CatalogueError(
                    f"{path}:{line}: id {entry.id} is taken by {where[entry.id]}. Give it an id of its own."
                )
            found[entry.id] = entry
            where[entry.id] = f"{path}:{line}"
    return found


@cache
def catalogue() -> dict[str, Requirement]:
    """The catalogue that ships with the suite, read once."""
    return load()


def _entries(path: Path) -> list[tuple[int, Any]]:
    """(line, raw entry) of each requirement of the file."""
    text = path.read_text(encoding="utf-8")
    try:
        node, raw = yaml.compose(text, Loader=_LOADER), yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise CatalogueError(f"{path}:{line}: not YAML ({getattr(error, 'problem', error)}). Mend the line.") from None
    if not isinstance(raw, dict) or set(raw) != {"requirements"} or not isinstance(raw["requirements"], list):
        raise CatalogueError(f"{path}:1: expected one key, requirements, with a list. Remove other keys.")
    assert isinstance(node, yaml.MappingNode)
    sequence = node.value[0][1]
    return [(item.start_mark.line + 1, entry) for item, entry in zip(sequence.value, raw["requirements"], strict=True)]


def _validated(path: Path, line: int, raw: Any) -> Requirement:
    if not isinstance(raw, dict):
        raise CatalogueError(f"{path}:{line}: a requirement is a mapping. Mend the entry.")
    try:
        entry = Requirement.model_validate({**raw, "suite": path.parent.name})
    except ValidationError as error:
        # A misspelt key is also a missing one; the misspelling is what helps.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        hint = f" {nearest(key, Requirement.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise CatalogueError(f"{path}:{line}: {raw.get('id', '?')}: {key}: {first['msg']}.{hint}") from None
    scopes = [scope for scope in (entry.modes, entry.paths) if scope]
    if len(scopes) != (0 if entry.meta else 1):
        wanted = "no modes or paths (it applies everywhere)" if entry.meta else "either modes or paths"
        raise CatalogueError(f"{path}:{line}: {entry.id}: must name {wanted}. Mend the entry.")
    return entry


def applies(entry: Requirement, profile: Profile) -> Applies:
    """Whether the profile is held to the requirement, and why not."""
    if entry.needs_links and not profile.links:
        return Applies(False, f"about links, and {profile.id} has none")
    if entry.meta:
        return Applies(True)
    if profile.path is not None:
        if not entry.paths:
            return Applies(False, f"about a mode, and {profile.id} is the migration path {profile.path}")
        if profile.path not in entry.paths:
            return Applies(False, f"about the path {', '.join(entry.paths)}, not {profile.path}")
    elif entry.paths:
        return Applies(False, f"about the migration path {', '.join(entry.paths)}")
    elif profile.mode not in (entry.modes or ()):
        asked = ", ".join(entry.modes or ())
        return Applies(
            False, f"asked of mode {asked}; {profile.id} is mode {profile.mode} ({MODE_NAMES[profile.mode]})"
        )
    if entry.suite not in profile.suites:
        return Applies(False, f"profile {profile.id} leaves suite {entry.suite} out")
    return Applies(True)


def applicability(profile: str) -> list[dict[str, str]]:
    """One row per id for a profile: {id, profile, verdict, reason}; what a report says before any check has run."""
    loaded = profiles.load(profile)
    checked = {check.requirement for check in checks()}
    rows = []
    for entry in catalogue().values():
        found = applies(entry, loaded)
        verdict, reason = "not-applicable", found.reason
        if found.applies:
            in_force = entry.id in checked
            verdict, reason = ("applies", "has a check") if in_force else ("no-check-yet", "in the catalogue, no check")
        rows.append({"id": entry.id, "profile": profile, "verdict": verdict, "reason": reason})
    return rows


def checks(folder: Path = SUITES) -> list[Check]:
    """Every test bound to a requirement, read from the source, so that one that cannot be imported still counts."""
    return [check for path in sorted(folder.glob("*/test_*.py")) for check in _checks_in(path)]


@cache  # within a process, sources stay as they are
def _checks_in(path: Path) -> Sequence[Check]:
    return tuple(_bound_in(path))


def _bound_in(path: Path) -> Iterable[Check]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError:
        return  # pytest reports the file as a collection error
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        says = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "requirement" and call.args:
                bound = call.args[0]
                if isinstance(bound, ast.Constant):
                    only = tuple(_constants(call, "only"))
                    yield Check(str(bound.value), path.parent.name, path, node.name, says, only)


def _constants(call: ast.Call, keyword: str) -> Iterable[str]:
    for given in call.keywords:
        if given.arg == keyword and isinstance(given.value, ast.Tuple):
            yield from (str(each.value) for each in given.value.elts if isinstance(each, ast.Constant))


def suites(entries: Iterable[Requirement]) -> list[str]:
    return list(dict.fromkeys(entry.suite for entry in entries))


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint after an unknown name: the nearest known one, or what is known."""
    choices = list(known)
    folded = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), list(folded), 1)
    if close:
        return f"Did you mean {folded[close[0]]!r}?"
    if not choices:
        return "There is none."
    shown = ", ".join(choices[:12])
    return f"Known: {shown}{' and more' if len(choices) > 12 else ''}."


def unknown(kind: str, names: Sequence[str], known: Iterable[str], what: str = "") -> str | None:
    """The error line for the first name that is not known; None if all are."""
    choices = list(known)
    for name in names:
        if name not in choices:
            return f"--{kind}: there is no {what or kind} {name!r}. {nearest(name, choices)}"
    return None
