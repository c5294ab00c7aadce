"""Read profiles; bad input gets one error that names file, line and key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from environments.link import LinkState, StateError, traces
from profiles.models import LinkSpec, NodeSpec, PathFile, Preset, Profile, Strict

T = TypeVar("T", bound="Strict")
FOLDER = Path(__file__).parent
NOT_PROFILES = {"links"}
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")  # of a model, of a dataclass
ORDER = (
    "saas",
    "dedicated",
    "onprem-connected",
    "onprem-tethered",
    "onprem-airgap",
    "edge-dil",
    "edge-airgap",
    "saas-to-dedicated",
    "dedicated-to-onprem",
)


class ProfileError(Exception):
    """A profile that cannot be used. `str()` is the one line for the user."""

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}. {remedy}")
        self.where, self.what, self.remedy = where, what, remedy


def ids() -> list[str]:
    """Ids of the profiles that ship with the suite: modes first, then paths."""
    found = {path.stem for path in FOLDER.glob("*.yaml")} - NOT_PROFILES
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def load(name: str) -> Profile:
    """The profile of that id, or of that file when `name` ends in .yaml. Raises ProfileError."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file() or path.stem in NOT_PROFILES:
        near = difflib.get_close_matches(name, ids(), 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known profiles: {', '.join(ids())}."
        raise ProfileError("--profile", f"there is no profile {name!r}", hint)
    raw, lines = _read(path)
    if isinstance(raw, dict) and "source" in raw:
        return _compose(_validate(PathFile, raw, path, lines))
    return _with_presets(_validate(Profile, raw, path, lines), path)


def _read(path: Path) -> tuple[Any, dict[tuple[str, ...], int]]:
    text = path.read_text(encoding="utf-8")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ProfileError(where, f"not YAML ({getattr(error, 'problem', error)})", "Mend the line.") from None
    lines: dict[tuple[str, ...], int] = {}
    _lines(node, (), lines)
    return raw, lines


def _lines(node: yaml.Node | None, at: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> None:
    if node is None:
        return
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*at, str(key.value))] = key.start_mark.line + 1
            _lines(value, (*at, str(key.value)), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*at, str(index))] = value.start_mark.line + 1
            _lines(value, (*at, str(index)), lines)


def _validate(model: type[T], raw: Any, path: Path, lines: dict[tuple[str, ...], int]) -> T:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        # a misspelt key is also a missing one: tell the misspelling
        first = min(error.errors(), key=lambda each: each["type"] not in UNKNOWN_KEY)
        at = tuple(str(part) for part in first["loc"])
        refused = (first.get("ctx") or {}).get("error")
        if isinstance(refused, StateError):
            at = (*at, refused.field)
        line = next((lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in lines), 1)
        key = ".".join(at) or path.stem
        what = "unknown key" if first["type"] in UNKNOWN_KEY else first["msg"].removeprefix("Value error, ")
        raise ProfileError(f"{path}:{line}: {key}", what, _remedy(model, first, at)) from None


def _remedy(model: type[Strict], error: Any, at: tuple[str, ...]) -> str:
    if error["type"] in UNKNOWN_KEY:
        near = difflib.get_close_matches(at[-1], _all_keys(model), 1)
        return f"Did you mean {near[0]!r}?" if near else "Remove the key."
    if error["type"] == "literal_error":
        return f"Expected {error['ctx']['expected']}."
    return "See docs/profiles.md."


def _all_keys(model: type[Strict]) -> list[str]:
    models: list[type[Strict]] = [model, NodeSpec, LinkSpec]
    states = {each.name for each in fields(LinkState)}
    return sorted({key for each in models for key in each.model_fields} | states)


def _with_presets(profile: Profile, path: Path) -> Profile:
    links = []
    for link in profile.links:
        if link.preset is not None:
            forward, back = preset(link.preset, f"{path}: links")
            link = link.model_copy(update={"forward": forward, "back": back})
        _traces_exist((link.forward, link.back or link.forward), f"{path}: links")
        links.append(link)
    return profile.model_copy(update={"links": links})


@cache
def presets() -> dict[str, Preset]:
    """Named links of links.yaml. Raises ProfileError for one that cannot be."""
    path = FOLDER / "links.yaml"
    raw, lines = _read(path)
    named = raw.get("presets") if isinstance(raw, dict) else None
    if not isinstance(named, dict):
        raise ProfileError(f"{path}:1: presets", "must be a mapping of names to presets", "See docs/links.md.")
    found = {}
    for name, entry in named.items():
        within = {at[2:]: line for at, line in lines.items() if at[:2] == ("presets", name)}
        found[name] = _validate(Preset, entry, path, within)
        _traces_exist(found[name].states, f"{path}:{within[()]}: {name}")
    return found


def _traces_exist(states: Iterable[LinkState], where: str) -> None:
    for state in states:
        try:
            if state.trace:
                traces.load(state.trace)
        except traces.TraceError as error:
            raise ProfileError(where, str(error), "See docs/links.md.") from None


def preset(name: str, where: str) -> tuple[LinkState, LinkState]:
    """(forward, back) states of a named preset. Raises ProfileError."""
    known = presets()
    if name not in known:
        near = difflib.get_close_matches(name, list(known), 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known presets: {', '.join(known)}."
        raise ProfileError(where, f"there is no link preset {name!r}", hint)
    return known[name].states


def _compose(path: PathFile) -> Profile:
    source, target = load(path.source), load(path.target)
    keep = {source.subject: source.nodes[source.subject], target.subject: target.nodes[target.subject]}
    sites = {**source.sites, **target.sites}
    return Profile(
        id=path.id,
        title=path.title,
        promise=path.promise,
        sites={name: sites[name] for name in {node.site: None for node in keep.values()}},
        nodes=keep,
        subject=source.subject,
        target=target.subject,
        links=[],
        egress=target.egress,
        suites=path.suites,
        path=path.path,
    )
