"""Which worker runs what: all checks of a profile go to one worker, so that it holds one deployment at a time.

xdist's own loadgroup would do, but its 3.8 marks groups by writing to `_nodeid`, which pytest 9.2 no longer reads.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]


def profile_in(nodeid: str, profiles: Iterable[str]) -> str | None:
    """The profile of a node id: its first parameter, as pytest_generate_tests puts it there."""
    parameters = nodeid.partition("[")[2].removesuffix("]")
    fitting = [name for name in profiles if parameters == name or parameters.startswith(f"{name}-")]
    return max(fitting, key=len, default=None)  # saas-to-dedicated begins with saas


class ByProfile(LoadScopeScheduling):  # type: ignore[misc]
    """A scope is a profile; the largest first."""

    def __init__(self, config: pytest.Config, log: Producer | None, profiles: Iterable[str]) -> None:
        super().__init__(config, log)
        self._profiles = tuple(profiles)

    def _split_scope(self, nodeid: str) -> str:
        return profile_in(nodeid, self._profiles) or nodeid
