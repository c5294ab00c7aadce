"""The ledger as a reader wants it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reports.egress import UNKNOWN, grouped


def row(**fields: Any) -> dict[str, Any]:
    common = {"t_s": 1.0, "site": "edge-1", "protocol": "tcp", "destination": "198.51.100.7", "port": 443}
    return {**common, "ip_version": 4, "phase": "", "name": None, **fields}


def test_rows_that_say_the_same_are_one_line() -> None:
    found = grouped([
        row(t_s=3.0, service="https", name="a.example", command="curl", pid=8),
        row(t_s=2.0, service="https", name="a.example", command="curl", pid=9, destination="2001:db8::1"),
        row(t_s=1.0, warning=True, service="mdns", protocol="udp"),
        row(t_s=4.0, phase="allowed"),
        row(t_s=5.0, phase="canary"),
        row(t_s=6.0, service="https", name="a.example", command="curl", pid=9, trusted=True),
    ])  # fmt: skip
    assert [(each.kind, each.count, each.destination, each.service) for each in found] == [
        ("attempt", 2, "a.example", "https"),
        ("attempt", 1, "a.example", "https"),
        ("allowed", 1, "198.51.100.7", "tcp"),
        ("warning", 1, "198.51.100.7", "mdns"),
    ]
    first = found[0]
    assert (first.first_s, first.last_s, first.pids) == (2.0, 3.0, (8, 9))
    assert first.addresses == ("198.51.100.7", "2001:db8::1")
    assert [each.trusted for each in found] == [False, True, False, False]
    assert found[2].process == UNKNOWN


ROWS = st.builds(
    row,
    t_s=st.floats(0, 100),
    port=st.sampled_from([None, 53, 443]),
    phase=st.sampled_from(["", "install", "allowed", "canary"]),
    warning=st.booleans(),
    command=st.sampled_from([None, "curl"]),
)


@given(st.lists(ROWS))
def test_no_row_is_lost_or_counted_twice(rows: list[dict[str, Any]]) -> None:
    found = grouped(rows)
    assert sum(each.count for each in found) == sum(each["phase"] != "canary" for each in rows)
    assert {(each.kind, each.count) for each in grouped(rows[::-1])} == {(each.kind, each.count) for each in found}
