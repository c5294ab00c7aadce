"""A link by itself: two sites, the link between them, measured. For presets before anybody relies on them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from environments.contract.deployment import Calibration
from environments.link import LinkState
from environments.network.calibration import FULL, Effort
from environments.network.network import Network, SitePlan

EDGE, CORE = "edge", "core"


def prove(
    up: LinkState, down: LinkState, effort: Effort = FULL, *, seed: int = 0, cache_folder: Path | None = None
) -> list[Calibration]:
    """Rows of edge>core (up), core>edge (down) and edge--core. Raises NamespacesUnavailable, SuiteError."""
    plans = [SitePlan(EDGE, 0, sealed=True), SitePlan(CORE, 1, sealed=True)]
    with tempfile.TemporaryDirectory(prefix="conform-link-") as workdir:
        links = {(EDGE, CORE): up, (CORE, EDGE): down}
        with Network.start("link-calibrate", plans, links, seed, Path(workdir)) as network:
            return network.calibrate(effort, cache_folder)
