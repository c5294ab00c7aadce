"""A machine that cannot run the containers driver is told so in one line, before anything is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import environments
from conform.cli import main
from environments.drivers.containers import provision, sweep


def test_without_an_engine_a_run_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for command in (["run", "--profile", "saas"], ["up", "saas"], ["kill-matrix"]):
        assert main([*command, "--driver", "containers"]) == 254
        told = capsys.readouterr().err
        assert "--driver containers: " in told
        assert f"{tmp_path}/no.sock" in told
        assert len(told.strip().splitlines()) == 1


def test_without_root_the_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert environments.unusable("containers") == provision.NO_ROOT
    assert environments.unusable("local") == ""


def test_an_unknown_driver_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--driver", "container"]) == 254
    assert "Did you mean 'containers'?" in capsys.readouterr().err


def test_without_an_engine_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    assert sweep.sweep() == []
