"""PostgreSQL's files for containers: a cluster initialised by the image's own programs, copied where that may be."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import psycopg

from environments.contract import SuiteError
from environments.drivers.containers import labels
from environments.drivers.containers.engine import Containers, Spec, said
from environments.drivers.containers.runner import CLUSTER, SOCKETS, own
from environments.drivers.local import postgres

LIMIT_S = 60.0


def initialise(containers: Containers, image: str, data: Path, token: str) -> None:
    """A cluster of its own, with its own system identifier, and the one empty database. token: for names."""
    data.mkdir(mode=0o700)
    own(data)
    spec = Spec(
        image,
        f"{token}-initdb",
        {labels.SERVICE: "initdb"},
        network="none",
        entrypoint=["initdb"],
        command=[
            *("-D", CLUSTER, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"),
            *("--no-sync", "--no-instructions"),
        ],
        mounts={data: (CLUSTER, "rw")},
    )
    code, told = containers.run(spec, LIMIT_S)
    if code != 0:
        raise SuiteError(f"initdb in {image[:19]} failed (exit {code}): {told.strip()[-400:]}")
    _one_database(containers, image, data, token)
    (data / "pg_hba.conf").write_text(postgres.HBA, encoding="utf-8")


def _one_database(containers: Containers, image: str, data: Path, token: str) -> None:
    """By a server that nobody else reaches: it listens on a socket alone."""
    sockets = data.with_name(f"{data.name}.sockets")
    sockets.mkdir(mode=0o700)
    own(sockets)
    started = containers.start(
        Spec(
            image,
            f"{token}-first",
            {labels.SERVICE: "initdb"},
            network="none",
            entrypoint=["postgres"],
            command=[
                *postgres.arguments(CLUSTER, SOCKETS, postgres.PORT),
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
            ],
            mounts={data: (CLUSTER, "rw"), sockets: (SOCKETS, "rw")},
        )
    )
    try:
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                _sql(sockets, "template1", "SELECT 1")
                break
            except psycopg.OperationalError as error:
                if not started.lives() or time.monotonic() > deadline:
                    raise SuiteError(
                        f"a new cluster does not start ({error}): {said(started.container)[-400:]}"
                    ) from None
                time.sleep(0.02)  # the poll interval of a named condition with a deadline
        _sql(sockets, "template1", *postgres.ONE_DATABASE.split(";"))
        _sql(sockets, postgres.DATABASE, *postgres.NO_OTHERS.split(";"))
        started.container.kill(2)  # a fast shutdown: all of it is in the files
        started.container.wait(timeout=LIMIT_S)
    finally:
        containers.remove(started)
        shutil.rmtree(sockets, ignore_errors=True)


def _sql(sockets: Path, database: str, *statements: str) -> None:
    dsn = postgres.admin_dsn(sockets, postgres.PORT)
    with (
        postgres.within_reach(sockets) as host,
        psycopg.connect(dsn, host=host, dbname=database, autocommit=True) as at,
    ):
        for statement in filter(str.strip, statements):
            at.execute(statement.encode())


def copy_template(containers: Containers, image: str, data: Path, token: str) -> None:
    """A cluster copied from one that was initialised once on this host by this image, system identifier included. It is
    made beside `data`, where `conform clean` finds what a killed run has left. token: for names."""
    template = postgres.cache_dir() / f"cluster-container-{image.removeprefix('sha256:')[:16]}"
    with postgres.locked("cluster-container"):
        if not template.exists():
            part = data.parent.parent / "template"  # not on a disk of the node's own
            initialise(containers, image, part, f"{token}-template")
            part.rename(template)
    shutil.copytree(template, data)
    own(data)
