"""The guides say what the code does: their blocks are parts of the files that they name, and the examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reports.journal import read

ROOT = Path(__file__).parents[2]
GUIDES = ("writing-a-check.md", "writing-an-adapter.md")
BLOCK = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", re.M | re.S)
DEFECTS = ("version_page_of_the_release_before", "version_page_tells_the_schema_of_the_code")


def blocks(guide: str) -> list[tuple[str, str]]:
    text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
    return [(path, body) for _, path, body in BLOCK.findall(text)]


@pytest.mark.parametrize("guide", GUIDES)
def test_each_block_is_a_part_of_the_file_that_it_names(guide: str) -> None:
    found = blocks(guide)
    assert len(found) >= 5
    for path, body in found:
        assert body in (ROOT / path).read_text(encoding="utf-8"), f"{guide}: the block of {path} differs:\n{body}"


@pytest.mark.parametrize("guide", GUIDES)
def test_what_the_guides_link_to_and_name_is_there(guide: str) -> None:
    text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
    targets = [ROOT / "docs" / name for name in re.findall(r"\]\(([\w./-]+)\)", text)]
    targets += [ROOT / name for name in re.findall(r"`((?:suites|tests|environments|docs)/[\w./-]+)`", text)]
    assert targets
    assert [str(target) for target in targets if not target.exists()] == []
    assert guide in (ROOT / "README.md").read_text(encoding="utf-8")


def run(folder: Path, *options: str) -> dict[str, tuple[str, str]]:
    """Check -> (verdict, reason) of FUN-11 on a real deployment."""
    command = [sys.executable, "-m", "conform.cli", "run", "--profile", "saas", "--only", "FUN-11", "-n", "0"]
    command += ["--run-dir", str(folder), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (folder / "journal.jsonl").exists(), done.stdout + done.stderr
    verdicts = read(folder / "journal.jsonl").of("verdict")
    return {v["check"].split("::")[1].split("[")[0]: (v["verdict"], v["reason"]) for v in verdicts}


def test_the_check_of_the_guide_holds_on_a_clean_deployment_and_is_red_on_its_defects(tmp_path: Path) -> None:
    check = "test_every_place_tells_the_same_version"
    assert run(tmp_path / "clean")[check] == ("pass", "")
    for name in DEFECTS:
        verdict, reason = run(tmp_path / name, "--defect", name)[check]
        assert verdict == "fail"
        assert "version differs" in reason
