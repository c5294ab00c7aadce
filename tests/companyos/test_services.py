"""Whole services as processes: a hosted node on PostgreSQL, and an edge node."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import psutil
import psycopg
import pytest
from nodes import Process, call, code, graphql, login, node_config, postgres_dsns

from environments.companyos.install import install
from environments.contract.http import SocketSession
from suites.functional.frontend import judge_walk, walk

CREATE = 'mutation($p: JSON) { createEntity(input: {kind: "Person", labels: ["x"], props: $p}) { id version } }'
LAUNCH = 'mutation { launchRun(runbook: "enrich", input: {pause_s: %s, tenant: "globex"}) { id } }'
EFFECTS = '{ entities(kind: "RunEffect") { id props } }'


class Site:
    def __init__(self, data: Process, identity: Process) -> None:
        self.data, self.identity = data, identity

    def ask(self, who: str, query: str, tenant: str = "acme", **variables: object) -> dict[str, object]:
        return graphql(self.data.base, login(self.identity.base, tenant, who), query, **variables)


@pytest.fixture(scope="module", params=["hosted", "edge"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp(request.param)
    if request.param == "edge":
        config = node_config(home, "D", "edge")
        roles = ["edge"]
    else:
        admin, app = postgres_dsns()
        config = node_config(home, "A", "saas", postgres_admin_dsn=admin, postgres_app_dsn=app)
        roles = ["data", "control"]
    install(config)
    started = [Process(config, role) for role in roles]
    for process in started:
        process.wait_ready()
    yield Site(started[0], started[-1])
    for process in started:
        process.kill()


def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    ends = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < ends, "the condition did not come true"
        time.sleep(0.05)


def test_own_objects_are_served_and_foreign_ones_do_not_exist(site: Site) -> None:
    made = site.ask("ann", CREATE, p={"note": "Straße", "n": 1.0})
    id_ = made["data"]["createEntity"]["id"]  # type: ignore[index]
    read = 'query($i: ID!) { entity(id: $i) { id props } searchEntities(text: "STRASSE") { id } }'
    assert site.ask("ann", read, i=id_)["data"] == {
        "entity": {"id": id_, "props": {"note": "Straße", "n": 1.0}},
        "searchEntities": [{"id": id_}],
    }
    assert site.ask("gus", read, "globex", i=id_)["data"] == {"entity": None, "searchEntities": []}
    delete = "mutation($i: ID!) { deleteEntity(id: $i) }"
    foreign = site.ask("gus", delete, "globex", i=id_)
    assert code(foreign) == "NOT_FOUND"
    assert foreign == site.ask("gus", delete, "globex", i="00000000-0000-4000-8000-000000000000")
    assert code(site.ask("vic", delete, i=id_)) == "FORBIDDEN"


def test_refusals_are_named(site: Site) -> None:
    base, token = site.data.base, login(site.identity.base, "acme", "ann")
    assert call("POST", f"{base}/graphql", {"query": "{ me { sub } }"})[0] == 401
    assert call("POST", f"{base}/graphql", b"{", token)[0] == 400
    assert code(graphql(base, token, "{ nope }")) == "INVALID"
    assert code(graphql(base, token, "{ entities(limit: -1) { id } }")) == "INVALID"
    assert call("GET", f"{base}/nope")[1]["error"]["code"] == "NOT_FOUND"
    assert call("POST", f"{base}/v1/chat/completions", {}, token)[1]["error"]["code"] == "CAPABILITY_ABSENT"
    assert call("GET", f"{base}/v1/events?after=x", token=token)[1]["error"]["code"] == "INVALID"
    for query in (CREATE.replace("$p: JSON", "$p: String"), CREATE):
        assert code(graphql(base, token, query, p="a\0b")) == "INVALID"
    edge = site.data.role == "edge"
    assert code(graphql(base, token, "{ investigations { id } }")) == ("UNSUPPORTED_IN_MODE" if edge else None)
    usage = call("GET", f"{site.identity.base}/v1/billing/usage", token=login(site.identity.base, "acme", "adam"))
    assert usage[0] == (404 if edge else 200)


def test_a_run_survives_kills_with_each_effect_once(site: Site) -> None:
    before = len(site.ask("ann", EFFECTS)["data"]["entities"])  # type: ignore[index]
    started = site.ask("ann", LAUNCH % "0.3")
    id_ = started["data"]["launchRun"]["id"]  # type: ignore[index]
    state = "query($i: ID!) { run(id: $i) { state steps { state effect } } }"

    def done() -> list[object]:
        steps = site.ask("ann", state, i=id_)["data"]["run"]["steps"]  # type: ignore[index]
        return [step["effect"] for step in steps if step["state"] == "SUCCEEDED"]

    for count in (1, 2):
        until(lambda count=count: len(done()) >= count)  # type: ignore[misc]
        site.data.process.send_signal(signal.SIGKILL)
        site.data.process.wait()
        again = Process(site.data.config, site.data.role)
        again.wait_ready()
        if site.identity is site.data:
            site.identity = again
        site.data.__dict__.update(again.__dict__)
    until(lambda: site.ask("ann", state, i=id_)["data"]["run"]["state"] == "SUCCEEDED")  # type: ignore[index]
    effects = site.ask("ann", EFFECTS)["data"]["entities"][before:]  # type: ignore[index]
    assert [e["props"]["step"] for e in effects] == ["collect", "score", "publish"]
    assert [e["id"] for e in effects] == done()
    assert site.ask("gus", "{ runs { id } }", "globex")["data"] == {"runs": []}


def test_discovery_health_and_metrics(site: Site) -> None:
    status, said = call("GET", f"{site.data.base}/.well-known/companyos")
    edge = site.data.role == "edge"
    assert status == 200 and said["components"]["sqlite"]["present"] is edge
    assert said["components"]["billing"]["present"] is not edge and "inference" not in said["capabilities"]
    assert call("GET", f"{site.data.base}/healthz") == (200, {"status": "alive"})
    assert b"companyos_http_requests" in call("GET", f"{site.data.base}/metrics")[1]


def test_logs_hold_no_secret(site: Site) -> None:
    token = login(site.identity.base, "acme", "ann")
    graphql(site.data.base, token, "{ me { sub } }")
    text = site.data.log.read_text() + site.identity.log.read_text()
    assert token not in text and "correct horse" not in text


def test_memory_of_the_edge_is_small(site: Site) -> None:
    limit = 110e6 if site.data.role == "edge" else 150e6
    assert psutil.Process(site.data.process.pid).memory_info().rss < limit


def test_bare_connection_of_the_application_role_sees_nothing(site: Site) -> None:
    if site.data.role == "edge":
        pytest.skip("no PostgreSQL on the edge")
    with psycopg.connect(site.data.config.postgres_app_dsn or "") as connection:
        for table in ("entities", "users", "audit", "node_meta", "run_queue", "events"):
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # names are above
            assert row == (0,), table


def test_page_loads_nothing_from_elsewhere(site: Site) -> None:
    status, page = call("GET", f"{site.data.base}/")
    assert status == 200 and b"<title>CompanyOS</title>" in page
    own = frozenset((site.data.base, site.identity.base))
    assert judge_walk(walk(SocketSession(), f"{site.data.base}/", own), own) == []
    assert str(site.identity.config.ports[site.identity.role]).encode() in page
