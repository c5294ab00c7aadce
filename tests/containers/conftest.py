from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from environments import unusable
from environments.drivers.containers.engine import Containers
from environments.drivers.containers.provision import available
from environments.images import EngineMissing, engine
from environments.images.manifest import Built
from tests.containers.tiny_image import archive

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode: `container_kit` is imported by name


@pytest.fixture(scope="session")
def containers_driver() -> None:
    """The driver can be used here; else the tests that need it are skipped, with the reason."""
    why = unusable("containers")
    if why:
        pytest.skip(why)


@pytest.fixture(scope="session")
def images(containers_driver: None) -> Mapping[str, Built]:
    return available()


@pytest.fixture
def containers(containers_driver: None) -> Iterator[Containers]:
    """An empty deployment."""
    made = Containers(f"test-{os.getpid()}-{time.monotonic_ns()}", "made")
    yield made
    made.close()


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    try:
        found = engine()
    except EngineMissing as error:
        pytest.skip(str(error))
    yield found
    found.close()


@pytest.fixture(scope="module")
def image(client: Any) -> Iterator[str]:
    name = f"conform-test-facts-{secrets.token_hex(4)}"
    client.api.import_image_from_data(archive(), repository=name, tag="latest", changes=['CMD ["/wait"]'])
    yield str(client.images.get(name).id)
    client.images.remove(name, noprune=False)
