"""ISO-20: two dedicated instances share no database, storage, key or address; neither takes the other's credentials."""

from __future__ import annotations

import uuid
from ipaddress import ip_address

from environments.contract import Capability, Deployment, Evidence, Mode, Node, requirement, vacuous
from suites.exchange import assert_no_crash, conclude, data_of, document, http_bases, shown, signed_in, tenants
from suites.isolation.separation import judge_separation
from suites.product import create_entity


def _instances(deployment: Deployment) -> list[Node]:
    found = [node for node in deployment.nodes.values() if node.mode == Mode.B]
    if len(found) < 2:
        vacuous("separation needs two dedicated instances in the deployment")
    return found


def _addresses(node: Node) -> list[str]:
    """Addresses that the node's services listen on; loopback belongs to each site and is not shared."""
    return sorted({x.address for x in node.listeners() if not _loopback(x.address)})


def _loopback(address: str) -> bool:
    found = ip_address(address.split("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


@requirement("ISO-20", needs=(Capability.SQL_AUDIT, Capability.LISTENERS))
def test_instances_share_nothing_physical(deployment: Deployment, evidence: Evidence) -> None:
    """System identifier, data directory, key ids and addresses of two instances are all different."""
    seen = {}
    for node in _instances(deployment):
        with node.sql() as connection:
            system = connection.execute("select system_identifier::text from pg_control_system()").fetchone()[0]
            directory = connection.execute("show data_directory").fetchone()[0]
        keys = document(node.http().request("GET", node.url("identity") + "/v1/auth/jwks.json"))["keys"]
        seen[node.name] = {
            "database system": [system],
            "data directory": [str(node.host_path(directory)), str(node.data_dir)],
            "signing key": [k for key in keys for k in (key.get("kid"), key.get("x")) if k],
            "address": _addresses(node),
        }
    evidence.add("instances", seen)
    conclude(evidence, judge_separation(seen), "no value in common", f"{len(seen)} instances, no value in common")


@requirement("ISO-20")
def test_credentials_of_one_instance_are_worthless_at_the_other(deployment: Deployment, evidence: Evidence) -> None:
    """A token and a password of the first instance are refused at the second, and its data is not there."""
    one, two = _instances(deployment)[:2]
    client = signed_in(one)
    mark = f"dedicated-{uuid.uuid4().hex}"
    create_entity(client, "dedicated", {"mark": mark})
    search = f'{{ searchEntities(text: "{mark}") {{ id props }} }}'
    assert data_of(client.graphql(search), "control")["searchEntities"], "the own instance does not show the mark"
    user = one.user("admin", tenants(one)[0])
    problems = []
    for role in http_bases(two):
        if role == "data":
            answer = two.http().request(
                "POST",
                two.url("data") + "/graphql",
                headers={"Authorization": f"Bearer {client.token}"},
                json={"query": search},
            )
            evidence.add("token at the other", shown(answer))
            assert_no_crash(answer, "foreign token")
            if (answer.status, answer.error_code) != (401, "UNAUTHENTICATED"):
                problems.append(f"token of {one.name} at {two.name}: {answer.status} {answer.error_code}")
    login = two.http().request(
        "POST",
        two.url("identity") + "/v1/auth/login",
        json={"tenant": user.tenant, "username": user.username, "password": user.password},
    )
    evidence.add("login at the other", {"status": login.status, "code": login.error_code})
    if login.status != 401:
        problems.append(f"{user.username}@{user.tenant} of {one.name} logs in at {two.name}: {login.status}")
    found = data_of(signed_in(two).graphql(search), "search at the other")["searchEntities"]
    problems += [f"{two.name} holds data of {one.name}"] if found else []
    conclude(evidence, problems, "401 for token and password", "both refused; the mark is at its own instance alone")
