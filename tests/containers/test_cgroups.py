"""Control groups of both versions, from trees of files as the kernel writes them, and from a real container."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from environments.contract import Limits, SuiteError, Use
from environments.drivers.containers.cgroups import group_of

V1: Mapping[str, str] = {
    "memory/docker/abc/memory.limit_in_bytes": "157286400\n",
    "memory/docker/abc/memory.usage_in_bytes": "70000000\n",
    "memory/docker/abc/memory.stat": "cache 9000000\nrss 1\ntotal_rss 60000000\ntotal_inactive_file 4000000\n",
    "memory/docker/abc/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "150000\n",
    "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
    "cpu,cpuacct/docker/abc/cpuacct.usage": "2500000000\n",
}
V2: Mapping[str, str] = {
    "system.slice/x.scope/memory.max": "157286400\n",
    "system.slice/x.scope/memory.current": "70000000\n",
    "system.slice/x.scope/memory.stat": "anon 60000000\nfile 9000000\ninactive_file 4000000\n",
    "system.slice/x.scope/memory.events": "low 0\nhigh 0\nmax 5\noom 2\noom_kill 2\n",
    "system.slice/x.scope/cpu.max": "150000 100000\n",
    "system.slice/x.scope/cpu.stat": "usage_usec 2500000\nuser_usec 1\nnr_throttled 3\n",
}
MEMBER = {
    1: "9:name=systemd:/docker/abc\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
    2: "0::/system.slice/x.scope\n",
}


def lay(tmp_path: Path, version: int, changed: Mapping[str, str] | None = None) -> dict[str, Any]:
    for name, text in {**(V1 if version == 1 else V2), **(changed or {})}.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "proc" / "7").mkdir(parents=True)
    (tmp_path / "proc" / "7" / "cgroup").write_text(MEMBER[version])
    return {"root": tmp_path / "cgroup", "proc": tmp_path / "proc"}


@pytest.mark.parametrize("version", [1, 2])
def test_limits_and_use_read_alike_in_both_versions(tmp_path: Path, version: int) -> None:
    group = group_of(7, **lay(tmp_path, version))
    assert group.version == version
    assert group.limits() == Limits(157286400, 1.5)
    assert group.use() == Use(60000000, 66000000, 2.5, 2)


@pytest.mark.parametrize(
    ("version", "changed"),
    [
        (
            1,
            {
                "memory/docker/abc/memory.limit_in_bytes": "9223372036854771712\n",
                "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "-1\n",
            },
        ),
        (2, {"system.slice/x.scope/memory.max": "max\n", "system.slice/x.scope/cpu.max": "max 100000\n"}),
    ],
)
def test_no_limit_is_none(tmp_path: Path, version: int, changed: Mapping[str, str]) -> None:
    assert group_of(7, **lay(tmp_path, version, changed)).limits() == Limits(None, None)


def test_a_process_that_has_ended_or_is_elsewhere_is_the_suites_own_fault(tmp_path: Path) -> None:
    places = lay(tmp_path, 2)
    with pytest.raises(SuiteError, match="process 8 has ended"):
        group_of(8, **places)
    (tmp_path / "proc" / "7" / "cgroup").write_text("0::/../../other\n")
    with pytest.raises(SuiteError, match="run the suite on the host"):
        group_of(7, **places)


def test_a_real_container_is_read(client: Any, image: str) -> None:
    container = client.containers.run(
        image, detach=True, network_mode="none", mem_limit="64m", memswap_limit="64m", nano_cpus=500_000_000
    )
    try:
        container.reload()
        group = group_of(int(container.attrs["State"]["Pid"]))
        assert group.limits() == Limits(64 << 20, 0.5)
        use = group.use()
        assert 0 <= use.anonymous_bytes <= use.working_set_bytes + (1 << 20) < 65 << 20
        assert use.oom_kills == 0
    finally:
        container.remove(force=True)
