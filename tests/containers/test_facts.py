"""What is read of containers from the engine and the kernel, on real ones: hardened, and spoilt in one way each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from environments.contract import ContainerFacts, Vacuous
from environments.drivers.containers.facts import facts, of_site
from suites.security.containers import configured, judge_containers

HARDENED: dict[str, Any] = {
    "user": "10001:10001",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "network_mode": "none",
    "tmpfs": {"/tmp": "size=1m"},
}
Start = Callable[..., ContainerFacts]


@pytest.fixture
def start(client: Any, image: str) -> Iterator[Start]:
    made: list[Any] = []

    def begin(**options: Any) -> ContainerFacts:
        labels = {"companyos-conform.service": "data", "companyos-conform.test": "facts"}
        container = client.containers.create(image, labels=labels, **{**HARDENED, **options})
        made.append(container)
        container.start()
        container.reload()
        return facts(container.attrs)

    yield begin
    for container in made:
        container.remove(force=True)


def test_a_hardened_container_has_no_finding(start: Start, image: str) -> None:
    it = start()
    assert judge_containers([it], ["data"], [image]) == []
    assert it.service == "data" and it.image_id == image
    process = it.processes[0]
    assert process.uids == (10001,) * 4 and process.write_outcome == "EROFS" and process.seccomp == 2
    assert {"net", "pid", "mnt"} <= process.own_namespaces


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"user": "0:0"}, ["which is root", "runs as uid 0", "runs with gid 0"]),
        ({"read_only": False}, ["writable root file system", "has a writable root", "written, not EROFS"]),
        ({"cap_drop": []}, ["does not drop all", "holds capabilities (bounding)"]),
        ({"security_opt": []}, ["no no-new-privileges", "may gain privileges"]),
        ({"security_opt": ["no-new-privileges:true", "seccomp=unconfined"]}, ["seccomp filter", "has no seccomp"]),
        ({"pid_mode": "host"}, ["shares the host's pid", "in the host's pid"]),
        ({"ipc_mode": "host"}, ["shares the host's ipc", "in the host's ipc"]),
        ({"uts_mode": "host"}, ["shares the host's uts", "in the host's uts"]),
        ({"network_mode": "host"}, ["shares the host's net", "in the host's net"]),
        (
            {"cap_drop": [], "cap_add": ["SYS_ADMIN", "NET_ADMIN"], "user": "0"},
            ["capabilities added: ", "holds capabilities (permitted, effective, bounding)"],
        ),
        ({"volumes": {"/var/run/docker.sock": {"bind": "/run/d.sock", "mode": "ro"}}}, ["docker.sock of the host"]),
        ({"volumes": {"/etc": {"bind": "/host", "mode": "ro"}}}, ["is given /etc of the host"]),
        ({"tmpfs": {"/usr": "size=1m"}}, ["can write to /usr", "written, not EROFS"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_way_to_spoil_it_is_told(start: Start, image: str, options: dict[str, Any], told: list[str]) -> None:
    problems = judge_containers([start(**options)], ["data"], [image])
    for text in told:
        assert any(text in problem for problem in problems), (text, problems)


def test_a_privileged_container_is_told(client: Any, image: str) -> None:
    """Not started: some hosts may not give what it asks for."""
    container = client.containers.create(image, **{**HARDENED, "privileged": True})
    try:
        assert "is privileged" in configured(facts(container.attrs))
    finally:
        container.remove()


def test_a_container_that_nobody_declared_is_seen_by_the_network_it_shares(client: Any, start: Start) -> None:
    pod = start()
    identifier = client.containers.get(pod.name).id
    start(network_mode=f"container:{identifier}", cap_add=["SYS_ADMIN"])
    start()
    found = of_site(client, identifier)
    assert len(found) == 2 and sum(bool(each.capabilities_added) for each in found) == 1


def test_images_are_named_by_digest_and_are_those_of_the_release(start: Start, image: str) -> None:
    it = start()
    assert "not in the release" in judge_containers([it], ["data"], ["sha256:" + "0" * 64])[0]
    floating = replace(it, image_reference="companyos:latest")
    assert "can come to mean another image" in judge_containers([floating], ["data"], [image])[0]


def test_what_was_not_seen_is_vacuous(start: Start, image: str) -> None:
    it = start()
    for containers, expected in (([], ["data"]), ([it], []), ([it], ["data", "postgres"])):
        with pytest.raises(Vacuous):
            judge_containers(containers, expected, [image])
    with pytest.raises(Vacuous):
        judge_containers([replace(it, processes=())], ["data"], [image])
