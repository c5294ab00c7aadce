"""Wiring: networks for tests, skipped with the reason where this machine refuses namespaces."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from environments.contract.deployment import LinkState
from environments.network import NamespacesUnavailable, Network, SitePlan, probe

Links = Mapping[tuple[str, str], LinkState]
RUN_ID = f"test-{os.getpid()}"  # tests run beside each other
PLANS = (SitePlan("core", 0), SitePlan("edge-1", 1, sealed=True))


@pytest.fixture(scope="session")
def namespaces() -> str:
    try:
        return probe()
    except NamespacesUnavailable as refusal:
        pytest.skip(f"{refusal.reason}: {refusal.remedy}")


@pytest.fixture
def start(namespaces: str, tmp_path: Path) -> Iterator[Callable[..., Network]]:
    """start(links, ...) -> Network of core and a sealed edge-1, ended with the test."""
    started: list[Network] = []

    def start_one(links: Links | None = None, plans: Sequence[SitePlan] = PLANS, **options: Any) -> Network:
        links = {("edge-1", "core"): LinkState()} if links is None else links
        workdir = tmp_path / str(len(started))
        started.append(Network.start(RUN_ID, plans, links, options.pop("seed", 42), workdir, **options))
        return started[-1]

    yield start_one
    for network in started:
        network.stop()
