"""ISO-08: the token says which tenant asks; nothing else that a client sends does."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from environments.contract import Client, Deployment, Evidence, Node, Response, TransportError, requirement
from suites.exchange import assert_no_crash, conclude, data_of, document, shown, signed_in, two_tenants
from suites.isolation.scan import judge_leaks
from suites.product import ENTITY, create_entity, literal

KIND = f"channel-{uuid.uuid4().hex}"  # of this run alone, so that one page holds it
READ = (
    f'{{ entities(kind: "{KIND}", limit: 1000) {{ {ENTITY} }}'
    f' searchEntities(text: "{KIND}", limit: 1000) {{ {ENTITY} }} me {{ tenantId }} }}'
)
Channel = Callable[[Node, Client, str], Response]


def _post(
    node: Node, client: Client, *, path: str = "/graphql", headers: dict[str, str] | None = None, **document: Any
) -> Response:
    sent = {"Authorization": f"Bearer {client.token}", **(headers or {})}
    return node.http().request("POST", node.url("data") + path, headers=sent, json={"query": READ, **document})


def _header(name: str) -> Channel:
    return lambda node, client, foreign: _post(node, client, headers={name: foreign})


def _host(node: Node, client: Client, foreign: str) -> Response:
    port = node.url("data").rsplit(":", 1)[-1].split("/")[0]
    return _post(node, client, headers={"Host": f"{foreign}.companyos.test:{port}"})


CHANNELS: dict[str, Channel] = {
    **{
        f"header-{name}": _header(name)
        for name in (
            "X-Tenant-Id",
            "X-Tenant",
            "X-Org-Id",
            "Tenant",
            "X-Companyos-Tenant",
            "X-Forwarded-Tenant",
            "X-Original-Tenant-Id",
        )
    },
    "header-x-forwarded-host": lambda node, client, foreign: _post(
        node, client, headers={"X-Forwarded-Host": f"{foreign}.companyos.test"}
    ),
    "cookie": lambda node, client, foreign: _post(
        node, client, headers={"Cookie": f"tenant={foreign}; tenant_id={foreign}; tenantId={foreign}"}
    ),
    "query-string": lambda node, client, foreign: _post(
        node, client, path=f"/graphql?tenant={foreign}&tenantId={foreign}&tenant_id={foreign}"
    ),
    "variable": lambda node, client, foreign: _post(node, client, variables={"tenantId": foreign, "tenant": foreign}),
    "extensions": lambda node, client, foreign: _post(node, client, extensions={"tenantId": foreign}),
    "body": lambda node, client, foreign: _post(node, client, tenant=foreign, tenantId=foreign),
    "subdomain": _host,
    "baggage": lambda node, client, foreign: _post(
        node, client, headers={"Baggage": f"tenant={foreign}", "Tracestate": f"tenant={foreign}"}
    ),
}


@requirement("ISO-08")
@pytest.mark.parametrize("channel", CHANNELS)
def test_channel_never_overrides_the_token(deployment: Deployment, evidence: Evidence, channel: str) -> None:
    """A token of tenant one with tenant two in this channel reads tenant one's rows, and none of tenant two's."""
    node = deployment.subject
    one, two = two_tenants(node)
    clients = {tenant: signed_in(node, "admin", tenant) for tenant in (one, two)}
    marks = {tenant: f"channel-{tenant}-{uuid.uuid4().hex}" for tenant in (one, two)}
    for tenant, client in clients.items():
        create_entity(client, KIND, {"mark": marks[tenant]})
    answers = []
    for tenant, foreign in ((one, two), (two, one), (one, one)):
        answer = CHANNELS[channel](node, clients[tenant], foreign)
        evidence.add(f"token {tenant}, {channel} {foreign}", shown(answer, 200))
        assert_no_crash(answer, channel)
        answers.append((tenant, f"{channel}={foreign}", answer.body))
        if answer.error_code is None and tenant != foreign:
            who = data_of(answer, channel)["me"]["tenantId"]
            assert who == tenant, f"{channel}={foreign} turned the token of {tenant} into one of {who}: {shown(answer)}"
    # A refusal of the conflicting pair is as good as ignoring it; the agreeing pair must be served.
    conclude(
        evidence,
        judge_leaks(marks, [*answers, (two, "control", _own(clients[two]))]),
        "own rows alone",
        "own rows alone in both directions",
    )


def _own(client: Client) -> bytes:
    return client.graphql(READ).body


@requirement("ISO-08")
def test_write_lands_in_the_tenant_of_the_token(deployment: Deployment, evidence: Evidence) -> None:
    """A write with another tenant in header, cookie, query string and input is the token's tenant's, or refused."""
    node = deployment.subject
    one, two = two_tenants(node)
    client, other = signed_in(node, "admin", one), signed_in(node, "admin", two)
    mark = f"written-{uuid.uuid4().hex}"
    plain = (
        f"mutation {{ createEntity(input: {literal({'kind': 'written', 'props': {'mark': mark}})}) {{ id tenantId }} }}"
    )
    with_field = plain.replace('kind: "written"', f'kind: "written", tenantId: {literal(two)}')
    everywhere = {"X-Tenant-Id": two, "X-Tenant": two, "Cookie": f"tenant={two}"}
    outcomes = {}
    for name, query in (("headers", plain), ("input", with_field)):
        answer = node.http().request(
            "POST",
            node.url("data") + f"/graphql?tenantId={two}",
            headers={"Authorization": f"Bearer {client.token}", **everywhere},
            json={"query": query},
        )
        assert answer.status != 500, shown(answer)
        outcomes[name] = shown(answer)
        if answer.status == 200 and not document(answer).get("errors"):
            assert data_of(answer, name)["createEntity"]["tenantId"] == one, shown(answer)
    evidence.items.update(outcomes)
    search = f'{{ searchEntities(text: "{mark}") {{ id tenantId props }} }}'
    own, foreign = data_of(client.graphql(search), "own search"), data_of(other.graphql(search), "foreign search")
    assert own["searchEntities"], "the write is not seen by its own tenant: the control of this check"
    problems = [f"tenant {two} sees the write of {one}: {foreign}"] if foreign["searchEntities"] else []
    conclude(
        evidence, problems, f"{mark} in {one} alone", f"{len(own['searchEntities'])} row(s) in {one}, none in {two}"
    )


@requirement("ISO-08")
def test_unsigned_part_of_the_token_is_not_believed(deployment: Deployment, evidence: Evidence) -> None:
    """A token whose header or claims name another tenant, signed for neither, is refused as UNAUTHENTICATED."""
    node = deployment.subject
    one, two = two_tenants(node)
    client = signed_in(node, "admin", one)
    assert data_of(client.graphql("{ me { tenantId } }"), "control")["me"]["tenantId"] == one
    head, claims, signature = str(client.token).split(".")
    forged = {
        "claims": f"{head}.{_changed(claims, tenant=two)}.{signature}",
        "header": f"{_changed(head, tenant=two)}.{claims}.{signature}",
        "alg-none": f"{_changed(head, alg='none')}.{_changed(claims, tenant=two)}.",
    }
    problems = []
    for name, token in forged.items():
        try:
            answer = node.http().request(
                "POST",
                node.url("data") + "/graphql",
                headers={"Authorization": f"Bearer {token}"},
                json={"query": READ},
            )
        except TransportError as error:
            problems.append(f"{name}: no answer ({error.kind})")
            continue
        evidence.add(name, shown(answer))
        if (answer.status, answer.error_code) != (401, "UNAUTHENTICATED"):
            problems.append(f"{name}: {answer.status} {answer.error_code}")
    conclude(evidence, problems, "401 UNAUTHENTICATED", "every forged token refused; the genuine one served")


def _changed(part: str, **changes: str) -> str:
    document = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return base64.urlsafe_b64encode(json.dumps({**document, **changes}).encode()).rstrip(b"=").decode()
