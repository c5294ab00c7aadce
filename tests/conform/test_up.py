"""conform up: refuses what it cannot stand up as asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from environments.network import NamespacesUnavailable, probe

ROOT = Path(__file__).parents[2]


def test_a_link_that_is_not_what_was_asked_is_refused(tmp_path: Path) -> None:
    try:
        probe()
    except NamespacesUnavailable as refusal:
        pytest.skip(str(refusal))
    argv = [sys.executable, "-m", "conform", "up", "edge-dil", "--defect", "router_adds_no_delay", "--for", "60"]
    done = subprocess.run(
        argv,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 255
    assert "not calibrated: delay_s asked 0.06" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert list(tmp_path.glob("runs/*/report.html"))
