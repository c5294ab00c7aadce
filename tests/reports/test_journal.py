"""A journal that was torn, edited or forged is refused, and the line is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.journal import JournalError, JournalWriter, merge, read


def write(path: Path) -> bytes:
    with JournalWriter(path) as journal:
        journal.write("header", run_id="r1", profiles=[])
        journal.write("event", profile="saas", t_s=0.5, what="ready")
        journal.write(
            "verdict",
            requirement="ISO-08",
            profile="saas",
            verdict="pass",
            evidence={"naïve": b"\xff", "n": float("nan")},
        )
    return path.read_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "j")
    journal = read(tmp_path / "j")
    assert journal.header["run_id"] == "r1"
    assert [record["line"] for record in journal.records] == [2, 3]
    assert next(journal.of("verdict"))["evidence"] == {"naïve": "\\xff", "n": "nan"}
    assert journal.footer["records"] == 2
    assert journal.footer["partial"] is False


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("journal") / "j"
    return path.with_name("edited"), write(path)


@given(data=st.data())
def test_any_single_byte_edit_is_refused(whole: tuple[Path, bytes], data: st.DataObject) -> None:
    path, good = whole
    at = data.draw(st.integers(0, len(good) - 1))
    how = data.draw(st.sampled_from(["change", "drop", "insert"]))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != good[at]))
    path.write_bytes(good[:at] + (b"" if how == "drop" else bytes([byte])) + good[at + (how != "insert") :])
    with pytest.raises(JournalError):
        read(path)


@given(data=st.data())
def test_any_truncation_is_refused(whole: tuple[Path, bytes], data: st.DataObject) -> None:
    path, good = whole
    path.write_bytes(good[: data.draw(st.integers(0, len(good) - 1))])
    with pytest.raises(JournalError):
        read(path)


def test_an_edited_line_is_named(tmp_path: Path) -> None:
    good = write(tmp_path / "j")
    (tmp_path / "edited").write_bytes(good.replace(b'"verdict":"pass"', b'"verdict":"fail"'))
    with pytest.raises(JournalError, match="this line was changed") as caught:
        read(tmp_path / "edited")
    assert caught.value.line == 3


@pytest.mark.parametrize("line", [0, 1, 2, 3])
def test_a_lost_or_doubled_line_is_refused(tmp_path: Path, line: int) -> None:
    lines = write(tmp_path / "j").splitlines(keepends=True)
    for name, edited in (("lost", lines[:line] + lines[line + 1 :]), ("doubled", lines[: line + 1] + lines[line:])):
        (tmp_path / name).write_bytes(b"".join(edited))
        with pytest.raises(JournalError):
            read(tmp_path / name)


def test_an_exception_marks_the_journal_partial(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), JournalWriter(tmp_path / "j") as journal:
        journal.write("header", run_id="r1")
        raise KeyboardInterrupt
    assert read(tmp_path / "j").footer["partial"] is True


def test_the_writer_refuses_what_no_reader_would_take(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "j") as journal:
        journal.write("header", run_id="r1")
        with pytest.raises(ValueError, match="unknown journal kind"):
            journal.write("verdikt")
        with pytest.raises(ValueError, match="first line"):
            journal.write("header", run_id="r1")
    assert read(tmp_path / "j").records == []
    with pytest.raises(FileExistsError):
        JournalWriter(tmp_path / "j")


def test_hostile_evidence_is_bounded(tmp_path: Path) -> None:
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    with JournalWriter(tmp_path / "j") as journal:
        journal.write("header", run_id="r1")
        journal.write("event", what="x" * 1_000_000, deep=deep, big=10**5000, surrogate="\ud800", keys={1: 1, "1": 2})
    assert "more characters" in read(tmp_path / "j").records[0]["what"]


def test_parts_merge_into_one_journal(tmp_path: Path) -> None:
    write(tmp_path / "main")
    with JournalWriter(tmp_path / "gw0") as part:
        part.write("verdict", requirement="ISO-09", profile="saas", verdict="fail")
    journal = merge([tmp_path / "main", tmp_path / "gw0"], tmp_path / "merged")
    assert [record["kind"] for record in journal.records] == ["event", "verdict", "verdict"]
    assert journal.footer["partial"] is False
    assert journal.header["started_at"] == read(tmp_path / "main").header["started_at"]


@pytest.mark.parametrize("cut", [1, 250])
def test_a_killed_workers_part_makes_the_journal_partial(tmp_path: Path, cut: int) -> None:
    good = write(tmp_path / "main")
    (tmp_path / "gw0").write_bytes(good[:-cut])
    journal = merge([tmp_path / "gw0"], tmp_path / "merged")
    assert journal.footer["partial"] is True
    assert "was killed after line" in journal.records[-1]["what"]


def test_parts_of_two_runs_do_not_merge(tmp_path: Path) -> None:
    write(tmp_path / "a")
    with JournalWriter(tmp_path / "b") as other:
        other.write("header", run_id="r2")
    with pytest.raises(JournalError, match="run r2"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
