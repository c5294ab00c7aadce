"""Known-bad behaviours of billing."""

from __future__ import annotations

import uuid
from typing import Any

from environments.companyos import billing, metering, outgoing
from environments.companyos.defects import defect
from environments.companyos.services import Services
from environments.companyos.storage import billing as ledger
from environments.companyos.storage.base import Doc, Tx

HOSTED: dict[str, Any] = {"modes": ("A", "B"), "roles": ("control",)}


@defect(kills=("FUN-13",), **HOSTED)
def retry_without_idempotency_key(services: Services) -> None:
    """Each attempt is a new event to the provider: what it took without our hearing of it is billed again."""
    genuine = metering.send

    def send(services: Services, provider: outgoing.Channel, tenant: str, event: dict[str, Any]) -> None:
        genuine(services, provider, tenant, {**event, "id": str(uuid.uuid4())})

    metering.send = send


@defect(kills=("FUN-13",), **HOSTED)
def event_lost_while_provider_is_down(services: Services) -> None:
    """What cannot be sent is logged and forgotten."""
    genuine = metering.send

    def send(services: Services, provider: outgoing.Channel, tenant: str, event: dict[str, Any]) -> None:
        try:
            genuine(services, provider, tenant, event)
        except (metering.NotTaken, outgoing.LinkError):
            return

    metering.send = send


@defect(kills=("FUN-13",), **HOSTED)
def all_usage_billed_to_one_customer(services: Services) -> None:
    """The customer is looked up once, for the first tenant, and kept."""
    genuine = metering.parameters
    kept: list[str] = []

    def parameters(tenant: str, event: dict[str, Any]) -> Any:
        kept.append(tenant)
        return genuine(kept[0] if len(services.store.tenants()) > 1 else "cus_default", event)

    metering.parameters = parameters


@defect(kills=("FUN-13",), **HOSTED)
def billed_and_forgotten_before_sent(services: Services) -> None:
    """The event is marked as billed before it is sent, so that it is never sent twice; and sometimes never."""
    genuine = metering.send

    def send(services: Services, provider: outgoing.Channel, tenant: str, event: dict[str, Any]) -> None:
        with services.store.transaction(tenant) as tx:
            ledger.billed(tx, event["id"])
        genuine(services, provider, tenant, event)

    metering.send = send


@defect(kills=("FUN-13",), **HOSTED)
def operators_are_seats(services: Services) -> None:
    """The accounts of the vendor's own operators are counted among each customer's seats."""
    genuine = metering.seats

    def seats(services: Services, tenant: str) -> int:
        return genuine(services, tenant) + genuine(services, "_system")

    metering.seats = seats


@defect(kills=("FUN-13",), **HOSTED)
def seats_told_at_each_start(services: Services) -> None:
    """That the seats of a day were told is remembered in memory alone: every restart tells them again."""
    genuine = ledger.add

    def add(tx: Tx, event: Doc) -> None:
        genuine(tx, {**event, "id": str(uuid.uuid4())} if event["kind"] == "seats" else event)

    ledger.add = add


@defect(kills=("FUN-13",), **HOSTED)
def webhook_counted_each_time(services: Services) -> None:
    """An event that the provider delivers again is an event again."""
    ledger.first_time = lambda tx, key: True


@defect(kills=("FUN-13",), **HOSTED)
def webhook_of_any_age(services: Services) -> None:
    """The signature is right, so who cares when it was made: a recorded webhook can be played again."""
    billing.TOLERANCE_S = 10**12
