from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from environments.images import EngineMissing, engines, manifest
from environments.images.manifest import Built

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode: the kits here are imported by name
sys.path.insert(0, str(Path(__file__).parents[1] / "containers"))  # own_engine


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = engines.engine()
    except EngineMissing as why:
        pytest.skip(str(why))
    yield client
    client.close()


@pytest.fixture(scope="session")
def built(engine: docker.DockerClient) -> dict[str, Built]:
    """The images that are built here already; tests of one that is not are skipped by `image`."""
    return manifest.current()
