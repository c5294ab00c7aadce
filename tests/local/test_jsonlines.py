"""A file of JSON lines is read while another process appends to it: whole lines only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments import jsonlines
from environments.doubles import stripe
from environments.drivers.local.payments import StripeDouble

ROWS = st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=4)


@given(rows=ROWS, ascii_only=st.booleans(), data=st.data())
def test_however_much_of_an_append_is_there_whole_lines_are_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], ascii_only: bool, data: st.DataObject
) -> None:
    whole = [json.dumps(row, ensure_ascii=ascii_only).encode() + b"\n" for row in rows]
    text = b"".join(whole)
    cut = data.draw(st.integers(0, len(text)))
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    path.write_bytes(text[:cut])
    there = text[:cut].count(b"\n")
    assert jsonlines.read(path) == rows[:there]


def test_no_file_has_no_lines_and_a_whole_line_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    assert jsonlines.read(tmp_path / "none.jsonl") == []
    (tmp_path / "bad.jsonl").write_text('{"a": \n{"a": 1}\n')
    with pytest.raises(ValueError, match="Expecting"):
        jsonlines.read(tmp_path / "bad.jsonl")


def test_a_request_that_the_double_is_noting_is_not_yet_one_of_its_requests(tmp_path: Path) -> None:
    double = StripeDouble(tmp_path / "payments", "key")
    provider = stripe.Provider(tmp_path / "payments")
    for number in range(2):
        provider.note(stripe.Row(float(number), "/v1", "k", {"n": "ä"}, 200, True, False, "ok"))
    record = tmp_path / "payments" / stripe.REQUESTS
    record.write_bytes(record.read_bytes()[:-20])
    assert [request.t_s for request in double.requests()] == [0.0]
