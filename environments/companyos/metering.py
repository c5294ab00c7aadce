"""What a tenant of a hosted node is billed for, told to the payment provider exactly once.

An event is written in the transaction of the change that it bills, so neither is there without the other. The control
service carries the events out, oldest first: each has one identifier for ever, which is the idempotency key of every
attempt, and is marked as billed only after the provider's yes. What the provider has taken without our hearing of it
is asked again under the same key, and counts once.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

from environments.companyos import log, outgoing
from environments.companyos.errors import ApiError
from environments.companyos.services import Services
from environments.companyos.storage import billing
from environments.companyos.storage.base import Doc, Tx

PATH = "/v1/billing/meter_events"
BATCH = 50
BACKOFF_S, MAX_BACKOFF_S = 0.25, 4.0
POLL_S = 0.5
TAKEN_BEFORE = "resource_already_exists"


class NotTaken(Exception):
    """The provider did not say yes; the message is a short word for a log line."""


def meter(services: Services, tx: Tx, kind: str, quantity: int = 1) -> None:
    """In the transaction of what is billed. Hosted modes only: nothing is metered anywhere else."""
    if services.config.mode in ("A", "B"):
        billing.add(tx, {"id": str(uuid.uuid4()), "kind": kind, "quantity": quantity, "at": services.clock.stamp()})


def seats(services: Services, tenant: str) -> int:
    """Accounts of people: those of nodes are none."""
    with services.store.transaction(tenant) as tx:
        return sum("node" not in user["roles"] for user in tx.list_users())


def meter_seats(services: Services, tenant: str) -> None:
    """The tenant's seats, once a day."""
    now = services.clock.stamp()
    told: set[tuple[str, str]] = services.extra.setdefault("seats", set())
    if (tenant, now[:10]) in told:
        return
    identifier = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{services.config.node_id}/{tenant}/seats/{now[:10]}"))
    event = {"id": identifier, "kind": "seats", "quantity": seats(services, tenant), "at": now}
    with services.store.transaction(tenant) as tx:
        billing.add(tx, event)
    told.add((tenant, now[:10]))


def forget(services: Services, tenant: str) -> None:
    """The tenant is another one now, though its name is the same."""
    told: set[tuple[str, str]] = services.extra.get("seats", set())
    told -= {mark for mark in told if mark[0] == tenant}


def parameters(tenant: str, event: Doc) -> Mapping[str, str]:
    return {
        "event_name": event["kind"],
        "identifier": event["id"],
        "payload[stripe_customer_id]": tenant,
        "payload[value]": str(event["quantity"]),
        "timestamp": str(int(datetime.fromisoformat(event["at"]).timestamp())),
    }


def send(services: Services, provider: outgoing.Channel, tenant: str, event: Doc) -> None:
    """One attempt. NotTaken or LinkError unless the provider has the event now, or had it before."""
    headers = {
        "Authorization": f"Bearer {services.config.stripe_key}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Idempotency-Key": event["id"],
    }
    answer = provider.request("POST", PATH, urlencode(parameters(tenant, event)).encode(), headers)
    if answer.status != 200 and TAKEN_BEFORE.encode() not in answer.body:
        raise NotTaken(f"HTTP_{answer.status}")


def carry(services: Services, provider: outgoing.Channel) -> None:
    """Everything that is not billed yet, tenant by tenant. Raises at the first event that is not taken."""
    for tenant in services.store.tenants():
        meter_seats(services, tenant)
        with services.store.transaction(tenant) as tx:
            waiting = billing.waiting(tx, BATCH)
        for event in waiting:
            send(services, provider, tenant, event)
            with services.store.transaction(tenant) as tx:
                billing.billed(tx, event["id"])


def run(services: Services, provider: outgoing.Channel) -> None:
    failures = 0
    told: str | None = None
    while True:
        why: str | None = None
        try:
            carry(services, provider)
        except (NotTaken, outgoing.LinkError) as error:
            why = str(error)
        except ApiError as error:
            why = error.code
        except Exception as error:  # the thread must live: nobody else carries the events out
            log.crash("metering", error)
            why = type(error).__name__
        if why is not None and why != told:
            log.warning("billing waits", code=why)
        failures, told = (failures + 1, why) if why is not None else (0, None)
        longest = min(BACKOFF_S * 2 ** min(failures, 10), MAX_BACKOFF_S)
        threading.Event().wait(random.uniform(longest / 2, longest) if failures else POLL_S)


def start(services: Services) -> None:
    """In the control service of a hosted node that has a provider."""
    config = services.config
    if config.stripe_url is not None and config.stripe_key is not None:
        provider = outgoing.Channel(config.stripe_url)
        threading.Thread(target=run, args=(services, provider), name="metering", daemon=True).start()
