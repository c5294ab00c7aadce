"""Fixtures of the report tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.journal import JournalWriter, read
from reports.model import Report, from_journal
from tests.reports.small import Make, header


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Report of a journal with these verdicts and header changes."""

    def report(*verdicts: dict[str, Any], partial: bool = False, **changes: Any) -> Report:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        writer = JournalWriter(path)
        writer.write("header", **header(**changes))
        for record in verdicts:
            writer.write("verdict", **record)
        writer.close(partial=partial)
        return from_journal(read(path))

    return report
