"""A deployment of containers: what its sites share, what its services may, and that the suite's hands reach them."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from container_kit import until

import profiles
from environments import provision
from environments.contract import Capability, TransportError
from environments.drivers.containers import classdata
from environments.drivers.containers.engine import Containers, Spec
from environments.drivers.containers.runner import ContainerRunner
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.node import LocalNode
from environments.images.manifest import Built
from environments.network import addresses
from suites.security.listeners import judge_listeners

pytestmark = pytest.mark.timeout(180)
LOOK_UP = "import socket, sys; print(*{a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80)})"


@pytest.fixture(scope="module")
def deployment(containers_driver: None) -> Iterator[LocalDeployment]:
    with provision(profiles.load("edge-dil"), driver="containers", calibrate=False) as made:
        yield made


@pytest.fixture(params=["saas", "edge-1"])
def node(deployment: LocalDeployment, request: pytest.FixtureRequest) -> Iterator[LocalNode]:
    yield deployment.locals[request.param]
    deployment.heal()
    assert deployment.crashed() == []


@pytest.fixture
def edge(deployment: LocalDeployment) -> Iterator[LocalNode]:
    yield deployment.locals["edge-1"]
    deployment.heal()
    assert deployment.crashed() == []


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def answers(node: LocalNode, service: str) -> bool:
    url = f"http://{node.config['listen']}:{node.config['ports'][service]}/healthz"
    try:
        return node.http().request("GET", url, timeout_s=1.0).status == 200
    except TransportError:
        return False


def test_a_site_is_one_namespace_that_its_services_share(deployment: LocalDeployment) -> None:
    spaces = {
        name: {os.readlink(f"/proc/{pid}/ns/net") for pid in node.pids().values()}  # noqa: PTH115
        for name, node in deployment.locals.items()
    }
    assert {name: len(found) for name, found in spaces.items()} == {"saas": 1, "edge-1": 1}
    outside = os.readlink("/proc/self/ns/net")  # noqa: PTH115
    assert len({outside, *spaces["saas"], *spaces["edge-1"]}) == 3


def test_services_have_no_root_no_capability_and_no_writable_root(node: LocalNode, images: Mapping[str, Built]) -> None:
    for service, pid in node.pids().items():
        found = status(pid)
        uid = images[service if service in images else "companyos"].uid
        assert found["Uid"].split() == [str(uid)] * 4, service
        assert uid >= 10000
        assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}, service
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2"), service
        mounts = Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8").splitlines()
        [root] = [line.split() for line in mounts if line.split()[4] == "/"]
        assert "ro" in root[5].split(","), service


def test_an_edge_node_runs_under_the_memory_limit_of_its_profile(deployment: LocalDeployment, edge: LocalNode) -> None:
    runner = edge.runner
    assert isinstance(runner, ContainerRunner)
    limits = deployment.spec.nodes["edge-1"].limits
    host = runner._runs["edge"].container.attrs["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == limits.memory_bytes
    assert host["NanoCpus"] == (limits.cpus or 0) * 1e9


def test_names_resolve_through_the_router_and_ipv6_is_on(deployment: LocalDeployment) -> None:
    runner = deployment.locals["edge-1"].runner
    assert isinstance(runner, ContainerRunner)
    name = f"saas.{addresses.HOST_SUFFIX}"
    spec = runner.spec("look-up", "companyos", ["/usr/bin/python3", "-c", LOOK_UP], [name], {}, {})
    code, told = runner.containers.run(spec, 60.0)
    assert code == 0, told
    assert set(told.split()) == {deployment.network.address("saas"), deployment.network.address_v6("saas")}
    server = [sys.executable, "-m", "http.server", "--bind", "::", "4001"]
    pid = deployment.hosts["saas"].spawn(server, env=dict(os.environ))
    reach = "import socket, sys; print(socket.create_connection((sys.argv[1], 4001), 10).getpeername()[0])"
    there = deployment.network.address_v6("saas")
    spec = runner.spec("reach", "companyos", ["/usr/bin/python3", "-c", reach], [there], {}, {})
    try:
        assert until(lambda: runner.containers.run(spec, 60.0) == (0, f"{there}\n"), 30), "TCP over IPv6 between sites"
    finally:
        deployment.hosts["saas"].signal(pid, signal.SIGKILL)


def test_what_a_container_sends_is_in_the_ledger_with_its_process(deployment: LocalDeployment) -> None:
    runner = deployment.locals["edge-1"].runner
    assert isinstance(runner, ContainerRunner)
    since_s = time.time()
    send = (
        "import socket, time; s = socket.socket(type=2); s.bind(('', 5555)); s.sendto(b'x', ('198.51.100.9', 53535)); "
        "time.sleep(2)"  # it lives while the ledger asks who it was
    )
    spec = runner.spec("sender", "companyos", ["/usr/bin/python3", "-c", send], [], {}, {})
    assert runner.containers.run(spec, 60.0)[0] == 0
    [seen] = [each for each in deployment.egress.attempts("edge-1", since_s) if each.port == 53535]
    assert (seen.protocol, seen.destination, seen.source_port) == ("udp", "198.51.100.9", 5555)
    assert "198.51.100.9" in str(seen.command)


def test_listeners_are_known_by_the_service_that_owns_them(node: LocalNode) -> None:
    found = node.listeners()
    assert judge_listeners(found, node.declared_ports) == []
    assert {each.service for each in found} == set(node.services)


def test_a_killed_service_is_gone_at_once_and_no_crash(deployment: LocalDeployment, edge: LocalNode) -> None:
    edge.kill("edge")
    assert not edge.alive("edge")
    assert not answers(edge, "edge")
    assert deployment.crashed() == []
    edge.start("edge")
    edge.wait_ready()


def test_a_paused_service_holds_its_connections_and_can_be_killed(edge: LocalNode) -> None:
    edge.pause("edge")
    assert edge.alive("edge")
    assert not answers(edge, "edge")
    edge.resume("edge")
    assert answers(edge, "edge")
    edge.pause("edge")
    edge.kill("edge")
    assert not edge.alive("edge")


def test_a_service_that_ends_by_itself_is_told_once(deployment: LocalDeployment, edge: LocalNode) -> None:
    pid = edge.pid("edge")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: not edge.alive("edge"), 5)
    assert deployment.crashed() == ["service edge of node edge-1 ended by itself (exit -9)"]
    assert deployment.crashed() == []


def test_the_configuration_of_one_start_is_gone_with_the_next(edge: LocalNode) -> None:
    before = edge.logs("edge")
    edge.stop("edge")
    edge.start("edge", env={"COLOUR": "blue"}, config={"log_level": "ERROR"})
    edge.wait_ready()
    pid = edge.pid("edge")
    assert b"COLOUR=blue" in Path(f"/proc/{pid}/environ").read_bytes()
    edge.restore()
    edge.wait_ready()
    assert b"COLOUR=blue" not in Path(f"/proc/{edge.pid('edge')}/environ").read_bytes()
    assert edge.logs("edge").startswith(before), "the log goes on over containers"


def test_files_and_logs_are_those_of_this_host_and_no_password_of_the_database_owner(node: LocalNode) -> None:
    files = {path.name: path for path in node.files()}
    assert {"node.json", f"{node.services[-1]}.log"} <= set(files)
    assert '"msg": "serving"' in files[f"{node.services[-1]}.log"].read_text(encoding="utf-8")
    text = files["node.json"].read_text(encoding="utf-8")
    assert str(node.home) not in text, "paths are as the services see them"
    assert '"postgres_admin_dsn": null' in text
    assert not list(node.home.rglob("install.json")), "what the install step was told is gone"


def test_data_outlives_kill_minus_nine_of_the_database(deployment: LocalDeployment) -> None:
    saas = deployment.locals["saas"]
    client = saas.login(saas.user("analyst"))
    made = client.graphql('mutation{createEntity(input:{kind:"kept"}){id}}').json()["data"]["createEntity"]["id"]
    saas.kill("postgres")
    saas.start("postgres")
    saas.wait_ready()
    again = client.graphql("query($id:ID!){entity(id:$id){kind}}", {"id": made}).json()
    assert again["data"]["entity"]["kind"] == "kept"
    deployment.heal()


def test_a_container_that_outgrows_its_memory_is_told_so(containers: Containers, images: Mapping[str, Built]) -> None:
    from environments.drivers.containers.runner import _how

    grow = ["/usr/bin/python3", "-c", "kept = [bytes(1 << 20) + b'x' for _ in range(1 << 12)]"]
    spec = Spec(images["companyos"], "grows", {}, "none", entrypoint=grow, memory_bytes=64 << 20)
    started = containers.start(spec)
    started.container.wait(timeout=60)

    def told() -> bool:  # the engine hears of the exit and of its cause apart
        started.container.reload()
        return bool(started.container.attrs["State"]["OOMKilled"])

    assert until(told, 10)
    assert _how(started.container.attrs["State"]) == "exit -9, out of memory"


def test_capabilities_of_the_driver(deployment: LocalDeployment) -> None:
    asked = {
        Capability.PACKET_LINKS,
        Capability.EGRESS_LEDGER,
        Capability.PROCESS_CONTROL,
        Capability.CLOCK_CONTROL,
        Capability.SQL_AUDIT,
        Capability.FILE_ACCESS,
        Capability.LISTENERS,
        Capability.CONTAINERS,
    }
    assert asked <= deployment.capabilities


def test_neo4j_starts_with_the_dumped_classes(deployment: LocalDeployment, images: Mapping[str, Built]) -> None:
    if "neo4j" not in images:
        pytest.skip("no image neo4j. Run `conform images build`")
    pid = deployment.locals["saas"].pid("neo4j")
    assert f"{classdata.FOLDER}/{classdata.FILE}" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


def test_a_node_serves_the_model_that_its_release_lists(deployment: LocalDeployment, edge: LocalNode) -> None:
    if Capability.MODEL_SERVER not in deployment.capabilities:
        pytest.skip(deployment.missing[Capability.MODEL_SERVER])
    ask = {"messages": [{"role": "user", "content": "say something"}], "max_tokens": 4}
    answers = [
        edge.login(edge.user("analyst")).data("POST", "/v1/chat/completions", json=ask, timeout_s=60) for _ in range(2)
    ]
    said = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert said[0] and said[0] == said[1]
    artifacts = edge.http().request("GET", edge.url("data") + "/version").json()["artifacts"]
    model = next(each for each in artifacts if each["kind"] == "model")
    file = deployment.release.models(edge.name)[model["name"]]
    assert model["digest"] == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
