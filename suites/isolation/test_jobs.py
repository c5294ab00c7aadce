"""ISO-17: what is done later is done for the tenant that asked, whatever was written into what it asked."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from environments.contract import Capability, Client, Deployment, Evidence, Node, Response, requirement
from suites.exchange import ask, assert_no_crash, conclude, data_of, healed_after, shown, signed_in, two_tenants
from suites.isolation.artefacts import address, enqueue, get, job_of, manifest, signed, wait_made
from suites.isolation.jobs import Made, Ran, judge_archives, judge_runs
from suites.product import RUN, create_entity, literal
from suites.waiting import wait_until

ENDED_S = 60.0  # patience with a run
NAMES = ("tenant", "tenantId", "tenant_id", "org", "orgId", "account", "x-tenant-id")
EFFECTS = '{ entities(kind: "RunEffect", limit: 1000) { tenantId props } }'


@dataclass(frozen=True)
class Forgery:
    """The other tenant, where a request can name one."""

    payload: Mapping[str, Any]
    headers: Mapping[str, str]
    query: str = ""


def _forgeries(foreign: str) -> dict[str, Forgery]:
    context = {"tenant": foreign, "tenantId": foreign}
    nested = {"context": context, "auth": context, "metadata": {"labels": context}, "job": {"queue": foreign}}
    token = {"user": {"tenant": foreign, "roles": ["admin"]}, "claims": context, "on_behalf_of": foreign}
    headers = dict.fromkeys(("X-Tenant-Id", "X-Tenant", "X-Org-Id", "X-Job-Tenant", "X-Queue"), foreign)
    return {
        "payload": Forgery(dict.fromkeys(NAMES, foreign), {}),
        "nested payload": Forgery(nested, {}),
        "identity in the payload": Forgery(token, {}),
        "headers": Forgery({}, headers),
        "cookie": Forgery({}, {"Cookie": f"tenant={foreign}; tenantId={foreign}"}),
        "trace context": Forgery({}, {"Tracestate": f"tenant={foreign}", "Baggage": f"tenant={foreign}"}),
        "query": Forgery({}, {}, f"?tenant={foreign}&tenantId={foreign}&tenant_id={foreign}"),
    }


class Two:
    """Both seeded tenants with a canary each, and what they ask."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.names = two_tenants(node)
        self.clients: dict[str, Client] = {name: signed_in(node, "admin", name) for name in self.names}
        self.canaries = {name: f"job-{name}-{uuid.uuid4().hex}" for name in self.names}
        for name, client in self.clients.items():
            create_entity(client, "job", {"canary": self.canaries[name]})

    def sign_in(self) -> None:
        self.clients = {name: signed_in(self.node, "admin", name) for name in self.names}

    def other(self, tenant: str) -> str:
        return next(name for name in self.names if name != tenant)

    def export(self, tenant: str, forgery: Forgery, **payload: Any) -> str:
        """Enqueue; the job's id. The name of the artefact names the other tenant too."""
        given = {**forgery.payload, **payload}
        path = f"/v1/exports{forgery.query}"
        name = f"{self.other(tenant)}.tar"
        return str(enqueue(self.clients[tenant], name, path=path, payload=given, headers=forgery.headers)["id"])

    def made(self, tenant: str, what: str, id_: str) -> Made:
        """The archive of a job, as its enqueuer gets it, and what the other tenant gets of it."""
        job = wait_made(self.clients[tenant], id_)
        answer = get(self.node, address(self.clients[tenant], job["key"]))
        assert isinstance(answer, Response) and answer.status == 200, f"the own archive is not served: {answer}"
        other = self.clients[self.other(tenant)]
        foreign = [other.data("GET", f"/v1/exports/{id_}"), signed(other, job["key"])]
        stated = str(manifest(answer.body).get("tenant"))
        return Made(what, tenant, stated, answer.body, [f"{each.status} {each.error_code}" for each in foreign])

    def launch(self, tenant: str, forgery: Forgery, pause_s: float = 0.02) -> str:
        body = {
            "query": 'mutation($input: JSON) { launchRun(runbook: "enrich", input: $input) { ' + RUN + " } }",
            "variables": {"input": {**forgery.payload, "pause_s": pause_s}, **forgery.payload},
        }
        headers = {"Authorization": f"Bearer {self.clients[tenant].token}", **forgery.headers}
        url = self.node.url("data") + f"/graphql{forgery.query}"
        answer = assert_no_crash(self.node.http().request("POST", url, headers=headers, json=body), "launchRun")
        return str(data_of(answer, "launchRun")["launchRun"]["id"])

    def ran(self, tenant: str, what: str, id_: str) -> Ran:
        seen: dict[str, Any] = {}

        def ended() -> bool:
            query = f"{{ run(id: {literal(id_)}) {{ {RUN} }} }}"
            seen.update(ask(self.clients[tenant], query, what="the own run")["run"] or {})
            return seen.get("state") in ("SUCCEEDED", "FAILED", "ABORTED")

        wait_until(ended, ENDED_S)
        effects = {
            name: sum(e["props"].get("run") == id_ for e in ask(client, EFFECTS, what="effects")["entities"])
            for name, client in self.clients.items()
        }
        return Ran(what, tenant, str(seen.get("state")), len(seen.get("steps") or []), effects)


@requirement("ISO-17")
@pytest.mark.parametrize("channel", _forgeries(""))
def test_export_is_of_the_tenant_that_enqueued_it(deployment: Deployment, evidence: Evidence, channel: str) -> None:
    """Export jobs of both tenants, each naming the other one in this channel, make archives of their own tenant, which
    the other cannot see. Several wait at once, so that a worker that keeps its context shows."""
    two = Two(deployment.subject)
    asked = []
    for _ in range(2):
        for tenant in two.names:
            forgery = _forgeries(two.other(tenant))[channel]
            asked.append((tenant, two.export(tenant, forgery, pause_s=0.3)))
    made = [two.made(tenant, f"job {id_} with the other tenant in {channel}", id_) for tenant, id_ in asked]
    evidence.add("jobs", [[each.what, each.tenant, each.stated, each.foreign] for each in made])
    problems = judge_archives(two.canaries, made)
    conclude(evidence, problems, "archives of their enqueuers alone", f"{len(made)} archives, each of its enqueuer")


@requirement("ISO-17")
@pytest.mark.parametrize("channel", _forgeries(""))
def test_run_acts_in_the_tenant_that_launched_it(deployment: Deployment, evidence: Evidence, channel: str) -> None:
    """Runs of both tenants, each naming the other one in this channel, have all their effects in their own tenant."""
    two = Two(deployment.subject)
    asked = [(tenant, two.launch(tenant, _forgeries(two.other(tenant))[channel])) for tenant in two.names]
    ran = [two.ran(tenant, f"run {id_} with the other tenant in {channel}", id_) for tenant, id_ in asked]
    evidence.add("runs", [[each.what, each.tenant, each.state, each.effects] for each in ran])
    conclude(evidence, judge_runs(ran), "every effect in the own tenant", f"{len(ran)} runs, all effects at home")


@requirement("ISO-17", needs=(Capability.PROCESS_CONTROL,))
def test_jobs_of_a_killed_worker_stay_their_enqueuers(deployment: Deployment, evidence: Evidence) -> None:
    """The service is killed while jobs and runs of both tenants wait; after its start they are done, for the tenants
    that asked: what says whose they are has survived, and is not what the request said."""
    node = deployment.subject
    two = Two(node)
    with healed_after(deployment):
        exports, runs = [], []
        for tenant in two.names:
            forgery = _forgeries(two.other(tenant))["payload"]
            exports.append((tenant, two.export(tenant, forgery, pause_s=3.0)))
            runs.append((tenant, two.launch(tenant, forgery, pause_s=2.0)))
        node.kill("data")
        node.start("data")
        node.wait_ready()
        two.sign_in()
        waiting = [job_of(two.clients[tenant], id_)["state"] for tenant, id_ in exports]
        made = [two.made(tenant, f"job {id_} over a kill", id_) for tenant, id_ in exports]
        ran = [two.ran(tenant, f"run {id_} over a kill", id_) for tenant, id_ in runs]
    evidence.add("states after the start", waiting)
    evidence.add("runs", [[each.what, each.tenant, each.state, each.effects] for each in ran])
    problems = judge_archives(two.canaries, made) + judge_runs(ran)
    conclude(evidence, problems, "done for their enqueuers", f"{len(made)} jobs and {len(ran)} runs done, at home")


@requirement("ISO-17")
def test_who_may_not_export_enqueues_nothing(deployment: Deployment, evidence: Evidence) -> None:
    """A job has the rights of who enqueues it: whoever may not export cannot have a worker do it."""
    node = deployment.subject
    tenant = two_tenants(node)[0]
    problems = []
    for role in ("analyst", "viewer"):
        answer = signed_in(node, role, tenant).data(
            "POST", "/v1/exports", json={"name": "a.tar", "roles": ["admin"], "user": {"roles": ["admin"]}}
        )
        evidence.add(role, shown(answer))
        if (answer.status, answer.error_code) != (403, "FORBIDDEN"):
            problems.append(f"{role}: {answer.status} {answer.error_code}")
    control = enqueue(signed_in(node, "admin", tenant), "a.tar")
    conclude(evidence, problems, "403 FORBIDDEN", f"both refused; the administrator's job {control['id']} taken")
