"""What was metered against what was invoiced, and by which key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from environments.contract import PaymentRequest, vacuous

METER_EVENTS = "/v1/billing/meter_events"
CUSTOMER, VALUE = "payload[stripe_customer_id]", "payload[value]"
LEVEL = "seats"  # told once a day, and the last counts; everything else is summed up
Totals = Mapping[str, Mapping[str, int]]  # tenant -> kind -> quantity


def of_s(request: PaymentRequest) -> float:
    """When what is billed was used, in seconds since the epoch: as the event says, or else when it was taken."""
    given = request.parameters.get("timestamp", "")
    return float(given) if given.isdecimal() else request.t_s


def invoiced(requests: Sequence[PaymentRequest]) -> dict[str, dict[str, int]]:
    """tenant -> kind -> quantity that the provider has taken."""
    totals: dict[str, Counter[str]] = {}
    for each in sorted((each for each in requests if each.applied), key=of_s):
        kinds, kind = totals.setdefault(each.parameters[CUSTOMER], Counter()), each.parameters["event_name"]
        kinds[kind] = int(each.parameters[VALUE]) + (0 if kind == LEVEL else kinds[kind])
    return {tenant: dict(kinds) for tenant, kinds in totals.items()}


def judge_invoice(metered: Totals, requests: Sequence[PaymentRequest]) -> list[str]:
    """Each tenant is invoiced for what was metered for it: no more, no less, nobody else."""
    if not any(metered.values()):
        vacuous("nothing was metered")
    taken = invoiced(requests)
    problems = [f"{tenant}, which is no tenant here, is invoiced" for tenant in taken.keys() - metered.keys()]
    for tenant, kinds in metered.items():
        for kind, quantity in kinds.items():
            got = taken.get(tenant, {}).get(kind, 0)
            if got != quantity:
                problems.append(f"{tenant}: {kind} metered {quantity}, invoiced {got}")
        problems += [
            f"{tenant}: {kind} is invoiced and was never metered" for kind in taken.get(tenant, {}).keys() - kinds
        ]
    return problems


def judge_keys(requests: Sequence[PaymentRequest]) -> list[str]:
    """Every attempt at an event carries its one key, and a key stands for one event."""
    if not requests:
        vacuous("no request reached the provider")
    problems = []
    keys: dict[str, set[str]] = {}
    for each in requests:
        if each.path != METER_EVENTS:
            continue
        if not each.key:
            problems.append(f"an attempt without an idempotency key: {dict(each.parameters)}")
        keys.setdefault(each.parameters.get("identifier", ""), set()).add(each.key or "")
    problems += [f"event {event} was tried with {len(used)} keys" for event, used in keys.items() if len(used) > 1]
    return problems


def judge_seats(seats: Mapping[str, int], requests: Sequence[PaymentRequest]) -> list[str]:
    """seats: tenant -> accounts that the suite knows it has. That many are invoiced, once for a day by UTC."""
    if not seats:
        vacuous("no tenant has seats")
    taken = invoiced(requests)
    problems = [
        f"{tenant} has {count} seats and is invoiced for {taken.get(tenant, {}).get(LEVEL, 0)}"
        for tenant, count in seats.items()
        if taken.get(tenant, {}).get(LEVEL, 0) != count
    ]
    days = Counter(
        (each.parameters[CUSTOMER], datetime.fromtimestamp(of_s(each), UTC).date())
        for each in requests
        if each.applied and each.parameters["event_name"] == LEVEL
    )
    problems += [f"{tenant} is invoiced {n} times for its seats of {day}" for (tenant, day), n in days.items() if n > 1]
    return problems
