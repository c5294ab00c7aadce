"""What was asked for on the command line, in the names of the pytest options; `settings.settle` validates it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Asked:
    profile: list[str]
    only: list[str] = field(default_factory=list)
    suite: list[str] = field(default_factory=list)
    defect: list[str] = field(default_factory=list)
    seed: int | None = None
    conform_strict: bool = False
    link: str | None = None
    schedule: str | Path | None = None
    clocks: str = "knob"
    driver: str = "local"
    soak: float = 20.0
    run_dir: str | Path | None = None
    run_id: str | None = None
    keep: bool = False
    no_report: bool = False
    uncalibrated: bool = False
    until_red: bool = False

    def arguments(self) -> list[str]:
        """The same for pytest."""
        arguments = []
        for name in ("profile", "only", "suite", "defect"):
            for value in getattr(self, name):
                arguments += [f"--{name}", value]
        for name in ("seed", "link", "schedule", "clocks", "driver", "soak", "run_dir", "run_id"):
            if getattr(self, name) is not None:
                arguments += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        for name in ("conform_strict", "keep"):
            if getattr(self, name):
                arguments.append(f"--{name.replace('_', '-')}")
        return arguments
