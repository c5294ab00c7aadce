"""The history of a workload: every operation that was tried at the edge, and how it ended. As JSON lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["ok", "refused", "unknown"]  # unknown: no answer came; it may have happened once, or not at all
Kind = Literal["create", "update", "delete", "relate"]
STATE_FIELDS = ("id", "kind", "labels", "props", "version", "createdBy")
LINK_FIELDS = ("id", "srcId", "dstId", "type", "props")


@dataclass(frozen=True)
class Op:
    """One operation. `key` is the suite's own name of the object, also in its props; `id`: None where none was told."""

    index: int
    kind: Kind
    key: str
    value: int
    outcome: Outcome
    id: str | None = None
    t_s: float = 0.0  # seconds since the start of the workload
    note: str = ""


@dataclass
class History:
    seed: int
    ops: list[Op] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)  # cuts, heals, kills: {t_s, what}

    def jsonl(self) -> str:
        lines = [{"seed": self.seed}, *({"op": asdict(op)} for op in self.ops), *({"event": e} for e in self.events)]
        return "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)

    def summary(self) -> dict[str, Any]:
        """For the evidence: the counts, the faults, and a digest of the whole."""
        counts: dict[str, int] = {}
        for op in self.ops:
            counts[f"{op.kind} {op.outcome}"] = counts.get(f"{op.kind} {op.outcome}", 0) + 1
        return {"seed": self.seed, "ops": counts, "faults": self.events, "sha256": digest([self.jsonl()])}


@dataclass(frozen=True)
class Expected:
    """What one object may be in the end, by the history alone."""

    key: str
    id: str | None
    must_exist: bool
    may_exist: bool
    values: frozenset[int]  # values it may have if it exists


def expectations(ops: Sequence[Op]) -> dict[str, Expected]:
    """Fold the operations of each entity (one client, in order): an unknown one may have happened or not."""
    found: dict[str, Expected] = {}
    for op in ops:
        if op.kind == "relate" or op.outcome == "refused":
            continue
        old = found.get(op.key, Expected(op.key, None, False, False, frozenset()))
        sure = op.outcome == "ok"
        identifier = op.id or old.id
        if op.kind == "create":
            new = Expected(op.key, identifier, sure, True, frozenset({op.value}))
        elif op.kind == "update":
            values = frozenset({op.value}) if sure else old.values | {op.value}
            new = Expected(op.key, identifier, old.must_exist, old.may_exist, values)
        else:
            new = Expected(op.key, identifier, False, old.may_exist and not sure, old.values)
        found[op.key] = new
    return found


def digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def canonical(doc: Mapping[str, Any], names: Sequence[str]) -> str:
    kept = {name: doc.get(name) for name in names}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True)
class Replica:
    """What one place holds of a workload, as its API told a client of the tenant."""

    name: str
    entities: tuple[Mapping[str, Any], ...]
    relationships: tuple[Mapping[str, Any], ...] = ()

    @property
    def digest(self) -> str:
        lines = [canonical(doc, STATE_FIELDS) for doc in self.entities]
        return digest([*lines, *(canonical(doc, LINK_FIELDS) for doc in self.relationships)])
