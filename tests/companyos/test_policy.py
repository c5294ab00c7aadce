from __future__ import annotations

import pytest

from environments.companyos.clock import Clock
from environments.companyos.policy import PolicyEngine, PolicyError


def ask(role: str, action: str, tenant: str = "acme") -> dict[str, object]:
    return {
        "subject": {"sub": "ann", "tenant": "acme", "roles": [role]},
        "action": action,
        "resource": {"type": "entity", "id": None, "tenant": tenant},
    }


def engine(source: str | None = None) -> PolicyEngine:
    found = PolicyEngine(Clock())
    if source is None:
        found.load_default()
    else:
        found.load({"p": f"package companyos.authz\nimport rego.v1\n{source}"}, 1, "d")
    return found


def test_default_policy_grants_by_role_and_tenant() -> None:
    policy = engine()
    assert policy.decide(ask("analyst", "entity.create"))
    assert policy.decide(ask("viewer", "entity.read"))
    assert not policy.decide(ask("viewer", "entity.create"))
    assert not policy.decide(ask("analyst", "entity.create", tenant="globex"))
    assert not policy.decide(ask("stranger", "entity.read"))


@pytest.mark.parametrize(
    "source",
    [
        "allow if input.nothing",
        "allow := 1",
        'allow := "true"',
        "allow if 1 / 0 > 0",
        "other := true",
        "allow := [true]",
    ],
)
def test_anything_but_true_denies(source: str) -> None:
    assert not engine(source).decide(ask("admin", "entity.read"))


def test_no_policy_denies() -> None:
    assert not PolicyEngine(Clock()).decide(ask("admin", "entity.read"))


@pytest.mark.parametrize(
    "modules",
    [
        {},
        {"p": "package companyos.authz\nallow {{{"},
        {"p": "package companyos.authz\nimport rego.v1\nallow if not net.cidr_contains(input.a, input.b)"},
        {"p": "package companyos.authz\nimport rego.v1\nallow if time.parse_rfc3339_ns(input.a) > 0"},
    ],
)
def test_bad_modules_leave_the_policy_in_force(modules: dict[str, str]) -> None:
    policy = engine()
    with pytest.raises(PolicyError):
        policy.load(modules, 9, "x")
    assert policy.revision == 0 and policy.decide(ask("analyst", "entity.create"))
