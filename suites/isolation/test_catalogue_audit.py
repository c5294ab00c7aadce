"""ISO-10: the database enforces tenancy whatever the application does, shown by its catalogue and by trying."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import signed_in
from suites.isolation.audit import CONDITIONS, ROLE, TENANT_TABLES, Judge
from suites.product import create_entity, entity


def _rows(connection: Any, query: str, role: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query, {"role": role})
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _application_roles(connection: Any) -> list[str]:
    """Roles that the services connect as: what the server sees, not what a configuration says. The suite's own
    session is left out, and its role too unless nobody else is connected (then the services share it)."""
    rows = _rows(
        connection,
        "select distinct usename as name, usename = current_user as own from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'",
        "",
    )
    others = sorted(row["name"] for row in rows if not row["own"])
    return others or sorted(row["name"] for row in rows)


@requirement("ISO-10", needs=(Capability.SQL_AUDIT,))
@pytest.mark.parametrize("judge", CONDITIONS, ids=lambda judge: judge.__name__.removeprefix("judge_"))
def test_catalogue_lets_row_security_hold(deployment: Deployment, evidence: Evidence, judge: Judge) -> None:
    """The PostgreSQL catalogue shows no way for the application's role around row security."""
    client = signed_in(deployment.subject)
    mark = create_entity(client, "audit-probe")
    assert entity(client, mark["id"]) is not None, "own read failed: the control of this audit"
    query = CONDITIONS[judge]
    problems: list[str] = []
    audited = 0
    with deployment.subject.sql() as connection:
        roles = _application_roles(connection)
        assert roles, "no service holds a database session although one just answered a query"
        for role in roles:
            tables = _rows(connection, TENANT_TABLES, role)
            detail = _rows(connection, query, role) if query else []
            problems += judge(tables, detail)
            audited += len(tables)
    evidence.expected = f"no finding of {judge.__name__}"
    evidence.observed = "; ".join(problems) or f"{audited} tenant tables audited for roles {roles}, none found"
    assert not problems, evidence.observed


@requirement("ISO-10", needs=(Capability.SQL_AUDIT,))
def test_role_of_the_services_sees_no_row_without_a_tenant(deployment: Deployment, evidence: Evidence) -> None:
    """As the services' role and with no tenant, every tenant table is empty although the superuser sees rows."""
    create_entity(signed_in(deployment.subject), "behaviour-probe")
    seen: dict[str, int] = {}
    full = 0
    with deployment.subject.sql() as connection:
        for role in _application_roles(connection):
            for table in _rows(connection, TENANT_TABLES, role):
                name = f'"{table["schema"]}"."{table["name"]}"'
                full += _rows(connection, f"select count(*) as n from {name}", role)[0]["n"]
                if not _rows(connection, "select has_table_privilege(%(role)s, '" + name + "', 'select') as ok", role)[
                    0
                ]["ok"]:
                    continue
                connection.execute(f'set session authorization "{role}"')
                try:
                    count = _rows(connection, f"select count(*) as n from {name}", role)[0]["n"]
                except psycopg.Error:  # a policy that raises without a tenant is closed too
                    count = 0
                finally:
                    connection.execute("reset session authorization")
                if count:
                    seen[f"{role}:{name}"] = count
        facts = [_rows(connection, ROLE, role) for role in _application_roles(connection)]
    evidence.expected = "0 rows in every tenant table without a tenant"
    evidence.observed = f"superuser sees {full} rows; without a tenant: {seen or 'none'}"
    evidence.add("roles", facts)
    assert full > 0, "the superuser sees no row: the control of this probe"
    assert not seen, evidence.observed
