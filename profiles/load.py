"""Read profiles; bad input gets one error that names file, line and key."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from profiles.models import LinkSpec, NodeSpec, PathFile, Profile, State, Strict

T = TypeVar("T", bound="Strict")
FOLDER = Path(__file__).parent
NOT_PROFILES = {"links"}
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
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        at = tuple(str(part) for part in first["loc"])
        line = next((lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in lines), 1)
        key = ".".join(at) or path.stem
        raise ProfileError(f"{path}:{line}: {key}", first["msg"], _remedy(model, first, at)) from None


def _remedy(model: type[Strict], error: Any, at: tuple[str, ...]) -> str:
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(at[-1], _all_keys(model), 1)
        return f"Did you mean {near[0]!r}?" if near else "Remove the key."
    if error["type"] == "literal_error":
        return f"Expected {error['ctx']['expected']}."
    return "See docs/profiles.md."


def _all_keys(model: type[Strict]) -> list[str]:
    models: list[type[Strict]] = [model, NodeSpec, LinkSpec, State]
    return sorted({key for each in models for key in each.model_fields})


def _with_presets(profile: Profile, path: Path) -> Profile:
    links = []
    for link in profile.links:
        if link.preset is not None:
            forward, back = preset(link.preset, f"{path}: links")
            link = link.model_copy(update={"forward": forward, "back": back, "preset": link.preset})
        links.append(link)
    return profile.model_copy(update={"links": links})


def presets() -> dict[str, dict[str, Any]]:
    """Named link states of links.yaml."""
    loaded: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "links.yaml").read_text(encoding="utf-8"))["presets"]
    return loaded


def preset(name: str, where: str) -> tuple[State, State]:
    """(forward, back) states of a named preset. Raises ProfileError."""
    known = presets()
    if name not in known:
        near = difflib.get_close_matches(name, list(known), 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known presets: {', '.join(known)}."
        raise ProfileError(where, f"there is no link preset {name!r}", hint)
    entry = known[name]
    up = State.model_validate(entry["up"])
    return up, State.model_validate(entry.get("down", entry["up"]))


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
