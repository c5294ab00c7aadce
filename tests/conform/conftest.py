"""A folder with suites of its own and a deployment that is made up, so that the plugin can be seen from outside."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reports.journal import Journal, read

ROOT = Path(__file__).parents[2]
FAKE = '''
import environments
from types import SimpleNamespace
from environments.contract import Calibration, Capability, Mode

class Fake:
    """What a driver gives, with switches for what may go wrong."""

    def __init__(self, profile, **options):
        self.profile, self.path, self.run_id, self.seed = profile.id, profile.path, options["run_id"], options["seed"]
        self.capabilities = frozenset(Capability) - {Capability.CLOCK_CONTROL}
        self.missing = {Capability.CLOCK_CONTROL: "no clock here. Use the local driver."}
        self.modes = {profile.subject: Mode(profile.mode)}
        self.ready_s = self.ready_limit_s = {profile.subject: 1.0}
        self.calibration = [Calibration("a--b", "rtt_s", 0.1, 0.1, 0.01, CALIBRATED, 20)]
        self.canaries = {"core": {"tcp": CANARIES}}
        self.fallen, self.healed, self.sick = [], 0, False
        self.options = options
        LOG("made " + profile.id)

    def crashed(self):
        found, self.fallen = self.fallen, []
        return found

    def heal(self):
        self.healed += 1
        if self.sick:
            raise RuntimeError("edge stays down")

    def timeline(self):
        return [{"t_s": 1.0, "link": "a--b", "direction": "a>b", "state": {"up": True}, "reason": "start"}]

    def close(self, keep_files=False):
        LOG("closed " + self.profile)

CALIBRATED, CANARIES, BREAKS = True, True, ""

def LOG(line):
    import os
    with open(os.environ["FAKE_LOG"], "a") as file:
        file.write(line + "\\n")

def provision(profile, **options):
    if BREAKS:
        raise TimeoutError(BREAKS)
    return Fake(profile, **options)

environments.provision = provision
'''
HEAD = """
import pytest
from environments.contract import Capability, SuiteError, TransportError, requirement, untestable, vacuous
"""


@dataclass
class Ran:
    """One pytest run over made-up checks."""

    code: int
    output: str
    folder: Path
    log: list[str]

    @property
    def journal(self) -> Journal:
        return read(self.folder / "journal.jsonl")

    def verdicts(self) -> list[dict[str, Any]]:
        return [dict(record) for record in self.journal.of("verdict")]

    def said(self) -> dict[str, str]:
        """Test function -> verdict; of several profiles the last."""
        return {record["check"].split("::")[1].split("[")[0]: record["verdict"] for record in self.verdicts()}

    def events(self) -> list[str]:
        return [str(record["what"]) for record in self.journal.of("event")]


Suites = Callable[..., Ran]


@pytest.fixture
def suites(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suites:
    """Run pytest on checks given as text, with options; `changes` replace the switches of the fake."""

    def run(checks: str, *options: str, suite: str = "isolation", **changes: object) -> Ran:
        fake = FAKE
        for name, value in changes.items():
            fake += f"\n{name} = {value!r}\n"
        pytester.makeconftest(fake)
        pytester.makeini("[pytest]\n")
        folder = pytester.path / "suites" / suite
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test_made_up.py").write_text(HEAD + checks)
        log = pytester.path / "fake.log"
        monkeypatch.setenv("FAKE_LOG", str(log))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        arguments = ("suites", "-p", "conform.plugin", "--import-mode=importlib", "--run-dir", "out", *options)
        done = pytester.runpytest_subprocess(*arguments, timeout=120)
        lines = log.read_text().splitlines() if log.exists() else []
        output = "\n".join(done.outlines + done.errlines)
        return Ran(int(done.ret), output, pytester.path / "out", lines)

    return run
