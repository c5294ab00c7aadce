"""Deployments that others stand up: `conform run --driver package.module:Adapter`. See docs/writing-an-adapter.md."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any, Protocol

from environments.contract import Deployment
from profiles import Profile


class Adapter(Protocol):
    """A class, or a function, that gives the deployment of a profile. Called once in each process that runs checks.

    What it gives has the members of `environments.contract.Deployment`, and `close`."""

    def __call__(self, profile: Profile, *, run_id: str, seed: int) -> Any: ...


class AdapterError(Exception):
    """What was named is no adapter; `str()` is the one line for the user."""


def is_adapter(driver: str) -> bool:
    return ":" in driver


def members() -> set[str]:
    """What a deployment must have."""
    return {name for name in vars(Deployment) if not name.startswith("_")} | {"close"}


def load(name: str) -> Adapter:
    """The adapter `module:attribute`, looked for in the current folder first. AdapterError."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute.isidentifier():
        raise AdapterError(f"expected package.module:Adapter, not {name!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise AdapterError(f"module {module_name} cannot be imported: {error}") from None
    except Exception as error:
        raise AdapterError(f"module {module_name} cannot be imported: {type(error).__name__}: {error}") from None
    found = getattr(module, attribute, None)
    if found is None:
        near = difflib.get_close_matches(attribute, [each for each in dir(module) if not each.startswith("_")], 1)
        raise AdapterError(f"module {module_name} has no {attribute}." + (f" Did you mean {near[0]}?" if near else ""))
    _refuse_misfit(found, attribute)
    adapter: Adapter = found
    return adapter


def _refuse_misfit(found: Any, name: str) -> None:
    """What can be told before it is called. A class says in its body what its objects have (an annotation will do)."""
    if not callable(found):
        raise AdapterError(f"{name} is {type(found).__name__}, not a class or function that gives a deployment")
    try:
        inspect.signature(found).bind(None, run_id="", seed=0)
    except (TypeError, ValueError) as error:
        raise AdapterError(f"{name} is not to be called as {name}(profile, run_id=..., seed=...): {error}") from None
    if inspect.isclass(found):
        said = {each for base in found.__mro__ for each in (*vars(base), *vars(base).get("__annotations__", ()))}
        _refuse_lacking(name, members() - said)


def _refuse_lacking(name: str, lacking: set[str]) -> None:
    if lacking:
        raise AdapterError(f"{name} is no Deployment (environments.contract): it lacks {', '.join(sorted(lacking))}")


def make(driver: str, profile: Profile, *, run_id: str, seed: int) -> Any:
    """The deployment of the profile. AdapterError if it lacks what a deployment has; beyond that, what it raises."""
    deployment = load(driver)(profile, run_id=run_id, seed=seed)
    _refuse_lacking(driver, {name for name in members() if not _has(deployment, name)})
    return deployment


def _has(deployment: Any, name: str) -> bool:
    return name in dir(deployment) or name in getattr(deployment, "__dict__", {})
