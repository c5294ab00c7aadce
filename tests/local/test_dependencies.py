"""A node's database slow, silent, refused, cut off in the middle of an answer: and healed again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import profiles
from environments import provision, unusable
from environments.contract import Untestable
from environments.drivers.local.deployment import LocalDeployment

pytestmark = pytest.mark.timeout(240)
NAME = "saas/postgres"
CREATE = 'mutation { createEntity(input: {kind: "a", props: {}}) { id } }'


@pytest.fixture(scope="module", params=["packets", "streams", "containers"])
def deployment(request: pytest.FixtureRequest) -> Iterator[LocalDeployment]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "streams":
            patch.setenv("CONFORM_TUN_DEVICE", "/dev/no-tun")
        driver = "containers" if request.param == "containers" else "local"
        if why := unusable(driver):
            pytest.skip(why)
        with provision(profiles.load("saas"), driver=driver, calibrate=False, dependencies=True) as made:
            yield made


def create(deployment: LocalDeployment, timeout_s: float = 30.0) -> Any:
    node = deployment.subject
    return node.login(node.user("analyst")).graphql(CREATE, timeout_s=timeout_s)


def readiness(deployment: LocalDeployment) -> int:
    node = deployment.subject
    return node.http().request("GET", node.url("data") + "/readyz", timeout_s=30.0).status


def test_names_are_of_node_and_dependency(deployment: LocalDeployment) -> None:
    assert deployment.dependencies.names() == [NAME]
    config = deployment.locals["saas"].config
    assert f"port={config['ports']['postgres']} " not in config["postgres_app_dsn"]


def test_a_slow_database_slows_what_needs_it_and_heals(deployment: LocalDeployment) -> None:
    assert create(deployment).error_code is None
    deployment.dependencies.set(NAME, "latency", delay_s=0.3)
    slow = create(deployment)
    assert slow.error_code is None
    assert slow.elapsed_s >= 0.25
    deployment.dependencies.set(NAME, "latency", delay_s=0.001)
    deployment.dependencies.heal(NAME)
    assert create(deployment).error_code is None


def test_a_database_that_refuses_makes_the_node_unready_until_it_is_healed(deployment: LocalDeployment) -> None:
    deployment.dependencies.cut(NAME)
    assert readiness(deployment) == 503
    deployment.heal()
    assert readiness(deployment) == 200
    assert create(deployment).error_code is None


def test_an_answer_cut_in_the_middle_is_no_success(deployment: LocalDeployment) -> None:
    deployment.dependencies.set(NAME, "limit_data", limit_bytes=20)
    assert readiness(deployment) == 503
    deployment.heal()
    assert create(deployment).error_code is None


def test_the_proxies_are_no_listeners_of_the_product(deployment: LocalDeployment) -> None:
    node = deployment.subject
    declared = set(node.declared_ports)
    assert {(each.address, each.port) for each in node.listeners()} <= declared


def test_what_cannot_be_is_told(deployment: LocalDeployment) -> None:
    with pytest.raises(KeyError, match="no dependency 'saas/opa'; dependencies: saas/postgres"):
        deployment.dependencies.cut("saas/opa")
    with pytest.raises(ValueError, match="no toxic 'fog'"):
        deployment.dependencies.set(NAME, "fog")
    with pytest.raises(ValueError, match="whole ms"):
        deployment.dependencies.set(NAME, "latency", delay_s=0.0001)


def test_without_asking_there_are_none_and_nothing_is_interposed() -> None:
    with provision(profiles.load("saas"), calibrate=False) as plain:
        assert plain.dependencies.names() == []
        config = plain.locals["saas"].config
        assert f"port={config['ports']['postgres']} " in config["postgres_app_dsn"]
        with pytest.raises(Untestable, match="dependencies=True"):
            plain.dependencies.cut(NAME)
