"""A tenant's event feed, `GET /v1/events`, followed page by page to its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from environments.contract import Client, Response
from suites.exchange import of_form

PAGES_MOST = 1000  # of a feed that has no end


@dataclass(frozen=True)
class Feed:
    """events: oldest first; end: the number to ask after for what comes next; answer: the last page."""

    events: list[dict[str, Any]]
    end: int
    answer: Response


def pages(client: Client, after: int = 0) -> Iterator[Response]:
    """The answer to each page, up to the first that has no events, does not lead on, or is no page (status other than
    200: for the caller to judge)."""
    for _ in range(PAGES_MOST):
        answer = client.data("GET", f"/v1/events?after={after}")
        yield answer
        if answer.status != 200:
            return
        page = of_form(answer, f"events after {after}")
        if not page["events"] or int(page["next"]) <= after:
            return
        after = int(page["next"])


def read(client: Client, after: int = 0) -> Feed:
    """All that the feed tells after the number. AssertionError: a page is none."""
    events: list[dict[str, Any]] = []
    end, answers = after, list(pages(client, after))
    for answer in answers:
        page = of_form(answer, f"events after {end}")
        events += page["events"]
        end = max(end, int(page["next"]))
    return Feed(events, end, answers[-1])
