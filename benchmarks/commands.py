"""Whole commands, as a user waits for them: medians of five. python -m benchmarks.commands [--all]"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

SHORT = (
    ["run", "--only", "ISO-08", "--profile", "saas"],
    ["run", "--profile", "edge-dil"],
)
LONG = (["run"],)


def seconds(arguments: list[str]) -> tuple[float, int]:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "conform", *arguments], capture_output=True, check=False)
    return time.monotonic() - began, done.returncode


def main(long: bool) -> None:
    table = Table("command", "seconds", "runs", "exit codes")
    for arguments in SHORT + (LONG if long else ()):
        runs = [seconds(arguments) for _ in range(5)]
        median = statistics.median(each[0] for each in runs)
        table.add_row("conform " + " ".join(arguments), f"{median:.1f}", "5", ", ".join(str(each[1]) for each in runs))
    Console().print(table)


if __name__ == "__main__":
    main("--all" in sys.argv)
