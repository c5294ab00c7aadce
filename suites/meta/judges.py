"""META-02: find every judge of every suite, and give it an empty history.

A judge is a public function `judge_*` of a module under suites/ that is no test. Its arguments are made empty by their
annotations: collections without members, numbers 0, text "", dataclasses of empty fields."""

from __future__ import annotations

import collections.abc
import dataclasses
import importlib
import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from environments.contract import SuiteError, Vacuous

SUITES = Path(__file__).parent.parent
Judge = Callable[..., Any]


def modules_with_judges() -> list[str]:
    """Names of the modules whose source defines a judge, without importing the others."""
    found = []
    for path in sorted(SUITES.rglob("*.py")):
        if "\ndef judge_" in path.read_text(encoding="utf-8"):
            found.append(".".join(path.relative_to(SUITES.parent).with_suffix("").parts))
    return found


def judges() -> dict[str, Judge]:
    """`suite.module.judge_name` -> function."""
    found: dict[str, Judge] = {}
    for name in modules_with_judges():
        module = importlib.import_module(name)
        for member, function in inspect.getmembers(module, inspect.isfunction):
            if member.startswith("judge_") and function.__module__ == name:
                found[f"{name.removeprefix('suites.')}.{member}"] = function
    return found


def empty(annotation: Any) -> Any:
    """The empty value of an annotated type."""
    origin = typing.get_origin(annotation)
    if annotation is None or annotation is type(None) or annotation is Any:
        return None
    if origin in (typing.Union, types.UnionType):
        parts = typing.get_args(annotation)
        return None if type(None) in parts else empty(parts[0])
    kind = origin or annotation
    if kind is collections.abc.Callable:
        return lambda *_: None
    for made, bases in (
        ("", (str,)),
        (b"", (bytes,)),
        (False, (bool,)),
        (0, (int,)),
        (0.0, (float,)),
    ):
        if kind in bases:
            return made
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{f.name: empty(hints[f.name]) for f in dataclasses.fields(kind) if f.init})
    if isinstance(kind, type):
        if issubclass(kind, collections.abc.Mapping):
            return {}
        if issubclass(kind, collections.abc.Set):
            return set()
        if issubclass(kind, tuple):
            arguments = typing.get_args(annotation)
            return () if not arguments or Ellipsis in arguments else tuple(empty(a) for a in arguments)
        if issubclass(kind, collections.abc.Iterable):
            return []
    raise TypeError(f"no empty value of {annotation}")


def on_nothing(judge: Judge) -> str:
    """`vacuous`, or what the judge says of an empty history instead."""
    hints = typing.get_type_hints(judge)
    parameters = inspect.signature(judge).parameters.values()
    arguments = {p.name: empty(hints[p.name]) for p in parameters if p.default is inspect.Parameter.empty}
    try:
        result = judge(**arguments)
    except Vacuous:
        return "vacuous"
    except SuiteError:  # an oracle that did not prove itself: `error`, which is as red
        return "refuses to judge"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"answers {result!r}"
