"""Requests that fail in every way that quotes what was asked, each with a canary in all that it says."""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from environments.contract import Client, Node, Response, TransportError, vacuous
from suites.exchange import probe, redact
from suites.isolation.planting import Filled
from suites.product import literal


@dataclass(frozen=True)
class Spoken:
    """A tenant's requests. `canary` is in what they say; `account`: the login name that nobody has; `trace`: the id of
    the trace that they are part of, which a node that keeps spans writes down."""

    node: Node
    client: Client
    canary: str
    account: str
    trace: str

    def headers(self) -> dict[str, str]:
        """Everything that a client may write into the headers of a request."""
        return {
            "Authorization": f"Bearer {self.client.token}",
            "User-Agent": f"agent {self.canary}",
            "X-Request-Id": self.canary,
            "X-Correlation-Id": self.canary,
            "Referer": f"http://companyos.test/{self.canary}",
            "Cookie": f"note={self.canary}",
            "traceparent": f"00-{self.trace}-{secrets.token_hex(8)}-01",
            "tracestate": f"companyos={self.canary}",
            "baggage": f"note={self.canary}",
        }

    def send(self, role: str, method: str, path: str, body: bytes) -> Response | TransportError:
        url = f"{self.node.url(role)}{path}{'&' if '?' in path else '?'}note={self.canary}"
        headers = {**self.headers(), "Content-Type": "application/json"}
        return probe(self.node, method, url, headers=headers, body=body or None)


def spoken(node: Node, client: Client, canary: str) -> Spoken:
    return Spoken(node, client, canary, f"account-{uuid.uuid4().hex}", secrets.token_hex(16))


def _operations(canary: str, filled: Filled) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(what is wrong, query, variables)"""
    text, absent = literal(canary), literal(str(uuid.uuid4()))
    create = "mutation($p: JSON) { createEntity(input: {kind: %s, props: $p}) { id } }"
    yield "an id that is none", f"{{ entity(id: {text}) {{ id }} }}", {}
    yield "a new id that is none", f'mutation {{ createEntity(input: {{kind: "x", id: {text}}}) {{ id }} }}', {}
    taken = f"{{kind: {text}, id: {literal(filled.ids['entity'])}}}"
    yield "an id that is taken", f"mutation {{ createEntity(input: {taken}) {{ id }} }}", {}
    yield "a kind that is too long", create % literal(canary * 20), {"p": {}}
    yield "a value with NUL", create % text, {"p": {"note": canary + "\0"}}
    yield "a value that is half a character", create % text, {"p": {"note": canary + "\ud800"}}
    yield "a number without end", create % text, {"p": {canary: float("inf")}}
    yield "SQL in a search", f"{{ searchEntities(text: {literal(canary + chr(39) + ' OR 1=1 --')}) {{ id }} }}", {}
    yield "a page that is too long", f"{{ entities(kind: {text}, limit: 100000) {{ id }} }}", {}
    yield "a field that is none", f"{{ {canary.replace('-', '_')} }}", {}
    yield "a syntax error", f"{{ entity(id: {text} ", {}
    yield "a variable of another type", "query($n: Int) { entities(limit: $n) { id } }", {"n": canary}
    ends = f"srcId: {absent}, dstId: {absent}"
    link = f"mutation {{ createRelationship(input: {{{ends}, type: {text}}}) {{ id }} }}"
    yield "a relationship of nothing", link, {}
    name = literal(f"case {filled.canary}")
    yield "a name that is taken", f"mutation {{ createInvestigation(input: {{name: {name}}}) {{ id }} }}", {}
    members = f"{{name: {literal(canary + ' of nothing')}, entityIds: [{absent}]}}"
    yield "a case of nothing", f"mutation {{ createInvestigation(input: {members}) {{ id }} }}", {}
    yield "a runbook that is none", f"mutation {{ launchRun(runbook: {text}) {{ id }} }}", {}
    yield "a run that is none", f"mutation {{ abortRun(id: {text}) {{ id }} }}", {}


def _requests(canary: str) -> Iterator[tuple[str, str, str, str, Any]]:
    """(what is wrong, role, method, path, body)"""
    note = {"note": canary}
    yield "a body that is no JSON", "data", "POST", "/graphql", f"{{{canary}"
    yield "no such path", "data", "GET", f"/{canary}", ""
    yield "no number", "data", "GET", f"/v1/events?after={canary}", ""
    yield "a job that is none", "data", "GET", f"/v1/exports/{canary}", ""
    yield "a name that is none", "data", "POST", "/v1/exports", {"name": f"{canary}/.."}
    yield "a key that is none", "data", "POST", "/v1/objects/sign", {"key": canary}
    yield "an object that is none", "data", "GET", f"/v1/objects/{canary}/{canary}?signature={canary}", ""
    yield "an import by a tenant", "data", "POST", "/v1/import", canary
    yield "a batch by no node", "data", "POST", "/v1/sync/batches", {"node_id": canary, "first_seq": 1, "ops": []}
    yield "no model", "data", "POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": canary}]}
    yield "a tenant made by a tenant", "control", "POST", "/v1/tenants", {"tenant": canary, **note}
    yield "a tenant removed by a tenant", "control", "DELETE", f"/v1/tenants/{canary}", ""
    yield "an event that nobody signed", "control", "POST", "/v1/billing/stripe-webhook", {"id": canary}
    yield "a policy by a tenant", "control", "PUT", "/v1/policy", canary


def provoke(say: Spoken, filled: Filled) -> dict[str, Response | TransportError]:
    """What was answered, by what was wrong with the request."""
    answers = {}
    for what, query, variables in _operations(say.canary, filled):
        body = json.dumps({"query": query, "variables": variables}).encode()
        answers[what] = say.send("data", "POST", "/graphql", body)
    for what, role, method, path, given in _requests(say.canary):
        body = given.encode() if isinstance(given, str) else json.dumps(given).encode()
        answers[what] = say.send(role, method, path, body)
    login = {"tenant": filled.tenant, "username": say.account, "password": say.canary}
    answers["an account that is none"] = say.send("control", "POST", "/v1/auth/login", json.dumps(login).encode())
    return answers


# What a database or an interpreter says of an error, which is no answer to a client.
TELLTALES = {
    "a statement": r"\b(select|insert into|delete from|update)\b.{1,200}\b(from|values|set|where)\b",
    "a driver": r"psycopg|sqlite3\.|asyncpg",
    "a row": r"DETAIL:|duplicate key value|Failing row contains|violates \S+ constraint",
    "a table": r'relation "|column "',
    "a stack": r"Traceback|File \"[^\"]+\", line",
}


def judge_error_texts(answers: Mapping[str, Response | TransportError]) -> list[str]:
    """No crash, and no answer quotes what the database or the interpreter said."""
    if not answers:
        vacuous("nothing was provoked")
    problems = []
    for what, answer in answers.items():
        if isinstance(answer, TransportError):
            problems.append(f"{what}: no answer ({answer.kind})")
            continue
        text = redact(answer.body.decode("utf-8", "replace"))
        if answer.status == 500 or answer.error_code == "INTERNAL":
            problems.append(f"{what}: a crash: {answer.status} {text[:120]}")
        for name, pattern in TELLTALES.items():
            if re.search(pattern, text, re.IGNORECASE | re.DOTALL):
                problems.append(f"{what}: the answer quotes {name}: {text[:200]}")
    return problems
