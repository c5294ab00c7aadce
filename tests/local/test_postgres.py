"""PostgreSQL's programs and clusters on this host."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from environments.drivers.local import postgres


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_an_installation_that_its_account_cannot_reach_is_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a checkout in root's home."""
    cache = Path(postgres.cache_dir(), f"test-{os.getpid()}")
    cache.mkdir(mode=0o755)
    monkeypatch.setattr(postgres, "cache_dir", lambda: cache)
    monkeypatch.setattr(postgres, "_world_reachable", lambda path: False)
    try:
        assert postgres.binaries().is_relative_to(cache)
        postgres.initialise(cache / "cluster")
        assert (cache / "cluster" / "PG_VERSION").exists()
    finally:
        shutil.rmtree(cache)
