"""A small run to alter: three requirements, two profiles, one cell that does not apply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reports.model import Report

Make = Callable[..., Report]


def header(**changes: Any) -> dict[str, Any]:
    yes, no = {"applies": True, "reason": "mode A"}, {"applies": False, "reason": "asked of mode D; this is A"}
    entries = [
        {
            "id": "ISO-08",
            "suite": "isolation",
            "level": "MUST",
            "priority": 1,
            "statement": "a & b < c",
            "basis": "S§1; d",
        },
        {"id": "SYN-01", "suite": "sync", "level": "MUST", "priority": 1, "statement": "no write lost", "basis": "d"},
        {"id": "OPS-09", "suite": "operations", "level": "SHOULD", "priority": 3, "statement": "later", "basis": "d"},
    ]
    profiles = [
        {"id": "saas", "mode": "A", "applies": {"ISO-08": yes, "SYN-01": no, "OPS-09": yes}},
        {"id": "edge-dil", "mode": "D", "applies": {"ISO-08": yes, "SYN-01": yes, "OPS-09": yes}},
    ]
    base = {"run_id": "r1", "catalogue": entries, "profiles": profiles, "in_force": ["ISO-08", "SYN-01"]}
    return {**base, **changes}


def verdict(requirement: str, profile: str, verdict: str = "pass", **more: Any) -> dict[str, Any]:
    check = f"suites/x.py::test_{requirement}[{profile}]"
    return {"requirement": requirement, "profile": profile, "check": check, "verdict": verdict, **more}


GREEN = (verdict("ISO-08", "saas"), verdict("ISO-08", "edge-dil"), verdict("SYN-01", "edge-dil"))
