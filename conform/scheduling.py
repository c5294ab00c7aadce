"""Which worker runs what: the checks of a profile go to one worker, so that it holds one deployment at a time. A
profile with more than a worker's share goes to several, each of which stands its own deployment up.

xdist's own loadgroup would do for the first, but its 3.8 marks groups by writing to `_nodeid`, which pytest 9.2 no
longer reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]


def profile_in(nodeid: str, profiles: Iterable[str]) -> str | None:
    """The profile of a node id: its first parameter, as pytest_generate_tests puts it there."""
    parameters = nodeid.partition("[")[2].removesuffix("]")
    fitting = [name for name in profiles if parameters == name or parameters.startswith(f"{name}-")]
    return max(fitting, key=len, default=None)  # saas-to-dedicated begins with saas


def scopes(nodeids: Sequence[str], profiles: Sequence[str], shares: int) -> dict[str, str]:
    """Node id -> scope: its profile; with shares of it, in order and of one size, where that has more checks than a
    `shares`-th of them all. What has no profile is a scope of its own."""
    of_profile: dict[str, list[str]] = {}
    for nodeid in nodeids:
        of_profile.setdefault(profile_in(nodeid, profiles) or nodeid, []).append(nodeid)
    found = {}
    for name, those in of_profile.items():
        parts = -(-len(those) * shares // len(nodeids))
        size = -(-len(those) // parts)
        found.update({nodeid: name if parts == 1 else f"{name}/{n // size}" for n, nodeid in enumerate(those)})
    return found


class ByProfile(LoadScopeScheduling):  # type: ignore[misc]
    """The largest first. whole: a profile is not shared among workers (its deployment exists, and there is one)."""

    def __init__(self, config: pytest.Config, log: Producer | None, profiles: Iterable[str], whole: bool) -> None:
        super().__init__(config, log)
        self._profiles, self._whole = tuple(profiles), whole
        self._scopes: dict[str, str] = {}

    def schedule(self) -> None:
        if self.collection is None:
            nodeids = next(iter(self.registered_collections.values()))
            self._scopes = scopes(nodeids, self._profiles, 1 if self._whole else len(self.nodes))
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self._scopes[nodeid]
