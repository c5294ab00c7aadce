"""How a check names its requirement and speaks its verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import pytest

from environments.contract.deployment import Capability

F = TypeVar("F", bound=Callable[..., Any])


class Vacuous(Exception):
    """Nothing was observed, so nothing was shown. Red."""


class Untestable(Exception):
    """The environment lacks a capability; the message names it and the remedy."""


class SuiteError(Exception):
    """The suite itself is at fault (a router that died, a canary that was not seen): `error`, never `fail`."""


def requirement(identifier: str, *, needs: tuple[Capability, ...] = (), only: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Bind a test to a requirement id of a catalogue.

    needs: capabilities without which the verdict is `untestable`. only: profile ids, when not every profile that the
    requirement applies to can host this check (another check must then cover the others)."""

    def bind(function: F) -> F:
        marked: F = pytest.mark.requirement(identifier, needs=needs, only=only)(function)
        return marked

    return bind


def vacuous(reason: str) -> NoReturn:
    raise Vacuous(reason)


def untestable(reason: str) -> NoReturn:
    raise Untestable(reason)
