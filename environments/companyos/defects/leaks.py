"""Known-bad behaviours of what a node writes down and gives out beside its answers."""

from __future__ import annotations

from typing import Any

import psycopg

from environments.companyos import export_jobs, graphql_api, log, support, traces
from environments.companyos.defects import defect
from environments.companyos.services import Services
from environments.companyos.storage import postgres


@defect(kills=("ISO-16",), modes=("A",), roles=("data",))
def sql_parameters_in_the_log(services: Services) -> None:
    """A statement that fails is logged with its parameters, as SQLAlchemy does unless `hide_parameters` is set: the
    stack trace of a duplicate holds the record."""
    genuine = postgres.Postgres.run

    def run(self: postgres.Postgres, sql: str, params: dict[str, Any]) -> Any:
        try:
            return genuine(self, sql, params)
        except psycopg.Error as error:
            log.warning("statement failed", error=str(error), sql=sql, parameters=params)
            raise

    postgres.Postgres.run = run  # type: ignore[method-assign]


@defect(kills=("ISO-16", "ISO-19"), modes=("A",), roles=("data",))
def support_bundle_of_the_whole_node(services: Services) -> None:
    """The bundle for the vendor's support holds the latest entries of the node's audit log, of whomever they are. A
    tenant that has the name of a removed one finds that one's entries in it too."""

    def trail(services: Services, tenant: str) -> list[dict[str, Any]]:
        entries = services.store.audit_after(0, 1 << 20)
        return [{name: each[name] for name in support.AUDIT} for each in entries[-1000:]]

    support.trail = trail


@defect(kills=("ISO-16",), modes=("A",))
def spans_keep_the_address(services: Services) -> None:
    """A span has the whole address as its attribute, as `http.url` and `url.full` of the instrumentation libraries do:
    what was searched for is in the trace."""
    genuine = traces.attributes

    def attributes(scope: Any) -> dict[str, Any]:
        return {**genuine(scope), "url.full": f"{scope['path']}?{scope['query_string'].decode('latin-1')}"}

    traces.attributes = attributes


@defect(kills=("ISO-16",), modes=("A",))
def spans_keep_the_context(services: Services) -> None:
    """What the caller sent as baggage and trace state becomes attributes of the span, to be found by it later."""
    genuine = traces.attributes

    def attributes(scope: Any) -> dict[str, Any]:
        kept = (b"baggage", b"tracestate", b"x-request-id")
        return {**genuine(scope), **{n.decode(): v.decode("latin-1") for n, v in scope["headers"] if n in kept}}

    traces.attributes = attributes


@defect(kills=("ISO-16", "ISO-17"), modes=("A",), roles=("data",))
def archive_holds_the_one_before(services: Services) -> None:
    """The worker writes archives over one temporary file and sends all of the file: a shorter one ends with what is
    left of the one before. Of a job that is to be its enqueuer's alone (ISO-17) that is the same finding."""
    genuine = export_jobs.archive
    file = bytearray()

    def archive(services: Services, tenant: str, job: Any) -> bytes:
        made = genuine(services, tenant, job)
        before, file[:] = bytes(file), made
        return made + before

    export_jobs.archive = archive


@defect(kills=("ISO-16",), modes=("A",), roles=("control",))
def metrics_by_login_name(services: Services) -> None:
    """Logins are counted by name, because one customer asked who it was; metrics are for everybody to read."""
    genuine = services.identity.login

    def login(tenant: str, username: str, password: str) -> str:
        services.metrics.count("companyos_logins", f"{tenant}/{username}")
        return genuine(tenant, username, password)

    services.identity.login = login  # type: ignore[method-assign]


@defect(kills=("ISO-16",), modes=("A",), roles=("data",))
def answers_quote_the_database(services: Services) -> None:
    """The answer to an error ends with what the database said of it: tables, constraints, statements."""
    genuine = graphql_api.formatted

    def formatted(error: Any) -> dict[str, Any]:
        said = genuine(error)
        cause = getattr(error.original_error, "__cause__", None)
        return said if cause is None else {**said, "message": f"{said['message']}: {cause}"}

    graphql_api.formatted = formatted
