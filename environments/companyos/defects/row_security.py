"""ISO-10: the ways in which row security was seen not to hold, each put into a fresh database.

Each leaked on PostgreSQL 15.18 behind a policy that was right (notes/evidence.md, section 4); splinter lints in
brackets. Where a tenant then reads another's rows, ISO-08 turns red too."""

from __future__ import annotations

from typing import Any

from environments.companyos.config import NodeConfig
from environments.companyos.defects import defect


@defect(kills=("ISO-10", "ISO-08"), modes=("A", "B"), phase="install")
def rls_not_enabled(config: NodeConfig, connection: Any) -> None:
    """The table has policies and row security was never switched on (splinter 0007)."""
    connection.execute("ALTER TABLE entities DISABLE ROW LEVEL SECURITY")


@defect(kills=("ISO-10",), modes=("A", "B"), phase="install")
def rls_not_forced(config: NodeConfig, connection: Any) -> None:
    """Row security without FORCE, as in the public product's 030_enable_rls.sql: the owner reads every tenant."""
    connection.execute("ALTER TABLE entities NO FORCE ROW LEVEL SECURITY")


@defect(kills=("ISO-10", "ISO-08"), modes=("A", "B"), phase="install")
def policy_true(config: NodeConfig, connection: Any) -> None:
    """A second permissive policy `true`, added for a report; permissive policies are OR-ed (splinter 0024)."""
    connection.execute("CREATE POLICY reporting ON entities FOR SELECT USING (true)")


@defect(kills=("ISO-10",), modes=("A", "B"), phase="install")
def table_forgotten(config: NodeConfig, connection: Any) -> None:
    """A table of a later release has tenant_id and neither row security nor a policy."""
    connection.execute("CREATE TABLE attachments (tenant_id text NOT NULL, id uuid PRIMARY KEY, name text)")
    connection.execute("GRANT SELECT, INSERT ON attachments TO companyos_app")


@defect(kills=("ISO-10",), modes=("A", "B"), phase="install")
def app_role_owns_table(config: NodeConfig, connection: Any) -> None:
    """Migrations ran as the application's role, which now owns the table and may drop its policies."""
    connection.execute("GRANT CREATE ON SCHEMA public TO companyos_app")
    connection.execute("ALTER TABLE entities OWNER TO companyos_app")


@defect(kills=("ISO-10", "ISO-08"), modes=("A", "B"), phase="install")
def app_role_bypassrls(config: NodeConfig, connection: Any) -> None:
    """BYPASSRLS was given to the application's role so that a job could see all tenants."""
    connection.execute("ALTER ROLE companyos_app BYPASSRLS")


@defect(kills=("ISO-10", "ISO-08"), modes=("A", "B"), phase="install")
def app_role_superuser(config: NodeConfig, connection: Any) -> None:
    """The application's role is superuser: COPY FROM is refused under row security, so the importer was made one."""
    connection.execute("ALTER ROLE companyos_app SUPERUSER")


@defect(kills=("ISO-10",), modes=("A", "B"), phase="install")
def definer_view_reachable(config: NodeConfig, connection: Any) -> None:
    """A view without security_invoker reads as its owner (splinter 0010)."""
    connection.execute("CREATE VIEW entity_kinds AS SELECT tenant_id, kind, count(*) FROM entities GROUP BY 1, 2")
    connection.execute("GRANT SELECT ON entity_kinds TO companyos_app")


@defect(kills=("ISO-10",), modes=("A", "B"), phase="install")
def definer_function_reachable(config: NodeConfig, connection: Any) -> None:
    """A SECURITY DEFINER function counts as its owner, and PUBLIC may execute it by default (splinter 0028)."""
    connection.execute(
        "CREATE FUNCTION entity_count() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM entities'"
    )


@defect(kills=("ISO-10",), modes=("A", "B"), phase="install")
def matview_reachable(config: NodeConfig, connection: Any) -> None:
    """A materialised view has no row security at all (splinter 0016)."""
    connection.execute("CREATE MATERIALIZED VIEW entity_search AS SELECT tenant_id, id, search_text FROM entities")
    connection.execute("GRANT SELECT ON entity_search TO companyos_app")


@defect(kills=("ISO-10",), modes=("A", "B"), phase="install")
def truncate_granted(config: NodeConfig, connection: Any) -> None:
    """GRANT ALL includes TRUNCATE, which no policy stops: one tenant empties the table of all."""
    connection.execute("GRANT ALL ON entities TO companyos_app")
