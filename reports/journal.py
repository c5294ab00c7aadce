"""The journal of a run: JSON lines that are appended while the run goes on and never changed afterwards.

Line 1 is the header, the last line the footer, between them one record per line. Every line carries its number (`line`)
and the SHA-256 of the bytes of the line before it (`chain`); the footer carries the digest of all lines before it and a
seal over itself. So an edited byte, a lost line or a torn end is found and the line is named. This finds accidents and
careless edits; somebody who recomputes every hash is only stopped by a signature over the footer's digest.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

FORMAT = "companyos-conform-journal/1"
RECORD_KINDS = ("verdict", "timeline", "calibration", "event", "deployment")
KINDS = ("header", *RECORD_KINDS)
TEXT_LIMIT = 100_000  # characters of one string; a deployment's answers end up here and are not trusted to be small
DEPTH_LIMIT = 40
LINE_LIMIT = 16 * 1024 * 1024  # bytes; reading stops at longer lines instead of filling the memory

_START = hashlib.sha256(b"").hexdigest()  # what line 1 is chained to


class JournalError(Exception):
    """A journal that cannot be trusted or read. `line` is the offending line (1-based; 0: the file as a whole)."""

    def __init__(self, path: Path, line: int, what: str, remedy: str) -> None:
        where = f"{path}:{line}" if line else str(path)
        super().__init__(f"{where}: {what}. {remedy}")
        self.path, self.line, self.what, self.remedy = path, line, what, remedy


@dataclass(frozen=True)
class Journal:
    """A journal that was read and found whole. Each record keeps its `line`, so that a report can point at it."""

    path: Path
    header: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    footer: Mapping[str, Any]

    def of(self, kind: str) -> Iterator[Mapping[str, Any]]:
        return (record for record in self.records if record["kind"] == kind)

    @property
    def digest(self) -> str:
        return str(self.footer["digest"])


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def jsonable(value: Any, depth: int = 0) -> Any:
    """The value as JSON can hold it: long texts cut (and said so), bytes as text, NaN and unknown types as text."""
    if depth > DEPTH_LIMIT:
        return "(nested too deep to keep)"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()  # a lone surrogate would spoil every UTF-8 view
        return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}… ({len(text) - TEXT_LIMIT} more characters)"
    if isinstance(value, int):
        return int(value) if abs(value) < 2**256 else hex(value)  # json refuses to read back very long integers
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray):
        return jsonable(bytes(value).decode("utf-8", "backslashreplace"), depth)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return [jsonable(item, depth + 1) for item in sorted(value, key=repr)]
    if isinstance(value, Sequence):
        return [jsonable(item, depth + 1) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: jsonable(getattr(value, name), depth + 1) for name in value.__dataclass_fields__}
    return jsonable(str(value), depth)


def _encode(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":"), allow_nan=False).encode("ascii")


def _seal(footer: Mapping[str, Any]) -> str:
    return hashlib.sha256(_encode({key: value for key, value in footer.items() if key != "seal"})).hexdigest()


class JournalWriter:
    """Appends to a new journal; every record is flushed as it is written, so kill -9 loses nothing that was written.

    As a context manager it closes with `partial=True` if the block ends in an exception. Safe to use from several
    threads. FileExistsError if the path exists: a journal is never written over.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("xb")
        self._lock = threading.Lock()
        self._lines = 0
        self._records = 0
        self._chain = _START
        self._digest = hashlib.sha256()

    def write(self, kind: str, **fields: Any) -> None:
        """Append one line. ValueError: unknown kind, or a header that is not the first line."""
        if kind not in KINDS:
            raise ValueError(f"unknown journal kind {kind!r}; known: {', '.join(KINDS)}")
        with self._lock:
            if kind == "header":
                if self._lines:
                    raise ValueError(f"{self.path}: the header must be the first line")
                fields = {"format": FORMAT, "started_at": now(), **fields}
            else:
                self._records += 1
            self._append(kind, fields)

    def close(self, partial: bool = False, interrupted: bool = False) -> None:
        """Write the footer and fsync. Closing twice is allowed; the first call counts. interrupted: by a person."""
        with self._lock:
            if self._file.closed:
                return
            fields = {
                "finished_at": now(),
                "records": self._records,
                "partial": partial or interrupted,
                **({"interrupted": True} if interrupted else {}),
                "digest": self._digest.hexdigest(),
            }
            self._append("footer", fields)
            os.fsync(self._file.fileno())
            self._file.close()

    def _append(self, kind: str, fields: Mapping[str, Any]) -> None:
        content = {name: jsonable(value) for name, value in fields.items() if name not in ("kind", "line", "chain")}
        entry: dict[str, Any] = {"kind": kind, "line": self._lines + 1, "chain": self._chain, **content}
        if kind == "footer":
            entry["seal"] = _seal(entry)
        data = _encode(entry)
        if len(data) > LINE_LIMIT:
            raise ValueError(
                f"{kind} record of {len(data)} bytes is over the limit of {LINE_LIMIT}; keep large evidence in a file"
            )
        self._file.write(data + b"\n")
        self._file.flush()
        self._lines += 1
        self._chain = hashlib.sha256(data).hexdigest()
        self._digest.update(data + b"\n")

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(partial=error is not None)


def read(path: Path | str) -> Journal:
    """The journal at `path`, or JournalError that names the line where it is torn, edited or not a journal."""
    path = Path(path)
    entries, whole = _scan(path)
    if not whole:
        raise JournalError(
            path,
            len(entries),
            "the journal ends here without a footer: the run was killed or the file truncated",
            "Run again, or copy the complete file; `merge([path], target)` keeps what is whole, marked partial",
        )
    if entries[0]["kind"] != "header":
        raise JournalError(
            path, 1, "the first line is not a header", "Give the merged journal of the run, not a worker's part"
        )
    return Journal(path, entries[0], entries[1:-1], entries[-1])


def merge(paths: Sequence[Path | str], target: Path | str, partial: bool = False) -> Journal:
    """Join part files of one run (xdist workers) into one journal at `target`, under the first header found.

    A part whose end is torn (its worker was killed) gives its whole lines, and the merged journal is marked partial and
    says so in an event. JournalError: no part has a header, two parts are of different runs, or a part was edited.
    """
    headers: list[tuple[Path, Mapping[str, Any]]] = []
    records: list[Mapping[str, Any]] = []
    interrupted = False
    for path in map(Path, paths):
        entries, whole = _scan(path, torn_end=True)
        headers += [(path, entry) for entry in entries if entry["kind"] == "header"]
        records += [entry for entry in entries if entry["kind"] in RECORD_KINDS]
        if not whole:
            what = f"journal part {path.name} has no footer: its worker was killed after line {len(entries)}"
            records.append({"kind": "event", "profile": "", "t_s": 0.0, "what": what})
        partial = partial or not whole or bool(entries[-1].get("partial"))
        interrupted = interrupted or (whole and bool(entries[-1].get("interrupted")))
    if not headers:
        raise JournalError(Path(target), 0, "no part has a header", "Merge the part of the controlling process too")
    first, header = headers[0]
    for path, other in headers[1:]:
        if other.get("run_id") != header.get("run_id"):
            raise JournalError(
                path,
                1,
                f"run {other.get('run_id')}, but {first} is of run {header.get('run_id')}",
                "Merge parts of one run only",
            )
    writer = JournalWriter(target)
    try:
        for entry in (header, *records):
            writer.write(**dict(entry))
    except BaseException:
        writer.close(partial=True)
        raise
    writer.close(partial=partial, interrupted=interrupted)
    return read(target)


def _scan(path: Path, torn_end: bool = False) -> tuple[list[dict[str, Any]], bool]:
    """All lines, each checked against the one before it, and whether a sound footer ends them."""
    entries: list[dict[str, Any]] = []
    chain, digest = _START, hashlib.sha256()
    again = "Use the journal as the run wrote it"
    try:
        file = path.open("rb")
    except OSError as error:
        raise JournalError(
            path, 0, f"cannot be read: {error.strerror}", "Give the path of a run's journal.jsonl"
        ) from error
    with file:
        for number, raw in enumerate(iter(lambda: file.readline(LINE_LIMIT + 2), b""), start=1):
            if entries and entries[-1]["kind"] == "footer":
                raise JournalError(path, number, "there is a line after the footer", again)
            if not raw.endswith(b"\n"):
                if torn_end:
                    return entries, False
                raise JournalError(
                    path, number, "the last line is cut short: the run was killed or the file truncated", again
                )
            data = raw[:-1]
            entry = _parse(path, number, data)
            if entry["chain"] != chain:
                raise JournalError(
                    path, max(number - 1, 1), f"this line was changed: line {number} carries another hash of it", again
                )
            if entry["line"] != number:
                raise JournalError(
                    path, number, f"a line is missing or added: this is line {number} and says {entry['line']}", again
                )
            if entry["kind"] == "footer":
                _check_footer(path, number, entry, digest.hexdigest())
            entries.append(entry)
            chain = hashlib.sha256(data).hexdigest()
            digest.update(raw)
    if not entries and not torn_end:
        raise JournalError(path, 0, "the journal is empty", "The run ended before its first line; run again")
    return entries, bool(entries) and entries[-1]["kind"] == "footer"


def _parse(path: Path, number: int, data: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(data)
        sound = isinstance(entry, dict) and {"kind", "line", "chain"} <= entry.keys() and _encode(entry) == data
    except (ValueError, RecursionError) as error:
        raise JournalError(path, number, f"not a JSON line ({error})", "Use the journal as the run wrote it") from error
    if not sound:
        raise JournalError(
            path,
            number,
            "not written by this suite: `kind`, `line`, `chain` or the spelling differ",
            "Use the journal as the run wrote it",
        )
    if entry["kind"] not in (*KINDS, "footer"):
        raise JournalError(
            path, number, f"unknown kind {entry['kind']!r}", "Read it with the suite version that wrote it"
        )
    if entry["kind"] == "header" and (number != 1 or entry.get("format") != FORMAT):
        raise JournalError(
            path,
            number,
            f"expected one header, on line 1, of format {FORMAT}",
            "Read it with the suite version that wrote it",
        )
    return dict(entry)


def _check_footer(path: Path, number: int, footer: Mapping[str, Any], digest: str) -> None:
    remedy = "Use the journal as the run wrote it"
    if footer.get("seal") != _seal(footer):
        raise JournalError(path, number, "the footer was changed", remedy)
    if footer.get("digest") != digest:
        raise JournalError(path, number, "the footer's digest is not that of the lines before it", remedy)
