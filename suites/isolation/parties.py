"""Two tenants side by side, each with its client and a canary that is unique to tenant and place."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from environments.contract import Client, Node
from suites.exchange import signed_in, two_tenants
from suites.product import create_entity


def canary(place: str, tenant: str) -> str:
    """A leak of it names where it came from: `<place>-<tenant>-<random>`."""
    return f"{place}-{tenant}-{uuid.uuid4().hex}"


@dataclass(frozen=True)
class Party:
    tenant: str
    client: Client
    mark: str

    def entity(self, kind: str, **more: object) -> str:
        """Id of a new entity that holds the mark in its props and labels."""
        made = create_entity(self.client, kind, {"mark": self.mark}, labels=[self.mark], **more)
        return str(made["id"])


def parties(node: Node, place: str, role: str = "admin") -> tuple[Party, Party]:
    one, two = (Party(t, signed_in(node, role, t), canary(place, t)) for t in two_tenants(node))
    return one, two


def marks(*of: Party) -> dict[str, str]:
    """tenant -> canary, as `scan.judge_leaks` takes them."""
    return {party.tenant: party.mark for party in of}
