"""ISO-22: the database engine has the fixes for the flaws that go around row security."""

from __future__ import annotations

from datetime import UTC, datetime

from environments.contract import Capability, Deployment, Evidence, requirement
from suites.exchange import conclude, document, shown
from suites.isolation.engine import FACTS, FLAWS, Engine, judge_engine


@requirement("ISO-22", needs=(Capability.SQL_AUDIT,))
def test_engine_has_the_fixes_and_is_maintained(deployment: Deployment, evidence: Evidence) -> None:
    """The server that holds the rows is at or above every fix, inside its support window, and the one claimed."""
    node = deployment.subject
    with node.sql() as connection:
        row = connection.execute(FACTS).fetchone()
    engine = None if row is None else Engine(int(row[0]), str(row[1]), int(row[2]))
    answer = node.http().request("GET", node.url("data") + "/.well-known/companyos")
    assert answer.status == 200, f"discovery does not answer: {shown(answer)}"
    claimed = document(answer).get("components", {}).get("postgres", {}).get("version")
    evidence.add("engine", None if engine is None else vars(engine))
    evidence.add("claimed", claimed)
    evidence.add("fixes", {flaw.cve: {str(a): b for a, b in flaw.fixed_in.items()} for flaw in FLAWS})
    conclude(
        evidence,
        judge_engine(engine, claimed, datetime.now(UTC).date().isoformat()),
        "every fix, maintained, as claimed",
        f"PostgreSQL {engine.version if engine else '?'}, discovery claims {claimed}",
    )
