"""ISO-09: without an authenticated tenant nothing is served, on any path."""

from __future__ import annotations

import base64
import json
import time
import uuid

import psycopg
import pytest

from environments.contract import Capability, Client, Deployment, Evidence, Node, requirement, untestable
from suites.exchange import assert_no_crash, conclude, data_of, healed_after, shown, signed_in, tenants
from suites.product import ENTITY, create_entity, launch_run, literal

# (role, method, path, body): every path that serves or changes a tenant's or the node's state.
PATHS: list[tuple[str, str, str, object]] = [
    ("data", "POST", "/graphql", {"query": f"{{ entities {{ {ENTITY} }} }}"}),
    ("data", "POST", "/graphql", {"query": 'mutation { createEntity(input: {kind: "intruder"}) { id } }'}),
    ("data", "GET", "/graphql?query=%7Bentities%7Bid%7D%7D", None),
    ("data", "GET", "/v1/events?after=0", None),
    ("data", "GET", "/v1/status", None),
    ("data", "POST", "/v1/export", None),
    ("data", "POST", "/v1/import", None),
    ("data", "POST", "/v1/sync/batches", {"node_id": "x", "first_seq": 1, "ops": []}),
    ("data", "POST", "/v1/chat/completions", {"messages": []}),
    ("admin", "GET", "/v1/licence", None),
    ("admin", "PUT", "/v1/licence", None),
    ("admin", "GET", "/v1/bundle", None),
    ("admin", "PUT", "/v1/bundle", None),
    ("admin", "GET", "/v1/policy", None),
    ("admin", "GET", "/v1/audit?after=0", None),
    ("admin", "POST", "/v1/promote", {"to": "core"}),
    ("control", "PUT", "/v1/policy", None),
    ("control", "GET", "/v1/billing/usage", None),
    ("control", "GET", "/v1/directory/users", None),
]
REFUSED = {401}
ABSENT = {404, 405, 501}  # the mode has no such path; nothing of a tenant may be in the answer


def _b64(document: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def _contexts(deployment: Deployment, client: Client) -> dict[str, str | None]:
    """Names of missing or worthless credentials -> the Authorization header."""
    head, claims, _ = str(client.token).split(".")
    payload = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    unsigned = f"{_b64({'alg': 'none', 'typ': 'JWT'})}.{claims}."
    hmac = f"{_b64({'alg': 'HS256', 'typ': 'JWT'})}.{claims}.{'A' * 43}"
    no_tenant = f"{head}.{_b64({k: v for k, v in payload.items() if k != 'tenant'})}.{'A' * 86}"
    found: dict[str, str | None] = {
        "no token": None,
        "empty": "Bearer ",
        "garbage": "Bearer not-a-token",
        "other scheme": "Basic YWRtaW46YWRtaW4=",
        "alg none": f"Bearer {unsigned}",
        "alg HS256": f"Bearer {hmac}",
        "no tenant, unsigned": f"Bearer {no_tenant}",
        "signature cut": f"Bearer {head}.{claims}.",
    }
    if Capability.VENDOR_KEYS in deployment.capabilities:
        for key in ("stranger", "vendor"):
            token = deployment.vendor.sign("licence", payload, header={"typ": "JWT"}, key=key)
            found[f"signed by the {key}'s key"] = f"Bearer {token}"
    return found


def _refusals(node: Node, contexts: dict[str, str | None], secret: bytes, evidence: Evidence) -> list[str]:
    problems, session, tried = [], node.http(), 0
    for role, method, path, body in PATHS:
        try:
            url = node.url(role) + path
        except KeyError:
            continue
        for name, value in contexts.items():
            answer = session.request(
                method, url, headers={"Authorization": value} if value is not None else {}, json=body
            )
            tried += 1
            line = f"{method} {path} with {name}: answered {answer.status} {answer.error_code or ''}".rstrip()
            if answer.status not in REFUSED | ABSENT:
                problems.append(line)
                evidence.add(line, shown(answer))
            elif secret in answer.body:
                problems.append(line + " and a tenant's data")
    evidence.add("probes", tried)
    return problems


@requirement("ISO-09")
def test_no_path_serves_without_a_verified_token(deployment: Deployment, evidence: Evidence) -> None:
    """No token, garbage, an unsigned or foreign-signed token: 401 on every path, and no byte of a tenant."""
    node = deployment.subject
    client = signed_in(node)
    mark = f"closed-{uuid.uuid4().hex}"
    create_entity(client, "closed", {"mark": mark})
    control = client.graphql(f'{{ searchEntities(text: "{mark}") {{ {ENTITY} }} }}')
    assert mark.encode() in control.body, "the owner does not see the mark: the control of this check"
    problems = _refusals(node, _contexts(deployment, client), mark.encode(), evidence)
    for tenant in tenants(node):
        listed = data_of(signed_in(node, "admin", tenant).graphql('{ entities(kind: "intruder") { id } }'), "aftermath")
        problems += [f"an unauthenticated write reached {tenant}"] if listed["entities"] else []
    conclude(evidence, problems, "401 everywhere", f"{evidence.items['probes']} probes refused")


@requirement("ISO-09", needs=(Capability.CLOCK_CONTROL,))
def test_expired_token_is_refused(deployment: Deployment, evidence: Evidence) -> None:
    """A token that was served is 401 UNAUTHENTICATED once its 900 s are over."""
    node = deployment.subject
    client = signed_in(node)
    now = time.time()
    with healed_after(deployment):
        deployment.clock.freeze(node.name, now + 60)
        before = assert_no_crash(client.graphql("{ me { sub } }"), "within its time")
        deployment.clock.freeze(node.name, now + 1200)
        after = assert_no_crash(client.graphql("{ me { sub } }"), "expired")
        deployment.clock.release(node.name)
    evidence.add("within", shown(before))
    evidence.add("expired", shown(after))
    assert before.status == 200, f"control: {shown(before)}"
    assert (after.status, after.error_code) == (401, "UNAUTHENTICATED"), shown(after)


@requirement("ISO-09", needs=(Capability.SQL_AUDIT,))
def test_background_job_without_a_tenant_does_nothing(deployment: Deployment, evidence: Evidence) -> None:
    """A run put into the database without a tenant is refused there or seen by nobody; a run with one works."""
    node = deployment.subject
    client = signed_in(node)
    own = launch_run(client, {"why": "control"})
    orphan = str(uuid.uuid4())
    with node.sql() as connection:
        tables = connection.execute(
            "select table_schema, table_name from information_schema.columns"
            " where column_name = 'tenant_id' and table_name = 'runs'"
        ).fetchall()
        if not tables:
            untestable("sql-audit: no table `runs` is recognisable in this schema")
        table = f'"{tables[0][0]}"."{tables[0][1]}"'
        forged = json.dumps({"id": orphan, "tenant_id": None, "state": "QUEUED"})
        try:
            connection.execute(
                f"insert into {table} select (jsonb_populate_record(null::{table}, to_jsonb(r) || %s::jsonb)).*"
                f" from {table} r limit 1",
                (forged,),
            )
        except psycopg.Error as error:
            evidence.observed = f"the database refuses a run without a tenant: {type(error).__name__}"
        else:
            query = f'{{ run(id: "{orphan}") {{ state }} }}'
            seen = [data_of(signed_in(node, "admin", t).graphql(query), "orphan")["run"] for t in tenants(node)]
            connection.execute(f"delete from {table} where id::text = %s", (orphan,))
            evidence.observed = f"a run without a tenant is seen as {seen}"
            assert not any(seen), evidence.observed
    evidence.expected = "refused, or invisible to every tenant"
    assert own["state"] in {"QUEUED", "RUNNING", "SUCCEEDED"}, f"the control run: {own}"


@requirement("ISO-09")
@pytest.mark.parametrize("path", ["/.well-known/companyos", "/healthz", "/readyz", "/metrics"])
def test_open_paths_show_no_tenant(deployment: Deployment, evidence: Evidence, path: str) -> None:
    """What is open without a token holds no name of a tenant's object."""
    node = deployment.subject
    client = signed_in(node)
    mark = f"open-{uuid.uuid4().hex}"
    made = create_entity(client, mark)
    kept = data_of(client.graphql(f"{{ entities(kind: {literal(mark)}) {{ id kind }} }}"), "the owner's view")[
        "entities"
    ]
    assert kept == [{"id": made["id"], "kind": mark}], f"the owner does not see the object: {kept}: nothing could leak"
    answer = node.http().request("GET", node.url("data") + path)
    evidence.add(path, shown(answer))
    assert answer.status == 200, f"the open path is not served: {shown(answer)}"
    assert mark.encode() not in answer.body and made["id"].encode() not in answer.body, shown(answer)
