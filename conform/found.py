"""Deployments that run in another shell, as the commands that look at one find it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conform import catalogue
from conform.settings import BadArguments

if TYPE_CHECKING:
    from environments.drivers.local.running import Running

BY_HAND = "up-"  # how run ids of `conform up` begin


def running() -> list[Running]:
    from environments.drivers.local.running import running

    return running()


def find(run: str | None, who: str, *, to_change: bool = False) -> Running:
    """The deployment of that run; by default the newest of `conform up`. `who`: the command, for its error line.

    to_change: a test run's is never taken unless it is named, since that would make its verdicts worthless.
    """
    found = running()
    if run is not None:
        named = [each for each in found if each.run_id == run]
        if not named:
            near = catalogue.nearest(run, [each.run_id for each in found])
            raise BadArguments(f"--run: no deployment of run {run!r}. {near}")
        return named[0]
    if not found:
        raise BadArguments(f"{who}: no deployment runs. Start one in another shell: conform up edge-dil")
    by_hand = [each for each in found if each.run_id.startswith(BY_HAND)]
    if to_change and not by_hand:
        raise BadArguments(
            f"{who}: only test runs are up, and a change would spoil them. Start a deployment of your own (conform up"
            f" edge-dil), or name one: --run {found[0].run_id}"
        )
    return (by_hand or found)[0]


def ask(deployment: Running, who: str, **fields: Any) -> dict[str, Any]:
    """A command to its router (environments.network.control). BadArguments: it is gone, or refuses."""
    try:
        answer: dict[str, Any] = deployment.command(**fields)
    except OSError as error:
        raise BadArguments(
            f"{who}: the router of run {deployment.run_id} does not answer ({error}). conform clean"
        ) from None
    except ValueError as error:
        raise BadArguments(f"{who}: {error}") from None
    return answer
