"""Policies that the checks publish: the roles as docs/contract.md gives them, with one denial of the suite's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.contract import Vendor
from suites.licensing.compact import canonical, encode, flip, parts

DENIED = "relationship.create"  # what a marked policy denies to everybody; the default policy allows it to analysts

_AUTHZ = """# Roles as docs/contract.md gives them.
package companyos.authz

import rego.v1

default allow := false

reads := {"entity.read", "relationship.read", "investigation.read", "run.read", "event.read", "me.read"}

writes := {
	"entity.create", "entity.update", "entity.delete",
	"relationship.create", "relationship.delete",
	"investigation.create", "investigation.update", "investigation.delete",
	"run.create", "run.abort",
	"inference.use",
}

administration := {"export.create", "directory.read", "directory.write", "billing.read"}

grants := {
	"viewer": reads,
	"analyst": reads | writes,
	"admin": (reads | writes) | administration,
	"operator": {"me.read"},
	"node": {"sync.write", "me.read"},
}

denied := {%s}

allow if {
	some role in input.subject.roles
	input.action in grants[role]
	not input.action in denied
	input.resource.tenant == input.subject.tenant
}
"""


def modules(*denied: str) -> dict[str, str]:
    """The whole policy; without denials it is the default one."""
    listed = ", ".join(f'"{action}"' for action in denied) if denied else '"nothing"'
    return {"authz.rego": _AUTHZ % listed}


def policy(vendor: Vendor, revision: Any, found: Mapping[str, Any] | None = None, **more: Any) -> str:
    return vendor.sign("policy", {"revision": revision, "modules": modules() if found is None else found}, **more)


def tampered(text: str) -> str:
    """The payload changed by one bit under the genuine signature."""
    head, payload, signature = parts(text)
    raw = payload.encode()
    position = len(raw) // 2
    for bit in range(8):
        changed = flip(raw, position, bit)
        if changed.isalnum() and changed != raw:
            return f"{head}.{changed.decode()}.{signature}"
    raise ValueError("no bit of this byte gives another letter")


def unsigned(text: str) -> str:
    _, payload, _ = parts(text)
    return f"{encode(canonical({'alg': 'none', 'typ': 'companyos-policy'}))}.{payload}."


BROKEN_MODULES: dict[str, dict[str, str]] = {
    "rego that does not compile": {"authz.rego": modules()["authz.rego"] + "\nallow if { this is not rego\n"},
    "one good module, one that does not compile": {**modules(), "broken.rego": "package companyos.other\n\nx := {{{\n"},
    "an unknown function": {"authz.rego": modules()["authz.rego"] + "\nallow if no.such.function(input)\n"},
    "modules that are no text": {"authz.rego": 7},  # type: ignore[dict-item]
    "no modules": {},
}
