"""Known-bad behaviours that tell a tenant something of another without showing it: by time, names, references, ids."""

from __future__ import annotations

import itertools
import uuid
from types import SimpleNamespace
from typing import Any

from environments.companyos import accounts, operations
from environments.companyos.config import NodeConfig
from environments.companyos.defects import defect
from environments.companyos.errors import ApiError
from environments.companyos.identity import hash_password
from environments.companyos.services import Principal, Services
from environments.companyos.storage.base import Doc
from environments.companyos.storage.sql import SqlTx


def owner(services: Services, id_: str) -> str | None:
    """The tenant that has an entity of the id; None if none has."""
    for tenant in services.store.tenants():
        with services.store.transaction(tenant) as tx:
            if tx.get_entity(id_) is not None:
                return tenant
    return None


# time


@defect(kills=("ISO-03",), modes=("A",), roles=("data",))
def permissions_weighed_for_what_exists(services: Services) -> None:
    """An id that exists anywhere goes through the permission check, key derivation and all; one that does not is
    answered at once. Both are null."""
    genuine = operations.entity

    def entity(context: operations.Context, id: str) -> Any:
        found = genuine(context, id)
        if found is None and owner(context.services, id) is not None:
            hash_password(id, b"companyos-access")
        return found

    operations.entity = entity


@defect(kills=("ISO-03",), modes=("A",), roles=("data",))
def denied_access_is_written_down(services: Services) -> None:
    """An attempt to change another tenant's object is put on record before it is refused; one on nothing is not. The
    record costs time, and its length tells."""
    genuine = operations.update_entity

    def update_entity(context: operations.Context, id: str, input: Any) -> Any:
        try:
            return genuine(context, id, input)
        except ApiError:
            if owner(context.services, id) is not None:
                who = context.principal
                context.services.audit.append(who.tenant, who.sub, "entity.update", "entity", id, "denied")
            raise

    operations.update_entity = update_entity


# names


@defect(kills=("ISO-11",), modes=("A",), phase="install")
def names_unique_in_the_database(config: NodeConfig, connection: Any) -> None:
    """The unique index on the name leaves the tenant out: `duplicate key value` tells whose cases are called what."""
    connection.execute("ALTER TABLE investigations DROP CONSTRAINT investigations_tenant_id_name_key")
    connection.execute("ALTER TABLE investigations ADD UNIQUE (name)")


@defect(kills=("ISO-11",), modes=("A",), roles=("control",))
def usernames_unique_everywhere(services: Services) -> None:
    """Sign-up says that a name is taken, whoever took it."""
    genuine = accounts.create

    def create(services: Services, principal: Principal, body: Doc) -> dict[str, Any]:
        for tenant in services.store.tenants():
            with services.store.transaction(tenant) as tx:
                if tx.get_user(str(body.get("username"))) is not None:
                    raise ApiError("CONFLICT", message="already exists")
        return genuine(services, principal, body)

    accounts.create = create


@defect(kills=("ISO-11",), modes=("A",), roles=("data",))
def deleted_ids_remembered_for_all(services: Services) -> None:
    """The version of a new object goes on from that of a deleted one of the same id, in whichever tenant that was."""
    genuine = SqlTx.tombstone

    def tombstone(self: SqlTx, type_: str, id_: str) -> int | None:
        found = [genuine(self, type_, id_)]
        for tenant in services.store.tenants():
            if tenant != self.tenant:
                with services.store.transaction(tenant) as tx:
                    found.append(genuine(tx, type_, id_))  # type: ignore[arg-type]
        return max((version for version in found if version is not None), default=None)

    SqlTx.tombstone = tombstone  # type: ignore[method-assign]


# references


@defect(kills=("ISO-12", "ISO-01", "ISO-02"), modes=("A",), roles=("data",))
def foreign_ends_are_forbidden(services: Services) -> None:
    """A reference to another tenant's entity is FORBIDDEN, one to nothing NOT_FOUND: what exists can be told, by a
    write (ISO-12) that is one of the matrix (ISO-01, ISO-02)."""
    genuine = operations.create_relationship

    def create_relationship(context: operations.Context, input: Doc) -> Doc:
        for end in (str(input["src_id"]), str(input["dst_id"])):
            if owner(context.services, end) not in (None, context.principal.tenant):
                raise ApiError("FORBIDDEN", message="the entity belongs to another tenant")
        return genuine(context, input)

    operations.create_relationship = create_relationship


@defect(kills=("ISO-12",), modes=("A",), phase="install")
def members_without_a_foreign_key(config: NodeConfig, connection: Any) -> None:
    """The table of an investigation's members has no foreign key: any id can be a member, another tenant's too."""
    name = "investigation_entities_tenant_id_entity_id_fkey"
    connection.execute(f"ALTER TABLE investigation_entities DROP CONSTRAINT {name}")


@defect(kills=("ISO-12",), modes=("A",), roles=("data",))
def members_removed_by_id_alone(services: Services) -> None:
    """The clean-up after a deletion takes the id out of every investigation, whoever's it is."""
    genuine = operations.delete_entity

    def delete_entity(context: operations.Context, id: str) -> bool:
        done = genuine(context, id)
        for tenant in context.services.store.tenants():
            with context.services.store.transaction(tenant) as tx:
                tx.change("DELETE FROM investigation_entities WHERE {scope} AND entity_id = :id", id=id)  # type: ignore[attr-defined]
        return done

    operations.delete_entity = delete_entity


# ids


@defect(kills=("ISO-13",), modes=("A",), roles=("data",))
def ids_in_order_of_creation(services: Services) -> None:
    """Ids are a random prefix of the node and a counter, a bigserial dressed as a UUID: gaps are what others made."""
    numbers = itertools.count(uuid.uuid4().int & ~((1 << 64) - 1))
    counted = SimpleNamespace(uuid4=lambda: uuid.UUID(int=next(numbers)))
    vars(operations)["uuid"] = counted
