from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from environments import unusable
from environments.drivers.containers.engine import Containers
from environments.drivers.containers.provision import NEEDED
from environments.images import built
from environments.images.manifest import Built

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode: `container_kit` is imported by name


@pytest.fixture(scope="session")
def containers_driver() -> None:
    """The driver can be used here; else the tests that need it are skipped, with the reason."""
    why = unusable("containers")
    if why:
        pytest.skip(why)


@pytest.fixture(scope="session")
def images(containers_driver: None) -> Mapping[str, Built]:
    return built(*NEEDED)


@pytest.fixture
def containers(containers_driver: None) -> Iterator[Containers]:
    """An empty deployment."""
    made = Containers(f"test-{os.getpid()}-{time.monotonic_ns()}", "made")
    yield made
    made.close()
