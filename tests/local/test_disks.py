"""Disks of nodes: really full, read-only and slow; healed, unmounted, and swept after kill -9."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import profiles
from environments import clean, provision
from environments.contract import Capability, Client, Node, TransportError, Untestable
from environments.drivers import provisioning
from environments.drivers.local.deployment import LocalDeployment
from environments.drivers.local.disks import NOT_ASKED, NoDisks, make_disks, mounted_under, unmount_under
from suites.waiting import wait_until

pytestmark = pytest.mark.timeout(180)
BLOB = "x" * 4000
NODES = {"edge-airgap": "edge-1", "saas": "saas"}  # profile -> the node: SQLite, PostgreSQL


@pytest.fixture(scope="module")
def mountable(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("disk")
    made = make_disks(["one"], folder)
    unmount_under(folder)
    if isinstance(made, NoDisks):
        pytest.skip(made.why)


@pytest.fixture(scope="module", params=NODES)
def deployment(request: pytest.FixtureRequest, mountable: None) -> Iterator[LocalDeployment]:
    with provision(profiles.load(request.param), calibrate=False, disks=True) as made:
        yield made
        workdir = made.workdir
    assert not mounted_under(workdir)
    assert not workdir.exists()


@pytest.fixture
def node(deployment: LocalDeployment) -> Iterator[Node]:
    yield deployment.nodes[NODES[deployment.profile]]
    deployment.heal()


def writer(node: Node) -> Client:
    return node.login(node.user("admin"))


def write(client: Client, number: int) -> tuple[str | None, str | None]:
    """-> (id of the record, None) or (None, why not)."""
    query = 'mutation($p: JSON) { createEntity(input: {kind: "disk", props: $p}) { id } }'
    try:
        answer = client.graphql(query, {"p": {"number": number, "blob": BLOB}}, timeout_s=20.0)
    except TransportError as error:
        return None, error.kind
    if answer.error_code is not None:
        return None, answer.error_code
    return str(answer.json()["data"]["createEntity"]["id"]), None


def found(client: Client, identifier: str) -> bool:
    answer = client.graphql(f'{{ entity(id: "{identifier}") {{ id props }} }}').json()["data"]["entity"]
    return answer is not None and answer["props"]["blob"] == BLOB


def test_a_full_disk_is_refused_by_name_loses_nothing_and_recovers(deployment: LocalDeployment, node: Node) -> None:
    client = writer(node)
    kept = [identifier for identifier, _ in (write(client, number) for number in range(5)) if identifier]
    assert len(kept) == 5
    deployment.disks.full(node.name)
    refused: list[str] = []
    for number in range(2000):
        identifier, why = write(client, number)
        if identifier is not None:
            kept.append(identifier)  # into space that was there already
        else:
            refused.append(str(why))
        if len(refused) == 20:
            break
    assert refused == ["STORAGE_FULL"] * 20
    operator = node.user("operator")
    refusal = node.http().request(
        "POST",
        node.url("identity") + "/v1/auth/login",
        json={"tenant": operator.tenant, "username": operator.username, "password": operator.password},
    )
    assert (refusal.status, refusal.error_code) in {(507, "STORAGE_FULL"), (200, None)}  # its audit entry may yet fit
    assert all(found(client, each) for each in kept), "what is there can be read while the disk is full"
    pids = {service: deployment.locals[node.name].pid(service) for service in node.services}
    deployment.disks.heal(node.name)
    assert wait_until(lambda: write(client, -1)[0] is not None, 20) <= 20
    assert all(found(client, each) for each in kept)
    assert pids == {service: deployment.locals[node.name].pid(service) for service in node.services}, "no restart"
    assert deployment.crashed() == []


def test_files_that_do_not_fit_are_refused_by_name_too(deployment: LocalDeployment, node: Node) -> None:
    """Beside the database: the licence of an edge is a file, the policy that a control plane publishes another."""
    operator = node.login(node.user("operator"))
    deployment.disks.full(node.name)
    if node.variant == "edge":
        claims = deployment.vendor.licence_claims(node)
        answer = operator.admin("PUT", "/v1/licence", body=deployment.vendor.sign("licence", claims).encode())
    else:
        answer = operator.control("PUT", "/v1/policy", body=b"x" * 8192)
    assert (answer.status, answer.error_code) == (507, "STORAGE_FULL")


def test_a_read_only_disk_refuses_writes_and_what_cannot_live_on_it_is_no_crash(
    deployment: LocalDeployment, node: Node
) -> None:
    client = writer(node)
    identifier, _ = write(client, 1)
    assert identifier is not None
    deployment.disks.read_only(node.name)
    with pytest.raises(OSError, match="Read-only file system"):
        (node.data_dir / "probe").write_text("x")
    service = node.services[-1]
    url = node.url("data")

    def answers() -> bool:
        try:
            return node.http().request("GET", url + "/healthz", timeout_s=2.0).status == 200
        except TransportError:
            return False

    assert wait_until(answers, 30) <= 30, node.logs(service)
    assert write(client, 2)[1] == "UNAVAILABLE"
    if node.variant == "edge":
        assert found(client, identifier), "SQLite reads on"
    else:
        assert node.http().request("GET", url + "/readyz", timeout_s=10.0).status == 503, "PostgreSQL is down"
    assert deployment.crashed() == []
    deployment.heal()
    assert found(writer(node), identifier)
    assert write(writer(node), 3)[0] is not None
    assert deployment.crashed() == []


def test_a_slow_disk_delays_each_forced_write(deployment: LocalDeployment, node: Node) -> None:
    client = writer(node)
    try:
        deployment.disks.slow(node.name, 0.4)
    except Untestable as reason:
        assert "disk-faults" in str(reason)
        pytest.skip(str(reason))
    began = time.monotonic()
    assert write(client, 1)[0] is not None
    assert time.monotonic() - began >= 0.4
    deployment.disks.heal(node.name)
    assert wait_until(lambda: timed(client) < 0.4, 20) <= 20
    assert deployment.crashed() == []


def timed(client: Client) -> float:
    began = time.monotonic()
    assert write(client, 2)[0] is not None
    return time.monotonic() - began


def test_heal_of_the_deployment_heals_disks(deployment: LocalDeployment, node: Node) -> None:
    deployment.disks.full(node.name)
    deployment.heal()
    assert write(writer(node), 1)[0] is not None


def test_a_disk_that_was_not_asked_for_is_a_missing_capability() -> None:
    with provision(profiles.load("edge-airgap"), calibrate=False) as deployment:
        assert deployment.missing[Capability.DISK_FAULTS] == NOT_ASKED
        with pytest.raises(Untestable, match=r"disk-faults: .*a schedule that breaks disks"):
            deployment.disks.full("edge-1")
        deployment.heal()


def test_a_disk_that_cannot_be_mounted_is_a_missing_capability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("environments.drivers.local.disks.mount", refused)
    made = make_disks(["one"], tmp_path)
    assert isinstance(made, NoDisks)
    assert made.why == "mounting is refused (Operation not permitted). Run as root, in a container with SYS_ADMIN"


def test_files_are_kept_when_asked(mountable: None) -> None:
    made = provision(profiles.load("edge-airgap"), calibrate=False, disks=True)
    workdir = made.workdir
    made.close(keep_files=True)
    assert not mounted_under(workdir)
    assert (workdir / "edge-1" / "disk" / "data" / "companyos.sqlite").stat().st_size > 0
    made.close()
    assert not workdir.exists()


OWNER = """
import sys, time, profiles
from environments import provision
if sys.argv[2] == "loopback":
    from environments import network
    def refused(*_, **__):
        raise network.NamespacesUnavailable("refused for this test", "none")
    network.Network.start = refused
deployment = provision(profiles.load("saas"), run_id=sys.argv[1], calibrate=False, disks=True)
deployment.locals["saas"].pause("postgres")
deployment.disks.full("saas")
print("ready", flush=True)
time.sleep(120)
"""


@pytest.mark.parametrize("sites", ["namespaces", "loopback"])
def test_kill_minus_nine_leaves_disks_that_clean_unmounts(mountable: None, sites: str) -> None:
    """And backends of a paused PostgreSQL, which do not see that it is gone."""
    run_id = f"test-{os.getpid()}-{sites}"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, run_id, sites], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert "ready" in owner.stdout.readline()
    folder = provisioning.ROOT / run_id
    assert mounted_under(folder)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with provision(profiles.load("edge-airgap"), calibrate=False, disks=True):
        pass  # the next run does not trip over it
    told: list[str] = []

    def swept() -> bool:
        told.extend(clean.sweep())
        return not folder.exists()

    assert wait_until(swept, 20) <= 20
    assert any(line.startswith(f"disk {folder}") for line in told)
    assert not mounted_under(folder)
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if str(folder) in working_folder(pid)]


def working_folder(process: Path) -> str:
    try:
        return str((process / "cwd").readlink())
    except OSError:
        return ""
