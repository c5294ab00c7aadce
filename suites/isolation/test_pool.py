"""ISO-06: a pooled connection carries nothing from one request to the next."""

from __future__ import annotations

import uuid

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude, signed_in, two_tenants
from suites.isolation.pool import Side, interleave, judge_interleaving, summary
from suites.isolation.shortest import shortest
from suites.product import create_entity

THREADS = 24


@requirement("ISO-06")
def test_interleaved_tenants_never_meet_in_the_pool(deployment: Deployment, evidence: Evidence) -> None:
    """5 000 reads, writes, failures and aborts of two tenants, more at once than the pool holds: zero leaks."""
    node = deployment.subject
    sides = []
    for tenant in two_tenants(node):
        client = signed_in(node, "admin", tenant)
        mark = f"pool-{tenant}-{uuid.uuid4().hex}"
        sides.append(Side(tenant, str(client.token), mark, create_entity(client, "pool", {"mark": mark})["id"]))
    history = interleave(node, (sides[0], sides[1]), deployment.seed, threads=THREADS)
    evidence.add("seed", deployment.seed)
    evidence.add("outcomes", dict(summary(history)))
    if Capability.SQL_AUDIT in deployment.capabilities:
        with node.sql() as connection:
            row = connection.execute(
                "select count(*) from pg_stat_activity"
                " where backend_type = 'client backend' and usename <> current_user"
            ).fetchone()
        evidence.add("database sessions of the services", row[0])
        assert row[0] < THREADS or not row[0], f"the pool ({row[0]}) is not smaller than the concurrency ({THREADS})"
    problems = judge_interleaving(history)
    if leaked := [operation for operation in history if operation.leak]:
        found = shortest(node, (sides[0], sides[1]), leaked[0], deployment.seed)
        problems.append(f"the shortest sequence that leaks: {found or 'none was found'}")
        evidence.add("shortest sequence that leaks", str(found))
    conclude(evidence, problems, "0 leaks", f"0 leaks in {len(history)} operations of {THREADS} threads")
