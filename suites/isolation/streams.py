"""ISO-05: server-sent events as a check reads them, and the judge of what a stream has delivered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from environments.contract import Client, Node, Stream, untestable, vacuous

PATH = "/v1/events/stream"


@dataclass(frozen=True)
class Delivered:
    """What one subscriber's stream has brought. expected: ids of own objects whose events it must have; barred: events
    whose ids it must not have, with the reason."""

    subscriber: str
    tenant: str
    events: Sequence[Mapping[str, Any]]
    expected: frozenset[str]
    barred: Mapping[str, str]


def events(body: bytes) -> list[dict[str, Any]]:
    """The JSON of each complete event of the stream, without its `end`. AssertionError if one is no JSON object."""
    found = []
    for block in body.decode("utf-8", "replace").split("\n\n")[:-1]:
        fields = [line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":")]
        data = "\n".join(value for name, value in fields if name == "data")
        if not data or ("event", "end") in fields:
            continue
        try:
            event = json.loads(data)
        except ValueError as error:
            raise AssertionError(f"an event is not JSON: {data[:200]!r}") from error
        assert isinstance(event, dict), f"an event is no object: {data[:200]!r}"
        found.append(event)
    return found


@contextmanager
def subscribed(
    node: Node, client: Client, query: str = "", headers: Mapping[str, str] | None = None
) -> Iterator[Stream]:
    """The stream of `client`; `untestable` where the deployment has none."""
    sent = {"Authorization": f"Bearer {client.token}", **(headers or {})}
    with node.http().stream(node.url("data") + PATH + query, headers=sent) as stream:
        if stream.status in (404, 405, 501):
            untestable(f"event-streams: GET {PATH} answers {stream.status}")
        yield stream


def ids(body: bytes) -> set[str]:
    return {str(event.get("id")) for event in events(body)}


def judge_streams(streams: Sequence[Delivered]) -> list[str]:
    """Each subscriber has its own events, all of them, and nothing that is barred. Vacuous without any event."""
    if not any(stream.events for stream in streams):
        vacuous("no stream delivered an event")
    problems = []
    for stream in streams:
        seen = {str(event.get("id")) for event in stream.events}
        for event in stream.events:
            if event.get("tenantId") not in (None, stream.tenant):
                problems.append(f"{stream.subscriber}: an event of tenant {event['tenantId']}: {json.dumps(event)}")
            elif (why := stream.barred.get(str(event.get("id")))) is not None:
                problems.append(f"{stream.subscriber}: {why}: {json.dumps(event)}")
        if missing := stream.expected - seen:
            problems.append(f"{stream.subscriber}: {len(missing)} of {len(stream.expected)} own events did not come")
    return problems
