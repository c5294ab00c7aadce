from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode: `nodes` is imported by name


def pytest_sessionfinish(session: pytest.Session) -> None:
    nodes = sys.modules.get("nodes")
    while nodes and nodes.stops:
        nodes.stops.pop()()
