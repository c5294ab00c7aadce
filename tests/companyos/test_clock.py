"""The clock file: what a setting means, and that nothing else is ever shown by it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.companyos.clock import Clock, read, utc

SECONDS = st.floats(0, 5e9).map(lambda value: round(value, 6))
RATES = st.floats(0.01, 1000)


@given(SECONDS, SECONDS)
def test_one_number_stands(at_s: float, real_s: float) -> None:
    assert read(f"{at_s}\n", real_s) == at_s


@given(SECONDS, SECONDS, RATES, st.floats(0, 1e6))
def test_three_numbers_run_at_their_rate(at_s: float, since_s: float, rate: float, later_s: float) -> None:
    setting = f"{at_s} {since_s} {rate!r}"
    assert read(setting, since_s) == at_s
    assert read(setting, since_s + later_s) == pytest.approx(at_s + later_s * rate, abs=1e-3 * rate)


@given(st.text().filter(lambda text: len(text.split()) != 1), SECONDS)
def test_anything_else_is_real_time(text: str, real_s: float) -> None:
    try:
        numbers = [float(each) for each in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        assert read(text, real_s) == real_s


def test_the_file_is_read_at_each_look(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    clock = Clock(file)
    assert abs(clock.now() - time.time()) < 60
    file.write_text("1000.5")
    assert clock.now() == 1000.5
    assert clock.stamp() == "1970-01-01T00:16:40.500000Z"
    file.write_bytes(b"\xff\xfe")
    assert abs(clock.now() - time.time()) < 60
    file.unlink()
    assert abs(clock.now() - time.time()) < 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-06-01T12:00:00Z", "2030-06-01T12:00:00.000000Z"),
        ("2030-06-01t12:00:00.5+05:30", "2030-06-01T06:30:00.500000Z"),
        ("2029-12-31 23:59:59.123456789-01:00", "2030-01-01T00:59:59.123456Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_times_of_any_offset_are_told_in_utc(text: str, expected: str) -> None:
    assert utc(text) == expected


@pytest.mark.parametrize(
    "bad",
    [
        *(
            "",
            "now",
            "2030-06-01",
            "2030-06-01T12:00",
            "2030-06-01T12:00:00",
            "2030-06-01T12:00:00+0530",
            "20300601T120000Z",
        ),
        *("2030-13-01T12:00:00Z", "2030-06-01T24:00:01Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
        *("2030-06-01T12:00:00Z ", "٢٠٣٠-06-01T12:00:00Z", None, 1),
    ],
)
def test_what_is_no_time_is_told(bad: object) -> None:
    with pytest.raises(ValueError):
        utc(bad)
