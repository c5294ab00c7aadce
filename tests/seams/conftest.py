from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "companyos"):
    sys.path.insert(0, str(folder))  # importlib mode: `servers` and `nodes` are imported by name

import nodes  # noqa: E402
import servers  # noqa: E402


@pytest.fixture(scope="session")
def neo4j(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    server = servers.neo4j(tmp_path_factory.mktemp("neo4j"), nodes.free_port())
    yield server
    server.kill()


def pytest_sessionfinish(session: pytest.Session) -> None:
    while nodes.stops:
        nodes.stops.pop()()
