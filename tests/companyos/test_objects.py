"""Artefacts, the jobs that make them, and tenants that come and go: a whole hosted node as processes."""

from __future__ import annotations

import json
import signal
import tarfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodes import PASSWORD, Process, call, graphql, login, node_config, postgres_dsns

from environments.companyos import apps, export_jobs, limits, objects, tenants
from environments.companyos.errors import ApiError
from environments.companyos.install import install
from environments.companyos.storage import exports, tenancies
from environments.companyos.storage.sql import SqlTx
from environments.companyos.vendor import VendorAuthority, enrol

CREATE = 'mutation($p: JSON) { createEntity(input: {kind: "Person", props: $p}) { id } }'


class Hosted:
    def __init__(self, home: Path) -> None:
        self.admin, app = postgres_dsns()
        self.config = node_config(home, "A", "saas", postgres_admin_dsn=self.admin, postgres_app_dsn=app)
        install(self.config)
        enrol(VendorAuthority(), self.config.data_dir, self.config.node_id)
        self.data, self.control = Process(self.config, "data"), Process(self.config, "control")
        self.data.wait_ready()
        self.control.wait_ready()

    def token(self, tenant: str = "acme", who: str = "adam") -> str:
        return login(self.control.base, tenant, who)

    def export(self, token: str, **payload: Any) -> dict[str, Any]:
        status, job = call("POST", f"{self.data.base}/v1/exports", {"name": "a.tar", **payload}, token)
        assert status == 202, job
        until(lambda: self.job(token, job["id"])["state"] == "SUCCEEDED")
        return self.job(token, job["id"])

    def job(self, token: str, id_: str) -> dict[str, Any]:
        return cast(dict[str, Any], call("GET", f"{self.data.base}/v1/exports/{id_}", token=token)[1])

    def sign(self, token: str, key: str) -> tuple[int, Any]:
        return call("POST", f"{self.data.base}/v1/objects/sign", {"key": key}, token)

    def restart_data(self) -> None:
        self.data.process.send_signal(signal.SIGKILL)
        self.data.process.wait()
        self.data = Process(self.config, "data")
        self.data.wait_ready()

    def operate(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return call(method, f"{self.control.base}{path}", body, self.token("_system", "olga"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    hosted = Hosted(tmp_path_factory.mktemp("hosted"))
    yield hosted
    hosted.data.kill()
    hosted.control.kill()


def until(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    ends = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < ends, "the condition did not come true"
        time.sleep(0.05)


def test_an_export_is_made_signed_and_fetched(node: Hosted) -> None:
    token = node.token()
    mark = uuid.uuid4().hex
    graphql(node.data.base, token, CREATE, p={"mark": mark})
    job = node.export(token)
    status, signed = node.sign(token, job["key"])
    assert status == 200 and signed["expires_s"] <= 60
    status, raw = call("GET", node.data.base + signed["url"])
    assert status == 200 and len(raw) == job["bytes"]
    with tarfile.open(fileobj=BytesIO(raw)) as found:
        assert mark.encode() in cast(Any, found.extractfile("entity.jsonl")).read()


def test_addresses_are_of_one_object_for_one_method(node: Hosted) -> None:
    token = node.token()
    job, other = node.export(token), node.export(token)
    url = node.sign(token, job["key"])[1]["url"]
    absent = call("GET", node.data.base + url.replace(job["id"], str(uuid.uuid4())))
    assert absent[0] == 404
    for changed in (
        url.replace(job["key"], other["key"]),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("expires=1", "expires=2"),
        url.partition("?")[0],
        url.replace(job["key"], job["key"] + "/"),
        url.replace("a.tar", "%61.tar"),
        url.replace("a.tar", "a.tar%0a"),
    ):
        assert call("GET", node.data.base + changed) == absent, changed
    assert call("HEAD", node.data.base + url)[0] == 404
    assert call("DELETE", node.data.base + url)[0] == call("PUT", node.data.base + url, {})[0] == 405
    assert call("GET", node.data.base + url)[0] == 200


def test_keys_of_others_are_absent(node: Hosted) -> None:
    foreign = node.export(node.token())["key"]
    install_admin(node, "globex")
    token = node.token("globex", "adam")
    assert node.sign(token, foreign) == node.sign(token, f"{uuid.uuid4()}/a.tar")
    assert node.sign(token, foreign)[0] == 404
    assert node.sign(token, "../" + foreign) == node.sign(token, foreign)
    assert call("POST", f"{node.data.base}/v1/objects/sign", {"key": 1}, token)[0] == 400
    assert call("GET", f"{node.data.base}/v1/exports/{foreign[:36]}", token=token)[0] == 404


def install_admin(node: Hosted, tenant: str) -> None:
    """An administrator of a tenant whose seeds have none."""
    with psycopg.connect(node.admin, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO users SELECT %s, username, password_hash, roles, disabled FROM users"
            " WHERE tenant_id = 'acme' AND username = 'adam' ON CONFLICT DO NOTHING",
            (tenant,),
        )


def test_names_of_artefacts_are_plain(node: Hosted) -> None:
    token = node.token()
    for name in ("", ".", "..", "a/b", "a\\b", "a\0", "x" * 101, "．．", "a\n", None, 1, ["a"]):
        assert call("POST", f"{node.data.base}/v1/exports", {"name": name}, token)[0] == 400, name
    assert call("POST", f"{node.data.base}/v1/exports", {"name": "a"}, node.token(who="ann"))[0] == 403


def test_a_job_survives_a_kill_and_is_its_enqueuers(node: Hosted) -> None:
    token = node.token()
    forged = {"tenant": "globex", "tenantId": "globex", "pause_s": 1.5}
    status, job = call("POST", f"{node.data.base}/v1/exports", {"name": "globex", **forged}, token)
    assert status == 202
    node.restart_data()
    until(lambda: node.job(token, job["id"])["state"] == "SUCCEEDED")
    raw = call("GET", node.data.base + node.sign(token, job["key"])[1]["url"])[1]
    with tarfile.open(fileobj=BytesIO(raw)) as found:
        assert b'"globex"' not in cast(Any, found.extractfile("entity.jsonl")).read()


def test_a_removed_tenant_leaves_nothing_and_its_name_is_free(node: Hosted) -> None:
    made = {"tenant": "passing", "admin": {"username": "adam", "password": PASSWORD}}
    assert node.operate("POST", "/v1/tenants", made)[0] == 201
    assert node.operate("POST", "/v1/tenants", made)[0] == 409
    token = node.token("passing")
    mark = uuid.uuid4().hex
    graphql(node.data.base, token, CREATE, p={"mark": mark})
    graphql(node.data.base, token, 'mutation { launchRun(runbook: "enrich", input: {pause_s: 5}) { id } }')
    job = node.export(token)
    url = node.sign(token, job["key"])[1]["url"]
    assert rows_of(node, "passing")
    assert node.operate("DELETE", "/v1/tenants/passing")[0] == 202
    assert call("POST", f"{node.data.base}/graphql", {"query": "{ me { sub } }"}, token)[0] == 401
    node.restart_data()
    until(lambda: node.operate("GET", "/v1/tenants/passing")[0] == 404)
    assert rows_of(node, "passing") == []
    assert not list((node.config.data_dir / "objects").glob(f"{url.split('/')[3]}/*"))
    assert node.operate("POST", "/v1/tenants", made)[0] == 201
    assert call("GET", node.data.base + url)[0] == 404
    assert call("POST", f"{node.data.base}/graphql", {"query": "{ me { sub } }"}, token)[0] == 401
    fresh = node.token("passing")
    assert graphql(node.data.base, fresh, "{ entities { id } runs { id } }")["data"] == {"entities": [], "runs": []}
    assert call("GET", f"{node.data.base}/v1/events", token=fresh)[1]["events"] == []


def rows_of(node: Hosted, tenant: str) -> list[str]:
    """Tables but the audit log that hold the tenant's name."""
    found = []
    with psycopg.connect(node.admin) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            if table == "audit":
                continue
            sql = f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %s'  # names are the catalogue's
            if connection.execute(cast(Any, sql), (f"%{tenant}%",)).fetchone() != (0,):
                found.append(table)
    return found


def test_what_names_a_tenant_is_known_to_the_removal(node: Hosted) -> None:
    with psycopg.connect(node.admin) as connection:
        sql = (
            "SELECT DISTINCT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND column_name LIKE '%tenant%' AND column_name <> 'tenant_id'"
        )
        assert dict(connection.execute(sql).fetchall()) == {**tenancies.OWN_TABLES, "audit": "tenant"}


def test_seeds_of_a_removed_tenant_do_not_come_back(node: Hosted) -> None:
    seeded = {"tenant": "seeded", "username": "adam", "password": PASSWORD, "roles": ["admin"]}
    config = node.config.model_copy(update={"seed_users": [*node.config.seed_users, SimpleNamespace(**seeded)]})
    install(config)
    assert node.token("seeded")
    assert node.operate("DELETE", "/v1/tenants/seeded")[0] == 202
    until(lambda: node.operate("GET", "/v1/tenants/seeded")[0] == 404)
    install(config)
    assert node.operate("GET", "/v1/tenants/seeded")[0] == 404
    assert node.operate("DELETE", "/v1/tenants/_system")[0] == node.operate("DELETE", "/v1/tenants/nobody")[0] == 404
    assert call("DELETE", f"{node.control.base}/v1/tenants/acme", token=node.token())[0] == 403


def test_a_support_bundle_is_of_its_tenant_alone(node: Hosted) -> None:
    graphql(node.data.base, node.token("globex", "gus"), CREATE, p={})
    status, bundle = call("POST", f"{node.data.base}/v1/support-bundle", {}, node.token())
    assert status == 200 and bundle["audit"] and bundle["events"] and bundle["counts"]["user"] == 3
    assert "globex" not in json.dumps(bundle)
    assert call("POST", f"{node.data.base}/v1/support-bundle", {}, node.token(who="ann"))[0] == 403


def test_spans_are_of_sampled_requests_and_hold_no_value(node: Hosted) -> None:
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "secret=1"}
    for sent in (headers, {"traceparent": f"00-{'c' * 32}-{'b' * 16}-00"}, {"traceparent": "nonsense"}):
        request = urllib.request.Request(f"{node.data.base}/v1/exports/secret", headers=sent)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=10)
    text = (node.config.data_dir / "traces" / "data.jsonl").read_text()
    assert "secret" not in text and "c" * 32 not in text
    span = json.loads(text.splitlines()[-1])
    assert (span["trace"], span["route"], span["status"]) == ("a" * 32, "/v1/exports/{id}", 401)


PIECES = st.sampled_from(
    ["..", "....//", "/", "\\", "%2e", "%252e", "\0", "．", "／", "a", "A", ".", "-", "\n", "~", ":"]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=8).map("".join))
def test_no_key_leads_out_of_its_area(key: str) -> None:
    store = objects.Objects(cast(Any, SimpleNamespace(config=SimpleNamespace(data_dir=Path("/data")))))
    area = str(uuid.UUID(int=1))
    path = store.path(area, key.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
    assert path.parent == Path("/data/objects") / area and path == path.resolve()
    assert len(path.name) == 64
    with pytest.raises(ApiError):  # no such text is an address, whatever it is signed by
        objects.address(f"/v1/objects/{area}/{key}")


def test_artefacts_end_with_their_time(node: Hosted) -> None:
    token = node.token()
    job = node.export(token)
    clock = node.config.data_dir / "clock"
    services = apps.build_services(node.config.model_copy(update={"clock_file": clock}), "data")
    try:
        area = services.store.tenancy("acme") or ""
        path = objects.of(services).path(area, job["key"])
        export_jobs.sweep(services)
        assert path.exists()
        clock.write_text(str(time.time() + limits.OBJECT_RETENTION_S + 1))
        export_jobs.sweep(services)
        assert not path.exists() and node.sign(token, job["key"])[0] == 404
    finally:
        services.store.close()


def test_tenants_wait_by_turns(node: Hosted) -> None:
    services = apps.build_services(node.config, "data")
    node.data.process.send_signal(signal.SIGSTOP)  # its worker would take them
    places = [("aaa", str(uuid.UUID(int=n))) for n in range(3)] + [("zzz", str(uuid.UUID(int=9)))]
    try:
        with services.store.transaction("_system") as tx:
            for tenant, id_ in places:
                sql = "INSERT INTO export_queue (job_id, tenant) VALUES (:id, :whose)"
                cast(SqlTx, tx).change(sql, id=id_, whose=tenant)
        assert exports.queued(services.store, 2) == [places[0], places[3]]
    finally:
        with services.store.transaction("_system") as tx:
            cast(SqlTx, tx).change("DELETE FROM export_queue WHERE tenant IN ('aaa', 'zzz')")
        node.data.process.send_signal(signal.SIGCONT)
        services.store.close()


def test_a_removal_is_told_to_the_graph_and_takes_no_key_of_a_longer_name(node: Hosted) -> None:
    services = apps.build_services(node.config, "data")
    told: list[tuple[str, Any]] = []
    services.store.mirror = lambda tenant, changes: told.extend(changes)
    keys = [f"{prefix}{name}.edge" for prefix in tenancies.META_KEYS for name in ("short", "short.too", "shorter")]
    try:
        for name in ("short", "short.too", "shorter"):
            services.store.ensure_tenant(name)
        for key in keys:
            services.store.meta_set(key, "{}")
        with services.store.transaction("short") as tx:
            doc = {"kind": "x", "labels": [], "props": {}, "createdBy": "ann", "version": 1}
            at = services.clock.stamp()
            tx.put_entity({**doc, "id": str(uuid.UUID(int=5)), "createdAt": at, "updatedAt": at}, new=True)
        told.clear()
        assert tenants.remove(services, "short", "0" * 32) >= 1
        assert told == [("entity.delete", {"id": str(uuid.UUID(int=5))})]
        left = [key for key in keys if services.store.meta_get(key) is not None]
        assert left == [key for key in keys if ".short.edge" not in f".{key}"]
    finally:
        services.store.close()
