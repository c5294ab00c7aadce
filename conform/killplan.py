"""Where each defect is tried: the cheapest profiles that can carry it and host the checks that claim it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conform import catalogue
from conform.catalogue import Check, Requirement
from conform.defects import KnownDefect
from profiles import Profile

# Cheap requirements that apply widely; two of them must stay green with a defect on that does not claim them.
SAMPLE = ("FUN-11", "LIC-07", "MIG-15", "ISO-10", "ISO-08", "SEC-03", "FUN-04", "MIG-01", "MIG-07")
SAMPLE_SIZE = 2
CLEAN_SIZE = 6  # requirements that one process without defects looks at
CLEAN_S = 10.0  # rough time of one of them
# What mostly fails by deadlines that ran out, and works little until then.
WAITING = ("SYN", "TET", "OPS", "FUN-07", "FUN-08", "FUN-12", "FUN-14", "FUN-15")
WAITING_UNTIL = 0.75  # of the matrix: none of them may be what all the others wait for at the end
EDGE_ALONE = Path(__file__).with_name("edge-alone.yaml")  # of no use but here, where every second counts
WITH_PARENT = frozenset({"FUN-03", "FUN-05", "FUN-08", "ISO-21"})  # what no check can tell of an edge without a parent
CALIBRATED = frozenset({"META-03"})  # what needs the links measured first


@dataclass(frozen=True)
class Plan:
    """One process of the matrix: these checks in these profiles, with or without a defect."""

    name: str
    profiles: tuple[str, ...]
    claimed: tuple[str, ...]
    sample: tuple[str, ...] = ()
    defect: KnownDefect | None = None
    homeless: tuple[str, ...] = ()  # claimed, and no profile can show it

    @property
    def calibrate(self) -> bool:
        return self.defect is None or self.defect.network or bool(CALIBRATED & set(self.claimed))


class Planner:
    def __init__(
        self,
        profiles: Sequence[Profile],
        checks: Sequence[Check],
        entries: Mapping[str, Requirement],
        took_s: Mapping[str, float] | None = None,
    ) -> None:
        """took_s: how long defects took when they were tried before."""
        self._took_s = took_s or {}
        self._profiles = sorted(profiles, key=cost)
        self._entries = entries
        self._checks: dict[str, list[Check]] = {}
        for check in checks:
            self._checks.setdefault(check.requirement, []).append(check)

    def in_turn(self, plans: Sequence[Plan]) -> list[Plan]:
        """Those that wait and those that work mixed evenly, so that the cores have work all the time; of each kind the
        dearest first."""
        dearest = sorted(plans, key=self._cost, reverse=True)
        waiting = [plan for plan in dearest if waits(plan)]
        working = [plan for plan in dearest if not waits(plan)]
        places = [(WAITING_UNTIL * at / len(waiting), plan) for at, plan in enumerate(waiting)]
        places += [(at / len(working), plan) for at, plan in enumerate(working)]
        return [plan for _, plan in sorted(places, key=lambda place: place[0])]

    def _cost(self, plan: Plan) -> float:
        """Seconds, roughly."""
        if plan.defect is None:
            return CLEAN_S * len(plan.claimed)
        if plan.name in self._took_s:
            return self._took_s[plan.name]
        return len(plan.claimed) + sum(cost(profile) for profile in self._profiles if profile.id in plan.profiles)

    def hosts(self, requirement: str, profile: Profile) -> bool:
        """Whether the requirement applies to the profile and has a check that runs there."""
        entry = self._entries.get(requirement)
        if entry is None or not catalogue.applies(entry, profile).applies:
            return False
        if requirement in WITH_PARENT and profile.id == EDGE_ALONE.stem:
            return False
        return any(not check.only or profile.id in check.only for check in self._checks.get(requirement, ()))

    def plan(self, defect: KnownDefect) -> Plan:
        """Profiles that together host every claimed requirement, the cheapest that host most first."""
        able = [profile for profile in self._profiles if carries(defect, profile)]
        able.sort(key=lambda profile: not on_subject(defect, profile))
        left, chosen = list(defect.kills), []
        while left:
            best = max(able, key=lambda profile: sum(self.hosts(each, profile) for each in left), default=None)
            found = [each for each in left if best is not None and self.hosts(each, best)]
            if best is None or not found:
                break
            chosen.append(best)
            left = [each for each in left if each not in found]
        claimed = tuple(each for each in defect.kills if each not in left)
        sample = () if defect.network else self.sample(chosen, defect.kills)
        return Plan(defect.name, tuple(each.id for each in chosen), claimed, sample, defect, tuple(left))

    def sample(self, profiles: Sequence[Profile], without: Sequence[str]) -> tuple[str, ...]:
        usable = [
            each for each in SAMPLE if each not in without and any(self.hosts(each, profile) for profile in profiles)
        ]
        return tuple(usable[:SAMPLE_SIZE])

    def clean(self, plans: Sequence[Plan]) -> list[Plan]:
        """A few requirements of one profile per process; each once, where most of the defects it claims are tried."""
        tried: Counter[tuple[str, str]] = Counter()
        for plan in plans:
            for profile in self._profiles:
                if profile.id in plan.profiles:
                    tried.update((each, profile.id) for each in plan.claimed if self.hosts(each, profile))
        home: dict[str, str] = {}
        for (requirement, name), _ in tried.most_common():
            home.setdefault(requirement, name)
        found = []
        for name in dict.fromkeys(home.values()):
            there = sorted(each for each in home if home[each] == name)
            parts = [there[at : at + CLEAN_SIZE] for at in range(0, len(there), CLEAN_SIZE)]
            found += [
                Plan(f"clean-{name}" + (f"-{n}" if len(parts) > 1 else ""), (name,), tuple(part))
                for n, part in enumerate(parts, start=1)
            ]
        return found


def waits(plan: Plan) -> bool:
    return any(each.startswith(WAITING) for each in plan.claimed)


def cost(profile: Profile) -> float:
    """Rough seconds until ready: half for an edge, two for others, another for a cluster of its own, slow links."""
    nodes = sum({"edge": 0.5, "dedicated": 3.0}.get(node.variant, 2.0) for node in profile.nodes.values())
    return nodes + sum(0.5 + 20 * link.forward.delay_s for link in profile.links)


def carries(defect: KnownDefect, profile: Profile) -> bool:
    """Whether a node of the profile, or its network, can have the defect."""
    if defect.network:
        if "META-03" in defect.kills:
            return any(link.forward.delay_s > 0.01 and link.forward.loss > 0 for link in profile.links)
        return any(site.sealed for site in profile.sites.values())
    return any(node.mode in defect.modes for node in profile.nodes.values())


def on_subject(defect: KnownDefect, profile: Profile) -> bool:
    """Whether the node that the verdicts are about has it, rather than its parent."""
    about = [profile.subject, *([profile.target] if profile.target else [])]
    return defect.network or any(profile.nodes[name].mode in defect.modes for name in about)
