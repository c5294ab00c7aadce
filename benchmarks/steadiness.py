"""The clean system again and again: how many runs in a row have nothing red, and how long each takes.

python -m benchmarks.steadiness --times 50 [--suite functional --suite isolation] [--profile saas] [--driver local]

Each run has a seed of its own. A run with a red verdict is told, its folder is kept, and the row begins anew; exit 1.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from reports.journal import JournalError, read
from reports.verdicts import Verdict

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Run:
    """One run. problems: what was red, or why there is no journal; empty for a good one."""

    seconds: float
    verdicts: Counter[str]
    problems: list[str]


def once(folder: Path, options: list[str]) -> Run:
    began = time.monotonic()
    command = [sys.executable, "-m", "conform", "run", "--run-dir", str(folder), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    try:
        journal = read(folder / "journal.jsonl")
    except JournalError as error:
        return Run(seconds, Counter(), [f"no journal ({error.what}): {done.stderr[-500:]}"])
    found = [(Verdict(record["verdict"]), record) for record in journal.of("verdict")]
    problems = [f"{v} {r['requirement']} {r['profile']}: {r['reason'][:300]}" for v, r in found if v.red]
    if done.returncode != 0 and not problems:
        problems.append(f"exit {done.returncode}: {done.stdout[-500:]}")
    return Run(seconds, Counter(verdict.value for verdict, _ in found), problems)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--suite", action="append", default=[])
    parser.add_argument("--profile", action="append", default=[])
    parser.add_argument("--driver", default="local")
    asked = parser.parse_args()
    options = ["--driver", asked.driver]
    for name in ("suite", "profile"):
        options += [part for value in getattr(asked, name) for part in (f"--{name}", value)]
    home, row, longest, seconds = Path(tempfile.mkdtemp(prefix="conform-steady-")), 0, 0, []
    for number in range(1, asked.times + 1):
        folder = home / f"run-{number}"
        run = once(folder, options)
        seconds.append(run.seconds)
        row = 0 if run.problems else row + 1
        longest = max(longest, row)
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(run.verdicts.items()))
        print(f"run {number}: {told} in {run.seconds:.0f} s; {row} in a row without red", flush=True)  # noqa: T201
        for problem in run.problems:
            print(f"  {problem}", flush=True)  # noqa: T201
        if not run.problems:
            shutil.rmtree(folder)
    middle = sorted(seconds)[len(seconds) // 2]
    print(f"{longest} of {asked.times} runs in a row without red; {middle:.0f} s each (median)")  # noqa: T201
    if longest < asked.times:
        print(f"what was red: {home}")  # noqa: T201
        return 1
    shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
