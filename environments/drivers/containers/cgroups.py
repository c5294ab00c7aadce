"""Limits and use of a control group, read from the kernel: version 1 (a tree per controller) and version 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from environments.contract import Limits, SuiteError, Use

ROOT, PROC = Path("/sys/fs/cgroup"), Path("/proc")
NO_LIMIT_BYTES = 1 << 60  # version 1 writes "none" as a number near 2^63, rounded to a page


@dataclass(frozen=True)
class Group:
    """Folders of the controllers; in version 2 they are one."""

    version: int
    memory: Path
    cpu: Path
    accounting: Path

    def limits(self) -> Limits:
        return (_limits_1 if self.version == 1 else _limits_2)(self)

    def use(self) -> Use:
        return (_use_1 if self.version == 1 else _use_2)(self)


def group_of(pid: int, root: Path = ROOT, proc: Path = PROC) -> Group:
    """The group that a process is in. SuiteError: it has ended, or its group is not to be seen here."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        raise SuiteError(f"process {pid} has ended: its control group cannot be read") from None
    paths = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
    if "memory" in paths:
        folders = [root / _tree(root, name) / paths[name].lstrip("/") for name in ("memory", "cpu", "cpuacct")]
        group = Group(1, *folders)
    else:
        folder = root / paths.get("", "").lstrip("/")
        group = Group(2, folder, folder, folder)
    if not group.memory.is_dir():
        raise SuiteError(f"the control group of process {pid} is not at {group.memory}: run the suite on the host")
    return group


def _tree(root: Path, controller: str) -> str:
    """The folder of a controller of version 1, which may hold several."""
    for folder in root.iterdir():
        if controller in folder.name.split(","):
            return folder.name
    raise SuiteError(f"no control groups of {controller} under {root}")


def _table(path: Path) -> Mapping[str, int]:
    """A file of lines `name number`."""
    pairs = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def _number(path: Path) -> int:
    return int(path.read_text(encoding="utf-8"))


def _limits_1(group: Group) -> Limits:
    memory, quota = _number(group.memory / "memory.limit_in_bytes"), _number(group.cpu / "cpu.cfs_quota_us")
    period = _number(group.cpu / "cpu.cfs_period_us")
    return Limits(memory if memory < NO_LIMIT_BYTES else None, quota / period if quota > 0 else None)


def _use_1(group: Group) -> Use:
    memory = _table(group.memory / "memory.stat")
    used = _number(group.memory / "memory.usage_in_bytes")
    return Use(
        anonymous_bytes=memory["total_rss"],
        working_set_bytes=max(0, used - memory["total_inactive_file"]),
        cpu_s=_number(group.accounting / "cpuacct.usage") / 1e9,
        oom_kills=_table(group.memory / "memory.oom_control").get("oom_kill", 0),
    )


def _limits_2(group: Group) -> Limits:
    memory = (group.memory / "memory.max").read_text(encoding="utf-8").strip()
    quota, period = (group.cpu / "cpu.max").read_text(encoding="utf-8").split()
    return Limits(None if memory == "max" else int(memory), None if quota == "max" else int(quota) / int(period))


def _use_2(group: Group) -> Use:
    memory = _table(group.memory / "memory.stat")
    return Use(
        anonymous_bytes=memory["anon"],
        working_set_bytes=max(0, _number(group.memory / "memory.current") - memory["inactive_file"]),
        cpu_s=_table(group.accounting / "cpu.stat")["usage_usec"] / 1e6,
        oom_kills=_table(group.memory / "memory.events")["oom_kill"],
    )


@dataclass(frozen=True)
class GroupResources:
    """The contract's Resources. pids: service -> its main process."""

    declared: Mapping[str, Limits]
    pids: Mapping[str, int]

    def enforced(self) -> Mapping[str, Limits]:
        return {service: group_of(pid).limits() for service, pid in self.pids.items()}

    def use(self) -> Mapping[str, Use]:
        return {service: group_of(pid).use() for service, pid in self.pids.items()}
