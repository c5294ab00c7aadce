"""The fixtures of checks; registered where checks run, so that the tests of the suite itself do not see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from conform.checking import RUNNING, Checking
from conform.holder import Holder
from environments.contract import Deployment, Evidence


@pytest.fixture(scope="session")
def profile_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def deployment_holder(profile_id: str, request: pytest.FixtureRequest) -> Iterator[Holder]:
    checking = cast(Checking, request.config.pluginmanager.get_plugin("conform-checking"))
    holder = checking.holder(profile_id)
    try:
        yield holder
    finally:
        holder.close()


@pytest.fixture
def deployment(deployment_holder: Holder) -> Deployment:
    """The deployment of the profile, ready and healed."""
    return deployment_holder.get()


@pytest.fixture
def soak_s(request: pytest.FixtureRequest) -> float:
    """How long a node is left to itself under load (--soak)."""
    checking = cast(Checking, request.config.pluginmanager.get_plugin("conform-checking"))
    return checking.settings.soak_s


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """What the check observed; it goes to the journal with the verdict."""
    running = request.node.stash.get(RUNNING, None)
    return running.evidence if running is not None else Evidence()
