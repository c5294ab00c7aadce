"""A machine without a network: from the archive alone, a fresh environment gets the images into an empty engine, and
runs a profile with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_engine import OwnEngine

from environments.images.manifest import Built

CARRIED = ["pause", "companyos", "postgres", "neo4j", "opa", "directory", "llama", "tpm"]
VERIFIED = ["FUN-01", "FUN-02", "FUN-11", "AIR-01", "META-04"]
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def empty_engine() -> Iterator[OwnEngine]:
    if os.geteuid() != 0 or not shutil.which("dockerd") or not shutil.which("unshare"):
        pytest.skip("takes root, dockerd and unshare")
    try:
        engine = OwnEngine()
    except RuntimeError as why:
        pytest.skip(str(why))
    with engine:
        yield engine


def test_images_are_imported_and_run_where_there_is_no_network(
    built: dict[str, Built], empty_engine: OwnEngine, tmp_path: Path
) -> None:
    if absent := [name for name in CARRIED if name not in built]:
        pytest.skip(f"not built here: conform images build {' '.join(absent)}")
    archive = tmp_path / "lab.tar"
    said = subprocess.run(
        [sys.executable, "-m", "conform", "images", "export", str(archive), *CARRIED],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    digest = said.stdout.split()[-1]
    there = tmp_path / "there"
    there.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(there),
        "XDG_CACHE_HOME": str(there / "cache"),
        "DOCKER_HOST": empty_engine.host,
    }

    def inside(*argv: str) -> str:
        """In a namespace without a network, with nothing of this checkout at hand."""
        done = subprocess.run(
            ["unshare", "--net", *argv], cwd=there, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    inside("tar", "-xf", str(archive), "wheels")
    inside(sys.executable, "-m", "venv", "venv")
    python = str(there / "venv" / "bin" / "python")
    inside(
        python, "-m", "pip", "install", "-q", "--no-index", "--find-links", "wheels", "companyos-conform[containers]"
    )
    assert "site-packages" in inside(python, "-c", "import environments; print(environments.__file__)")
    conform = str(there / "venv" / "bin" / "conform")
    inside(conform, "images", "import", str(archive), "--sha256", digest)
    found = inside(conform, "images", "verify", "--deep", *CARRIED)
    for name in CARRIED:
        assert built[name].image_id in found
    assert found.count("read back") == len(CARRIED)
    asked = [option for each in VERIFIED for option in ("--only", each)]
    inside(conform, "run", "--driver", "containers", "--profile", "edge-airgap", "--run-dir", "run", *asked)
    report = json.loads((there / "run" / "report.json").read_text(encoding="utf-8"))
    verdicts = {cell["requirement"]: cell["verdict"] for cell in report["cells"]}
    assert {name: verdicts[name] for name in VERIFIED} == dict.fromkeys(VERIFIED, "pass")
