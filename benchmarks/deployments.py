"""Seconds to ready per profile, memory per node: medians of five. python -m benchmarks.deployments [profile...]"""

from __future__ import annotations

import statistics
import sys
import time

from rich.console import Console
from rich.table import Table

import profiles
from environments import provision

REPEATS = 5


def measure(name: str) -> tuple[dict[str, float], float, dict[str, float]]:
    """(node -> seconds to ready, seconds until checks can start, node -> resident MB without PostgreSQL)."""
    began = time.monotonic()
    with provision(profiles.load(name)) as deployment:
        whole_s = time.monotonic() - began
        memory = {each.name: each.memory_bytes() / 1e6 for each in deployment.locals.values()}
        return dict(deployment.ready_s), whole_s, memory


def main(names: list[str]) -> None:
    table = Table("profile", "node", "ready, s", "all proven, s", "memory, MB", title=f"median of {REPEATS}")
    for name in names or profiles.ids():
        runs = [measure(name) for _ in range(REPEATS)]
        whole_s = statistics.median(run[1] for run in runs)
        for node in runs[0][0]:
            ready_s = statistics.median(run[0][node] for run in runs)
            megabytes = statistics.median(run[2][node] for run in runs)
            table.add_row(name, node, f"{ready_s:.2f}", f"{whole_s:.2f}", f"{megabytes:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
