"""Ten conditions on a PostgreSQL catalogue under which row security can hold (ISO-10), each a judge over rows.

Source of the conditions: supabase/splinter lints 0007, 0010, 0016, 0024, 0028 and the surfaces that were seen to leak
on PostgreSQL 15.18 behind a correct policy (notes/evidence.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from environments.contract import vacuous

Row = Mapping[str, Any]
Judge = Callable[[Sequence[Row], Sequence[Row]], list[str]]

# Every query takes the name of the application role as %(role)s. A tenant table is one with a column tenant_id.
TENANT_TABLES = """
select n.nspname as schema, c.relname as name, c.relrowsecurity as rls, c.relforcerowsecurity as forced,
       o.rolname as owner,
       pg_has_role(%(role)s, c.relowner, 'usage')  -- of a superuser that is true of every role and tells nothing
         and not (select rolsuper from pg_roles where rolname = %(role)s) as owned_by_role
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles o on o.oid = c.relowner
where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema')
  and n.nspname not like 'pg_toast%%'
  and exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
order by 1, 2"""

POLICIES = """
select p.schemaname as schema, p.tablename as name, p.policyname as policy, p.permissive, p.qual, p.with_check, p.cmd
from pg_policies p where p.roles && array['public', %(role)s]::name[] order by 1, 2, 3"""

ROLE = """
select r.rolname as name, r.rolsuper as super, r.rolbypassrls as bypass,
       exists (select 1 from pg_roles g where g.oid <> r.oid and pg_has_role(r.oid, g.oid, 'member') and g.rolsuper)
         as via_super,
       exists (select 1 from pg_roles g where g.oid <> r.oid and pg_has_role(r.oid, g.oid, 'member') and g.rolbypassrls)
         as via_bypass
from pg_roles r where r.rolname = %(role)s"""

DEFINER_VIEWS = """
select n.nspname as schema, c.relname as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'v' and n.nspname not in ('pg_catalog', 'information_schema')
  and has_table_privilege(%(role)s, c.oid, 'select')
  and not coalesce(c.reloptions::text[]
    && array['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false)
order by 1, 2"""

DEFINER_FUNCTIONS = """
select n.nspname as schema, p.proname as name
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema')
  and has_function_privilege(%(role)s, p.oid, 'execute') order by 1, 2"""

MATVIEWS = """
select n.nspname as schema, c.relname as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'm' and has_table_privilege(%(role)s, c.oid, 'select') order by 1, 2"""

GRANTS = """
select n.nspname as schema, c.relname as name,
       has_table_privilege(%(role)s, c.oid, 'truncate') as truncate,
       has_table_privilege(%(role)s, c.oid, 'trigger') as trigger
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema')
  and exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
order by 1, 2"""


def _label(row: Row) -> str:
    return f"{row['schema']}.{row['name']}"


def _some(tables: Sequence[Row]) -> None:
    if not tables:
        vacuous("the catalogue shows no table with tenant_id: nothing was audited")


def judge_rls_enabled(tables: Sequence[Row], _: Sequence[Row] = ()) -> list[str]:
    _some(tables)
    return [f"{_label(t)}: row security is not enabled" for t in tables if not t["rls"]]


def judge_rls_forced(tables: Sequence[Row], _: Sequence[Row] = ()) -> list[str]:
    _some(tables)
    return [f"{_label(t)}: row security is not FORCED, its owner reads every tenant" for t in tables if not t["forced"]]


def judge_policy_present(tables: Sequence[Row], policies: Sequence[Row] = ()) -> list[str]:
    _some(tables)
    covered = {_label(p) for p in policies}
    return [f"{_label(t)}: no policy" for t in tables if _label(t) not in covered]


def _open(expression: object) -> bool:
    return isinstance(expression, str) and expression.strip().strip("()").lower() in {"true", "1 = 1", "1=1"}


def judge_policy_not_true(tables: Sequence[Row], policies: Sequence[Row] = ()) -> list[str]:
    """Permissive policies are OR-ed: one `true` opens the table whatever the others say."""
    _some(tables)
    names = {_label(t) for t in tables}
    return [
        f"{_label(p)}: policy {p['policy']} is `true`"
        for p in policies
        if _label(p) in names
        and str(p["permissive"]).upper() == "PERMISSIVE"
        and (_open(p["qual"]) or _open(p["with_check"]))
    ]


def judge_role_not_owner(tables: Sequence[Row], _: Sequence[Row] = ()) -> list[str]:
    _some(tables)
    return [f"{_label(t)}: owned by the application role ({t['owner']})" for t in tables if t["owned_by_role"]]


def _role(tables: Sequence[Row], role: Sequence[Row]) -> Row:
    _some(tables)
    if not role:
        vacuous("the application role is not in pg_roles")
    return role[0]


def judge_role_not_superuser(tables: Sequence[Row], role: Sequence[Row] = ()) -> list[str]:
    found = _role(tables, role)
    return (
        [f"application role {found['name']} is or can become superuser"] if found["super"] or found["via_super"] else []
    )


def judge_role_not_bypassrls(tables: Sequence[Row], role: Sequence[Row] = ()) -> list[str]:
    found = _role(tables, role)
    return [f"application role {found['name']} bypasses row security"] if found["bypass"] or found["via_bypass"] else []


def judge_no_definer_view(tables: Sequence[Row], views: Sequence[Row] = ()) -> list[str]:
    _some(tables)
    return [f"{_label(v)}: view without security_invoker, readable by the application role" for v in views]


def judge_no_definer_function(tables: Sequence[Row], functions: Sequence[Row] = ()) -> list[str]:
    _some(tables)
    return [f"{_label(f)}: SECURITY DEFINER function, executable by the application role" for f in functions]


def judge_no_matview(tables: Sequence[Row], matviews: Sequence[Row] = ()) -> list[str]:
    _some(tables)
    return [f"{_label(m)}: materialised view (no row security) readable by the application role" for m in matviews]


def judge_no_bypassing_grant(tables: Sequence[Row], grants: Sequence[Row] = ()) -> list[str]:
    """TRUNCATE is not subject to row security; TRIGGER lets a role run code as others write."""
    _some(tables)
    return [
        f"{_label(g)}: {privilege.upper()} is granted to the application role"
        for g in grants
        for privilege in ("truncate", "trigger")
        if g[privilege]
    ]


# judge -> the query whose rows are its second argument (None: the tables alone)
CONDITIONS: Mapping[Judge, str | None] = {
    judge_rls_enabled: None,
    judge_rls_forced: None,
    judge_policy_present: POLICIES,
    judge_policy_not_true: POLICIES,
    judge_role_not_owner: None,
    judge_role_not_superuser: ROLE,
    judge_role_not_bypassrls: ROLE,
    judge_no_definer_view: DEFINER_VIEWS,
    judge_no_definer_function: DEFINER_FUNCTIONS,
    judge_no_matview: MATVIEWS,
    judge_no_bypassing_grant: GRANTS,
}
