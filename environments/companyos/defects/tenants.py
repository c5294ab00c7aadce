"""Known-bad behaviours of the removal of tenants."""

from __future__ import annotations

from typing import Any, cast

from environments.companyos import objects, support, tenants
from environments.companyos.defects import defect
from environments.companyos.keys.sealing import Sealer
from environments.companyos.services import Services
from environments.companyos.storage import tenancies
from environments.companyos.storage.base import Store, Tx
from environments.companyos.storage.sql import SqlTx

HOSTED = ("A", "B")


@defect(kills=("ISO-19",), modes=HOSTED, roles=("data",))
def removal_is_a_flag(services: Services) -> None:
    """The tenant is marked as deleted and its rows stay, for a restore that nobody asks for; who gets the name gets
    them (OWASP Multi-Tenant Security, off-boarding)."""
    tenants.remove = lambda services, tenant, tenancy: 0


@defect(kills=("ISO-19",), modes=HOSTED, roles=("data",))
def only_entities_are_removed(services: Services) -> None:
    """The removal was written when there were entities only; the tables that came later are orphaned."""

    def remove_rows(tx: Tx) -> int:
        return cast(SqlTx, tx).change("DELETE FROM entities WHERE {scope}")

    tenancies.remove_rows = remove_rows


@defect(kills=("ISO-19",), modes=HOSTED, roles=("data",))
def artefacts_outlive_their_tenant(services: Services) -> None:
    """The database is cleaned and the object store is not: it belongs to another team."""
    objects.Objects.remove_area = lambda self, area: None  # type: ignore[method-assign]


@defect(kills=("ISO-19",), modes=HOSTED)
def tokens_outlive_their_tenant(services: Services) -> None:
    """A token is good until it expires, whatever has become of its tenant: it is verified without a look at the
    database."""
    services.identity.resident = lambda tenant, claims: True  # type: ignore[method-assign]


@defect(kills=("ISO-19",), modes=HOSTED, roles=("data",))
def data_key_outlives_its_tenant(services: Services) -> None:
    """The data key is shredded in the database and goes on being used by the service that has it in memory, for
    whoever has the name now."""
    Sealer.drop = lambda self, tenant: None  # type: ignore[method-assign]


@defect(kills=("ISO-19",), modes=HOSTED, roles=("data",))
def removal_is_forgotten_by_a_restart(services: Services) -> None:
    """The removal is a task in memory: what a restart interrupts is never taken up again."""
    genuine = tenancies.leaving
    before: set[str] | None = None

    def leaving(store: Store) -> list[tuple[str, str]]:
        nonlocal before
        found = genuine(store)
        if before is None:
            before = {tenancy for _, tenancy in found}
        return [each for each in found if each[1] not in before]

    tenancies.leaving = leaving


@defect(kills=("ISO-19",), modes=HOSTED, roles=("data",))
def removal_takes_neighbours_along(services: Services) -> None:
    """What is removed is found by the beginning of a name, as keys of a cache are."""
    genuine = tenants.remove

    def remove(services: Services, tenant: str, tenancy: str) -> int:
        for other in services.store.tenants():
            if other.startswith(tenant):
                genuine(services, other, services.store.tenancy(other) or "")
        return genuine(services, tenant, tenancy)

    tenants.remove = remove


@defect(kills=("ISO-19",), modes=HOSTED, roles=("data",))
def trail_goes_by_the_name(services: Services) -> None:
    """The support bundle finds the audit entries of a tenant by its name, and so those of the tenant that had the
    name before."""

    def trail(services: Services, tenant: str) -> list[dict[str, Any]]:
        entries = services.store.audit_after(0, 1 << 20)
        return [{name: each[name] for name in support.AUDIT} for each in entries if each["tenant"] == tenant]

    support.trail = trail


@defect(kills=("ISO-19",), modes=HOSTED, roles=("data",))
def removal_waits_for_its_round(services: Services) -> None:
    """Tenants are removed by a job that comes round every half a minute, and every night where it matters; what was
    promised to the customer is another number."""
    tenants.POLL_S = 30.0
