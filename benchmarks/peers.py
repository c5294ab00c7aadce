"""Other tools beside the router: Toxiproxy at stream level, and kernel netem where the host has it."""

from __future__ import annotations

from collections.abc import Iterator

Row = tuple[str, str, str, str]


def toxiproxy_rows() -> Iterator[Row]:
    return iter(())


def netem_rows() -> Iterator[Row]:
    return iter(())
