"""What the migration checks do with source and target."""

from __future__ import annotations

import uuid
from itertools import pairwise
from typing import Any

from environments.contract import Capability, Client, Deployment, Node, Response, SuiteError
from suites.exchange import ask, assert_no_crash, data_of, document, shown, signed_in, tenants
from suites.migration.judges import FIELDS, Holding, digest
from suites.product import ENTITY, INVESTIGATION, RELATIONSHIP, create_investigation, create_relationship

LARGE = 1_000_000  # characters of one value: beyond a page, a TOAST chunk and a copy buffer
PAGE = 500
TEXTS = {
    "nfc": "caf\u00e9",
    "nfd": "cafe\u0301",
    "four bytes": "\U0001f6f0\U0001f469\u200d\U0001f680",
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u202eabc",
    "quotes": "' \" \\ `$;-- /* */ \t\n\r",
    "copy's own": "\\N \\. \\x41",
    "spaces": "  kept  ",
    "confusable": "\u0430dmin",
}


def target_of(deployment: Deployment) -> Node:
    if deployment.target is None:
        raise SuiteError(f"profile {deployment.profile} has no target: a migration path names two profiles")
    return deployment.target


def moving_tenant(deployment: Deployment) -> str:
    """The tenant that source and target share."""
    common = sorted(set(tenants(deployment.subject)) & set(tenants(target_of(deployment))))
    if not common:
        raise SuiteError("source and target share no tenant")
    return common[0]


def entity_of(client: Client, kind: str, props: Any, **more: Any) -> str:
    """Through variables, so that any JSON value can be sent. Returns the id."""
    query = "mutation($i: EntityInput!) { createEntity(input: $i) { id } }"
    answer = client.graphql(query, {"i": {"kind": kind, "props": props, **more}}, timeout_s=20.0)
    identifier: str = data_of(answer, f"createEntity {kind}")["createEntity"]["id"]
    return identifier


def plant_corpus(client: Client, mark: str) -> None:
    """Every kind of value that exports lose: null, empty, large, unicode, nested, numbers, deleted neighbours."""
    ids = [entity_of(client, "corpus", {"mark": mark, "text": text, "name": name}) for name, text in TEXTS.items()]
    ids.append(
        entity_of(client, "corpus", {"none": None, "empty": "", "list": [], "object": {}, "false": False, "zero": 0})
    )
    ids.append(entity_of(client, "corpus", {}, labels=[]))
    ids.append(entity_of(client, "corpus", {"big": mark + "x" * LARGE}))
    numbers = {"int": 9007199254740991, "negative": -1, "float": 0.1, "small": 5e-324, "exponent": 1e22}
    ids.append(
        entity_of(client, "corpus", {"deep": {"a": [{"b": [None, {"c": numbers}]}]}}, labels=["one", "zwei", "\u4e09"])
    )
    ids.append(entity_of(client, "k\u00efnd with spaces", {"mark": mark}, labels=[mark]))
    update = "mutation($id: ID!, $p: JSON) { updateEntity(id: $id, input: {props: $p}) { version } }"
    ask(client, update, {"id": ids[0], "p": {"mark": mark, "text": "updated once"}})
    gone = entity_of(client, "corpus", {"gone": True})
    for one, two in pairwise(ids):
        create_relationship(client, one, two, "NEXT", {"mark": mark, "none": None})
    create_relationship(client, ids[0], ids[0], "SELF")
    create_relationship(client, ids[0], gone, "TO_GONE")
    ask(client, "mutation($id: ID!) { deleteEntity(id: $id) }", {"id": gone})
    create_investigation(client, f"investigation {mark}", description="d\u00e9tails", entityIds=ids[:3])
    create_investigation(client, f"without description {mark}", entityIds=[])
    create_investigation(client, f"description empty \U0001f50d {mark}", description=mark)


def holding(client: Client) -> Holding:
    """Everything of the client's tenant, by type, as the API serves it."""
    entities: list[dict[str, Any]] = []
    query = f"query($o: Int) {{ entities(limit: {PAGE}, offset: $o) {{ {ENTITY} createdBy }} }}"
    while True:
        page = ask(client, query, {"o": len(entities)})["entities"]
        entities += page
        if len(page) < PAGE:
            break
    rest = ask(client, f"{{ relationships {{ {RELATIONSHIP} }} investigations {{ {INVESTIGATION} }} }}")
    return {"entity": entities, "relationship": rest["relationships"], "investigation": rest["investigations"]}


def state(node: Node, tenant: str, deployment: Deployment) -> dict[str, str]:
    """What may not change while an archive is refused: digests by the API, and rows by SQL where it can be asked."""
    found = holding(signed_in(node, "admin", tenant))
    digests = {type_: digest(type_, found[type_]) for type_ in FIELDS}
    if Capability.SQL_AUDIT in deployment.capabilities and "postgres" in node.services:
        with node.sql() as connection:
            query = (
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
            )
            for (table,) in connection.execute(query).fetchall():
                if table != "audit":  # a refusal may leave its trace there
                    count = connection.execute(f'SELECT count(*) FROM public."{table}"').fetchone()
                    digests[f"rows of {table}"] = str(count[0])
    return digests


def export(node: Node, tenant: str, query: str = "") -> bytes:
    """The archive that the tenant's administrator gets."""
    answer = signed_in(node, "admin", tenant).data("POST", f"/v1/export{query}", timeout_s=60.0)
    assert_no_crash(answer, "export")
    assert answer.status == 200, f"export: {shown(answer)}"
    return answer.body


def offer(node: Node, archive: bytes) -> Response:
    """Import as the node's operator."""
    client = node.login(node.user("operator"))
    return client.data(
        "POST", "/v1/import", body=archive, headers={"Content-Type": "application/x-tar"}, timeout_s=60.0
    )


def imported(node: Node, archive: bytes) -> dict[str, Any]:
    answer = assert_no_crash(offer(node, archive), "import")
    assert answer.status == 200, f"import: {shown(answer)}"
    return document(answer)


def new_mark() -> str:
    return f"canary-{uuid.uuid4().hex}"
