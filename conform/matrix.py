"""The kill matrix: which defect turns which requirement red, and what the system without defects says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from conform.catalogue import SUITES

FORMAT = "companyos-conform-kill-matrix/1"


class Fate(StrEnum):
    KILLED = "killed"  # every requirement that claims the defect failed, and the sample stayed green
    SURVIVED = "survived"  # a requirement that claims it did not fail
    FALSE_ALARM = "false-alarm"  # the sample turned red
    ERROR = "error"  # the suite or the deployment broke, so nothing was shown
    UNTESTABLE = "untestable"  # this host lacks what the check needs; the reason names it
    HOMELESS = "homeless"  # no profile can carry the defect and a check that claims it


class Row(BaseModel):
    """One defect."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defect: str
    phase: str
    says: str
    profiles: list[str]
    claimed: dict[str, str]  # requirement -> verdict with the defect on
    sample: dict[str, str]  # requirement -> verdict with the defect on
    fate: Fate
    reason: str = ""
    seconds: float = 0.0
    log: str = ""


class Matrix(BaseModel):
    """All defects, and the clean run of the checks that claim them."""

    model_config = ConfigDict(extra="forbid")

    format: str = FORMAT
    suites_digest: str
    driver: str = "local"
    complete: bool  # every known defect and the clean run
    clean: dict[str, str]  # requirement -> verdict without defects, the worst of the profiles it ran in
    clean_reasons: dict[str, str] = {}
    kills: dict[str, list[str]]  # requirement -> defects that turned it red
    without_defect: list[str]  # requirements that have a check and no defect that kills it
    rows: list[Row]
    seconds: float = 0.0
    digest: str = ""

    @property
    def ok(self) -> bool:
        """No survivor, no false alarm, nothing red without defects. What this host cannot show is not held against it,
        and is counted by `untestable`."""
        clean = all(verdict in ("pass", "untestable") for verdict in self.clean.values())
        killed = all(row.fate in (Fate.KILLED, Fate.UNTESTABLE) for row in self.rows)
        return clean and killed and not (self.complete and self.without_defect)

    @property
    def untestable(self) -> list[str]:
        """Defects that could not be tried on this host."""
        return [row.defect for row in self.rows if row.fate is Fate.UNTESTABLE]

    def sealed(self) -> Matrix:
        """With the digest over everything but the times and places of the run."""
        content = self.model_dump(mode="json", exclude={"digest", "seconds", "clean_reasons"})
        for row in content["rows"]:
            for name in ("seconds", "log", "reason"):
                row.pop(name)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return self.model_copy(update={"digest": hashlib.sha256(text.encode()).hexdigest()})


def kills_of(rows: Iterable[Row]) -> dict[str, list[str]]:
    kills: dict[str, list[str]] = {}
    for row in rows:
        for requirement, verdict in row.claimed.items():
            if verdict == "fail":
                kills.setdefault(requirement, []).append(row.defect)
    return dict(sorted(kills.items()))


PUBLISHED = Path(__file__).parent / "published"  # kill-matrix.json, and kill-matrix-DRIVER.json of other drivers


def suites_digest(folder: Path = SUITES) -> str:
    """SHA-256 over the sources and data of the suites: a matrix is of these suites or of others."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(str(path.relative_to(folder)).encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def name_of(driver: str) -> str:
    """Of the files that the matrix of a driver is published in."""
    return "kill-matrix" if driver == "local" else f"kill-matrix-{driver}"


def published(folder: Path = PUBLISHED, driver: str = "local") -> dict[str, Any] | None:
    """The published matrix of that driver; None if there is none that can be read."""
    try:
        document = json.loads((folder / f"{name_of(driver)}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def took_s(driver: str) -> dict[str, float]:
    """How long each defect took in the published matrix, in seconds: what is scheduled by."""
    rows = (published(driver=driver) or {}).get("rows", [])
    return {row["defect"]: float(row["seconds"]) for row in rows}


def publish(matrix: Matrix, docs: Path, folder: Path = PUBLISHED) -> list[Path]:
    """Write kill-matrix.json, which installations carry, and into docs kill-matrix.md (for other drivers with its name
    at the end), without the places of this machine's logs."""
    for each in (docs, folder):
        each.mkdir(exist_ok=True)
    as_json, as_text = (where / f"{name_of(matrix.driver)}.{kind}" for where, kind in ((folder, "json"), (docs, "md")))
    anywhere = matrix.model_copy(update={"rows": [row.model_copy(update={"log": ""}) for row in matrix.rows]})
    as_json.write_text(anywhere.model_dump_json(indent=1) + "\n", encoding="utf-8")
    as_text.write_text("\n".join(markdown(matrix)) + "\n", encoding="utf-8")
    return [as_json, as_text]


def markdown(matrix: Matrix) -> Sequence[str]:
    lines = [
        "# Kill matrix" if matrix.driver == "local" else f"# Kill matrix, driver {matrix.driver}",
        "",
        "Each row is a known-bad behaviour switched on in the simulated CompanyOS or its network; the requirements it",
        "breaks must fail, and a sample of others must stay green. Written by `conform kill-matrix --publish`.",
        "",
        f"Digest `{matrix.digest}`, suites `{matrix.suites_digest}`.",
        f"{sum(row.fate is Fate.KILLED for row in matrix.rows)} of {len(matrix.rows)} defects killed;"
        f" {len(matrix.kills)} requirements killed by at least one.",
        "",
        "| defect | what goes wrong | must fail | stays green | profile | fate |",
        "|---|---|---|---|---|---|",
    ]
    for row in matrix.rows:
        cells = (row.defect, row.says, _pairs(row.claimed), _pairs(row.sample), " ".join(row.profiles), row.fate.value)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "## Without defects", "", "| requirement | verdict | killed by |", "|---|---|---|"]
    for requirement, verdict in sorted(matrix.clean.items()):
        lines.append(f"| {requirement} | {verdict} | {' '.join(matrix.kills.get(requirement, [])) or 'nothing'} |")
    return lines


def _pairs(verdicts: dict[str, str]) -> str:
    return " ".join(f"{requirement} {verdict}" for requirement, verdict in verdicts.items())
