"""Neo4j's classes as its JVM has them once they are loaded and verified: dumped once per image on this host.

With them (class data sharing) it starts in two thirds of the time. The JVM itself sees to it that the dump fits the
classes of the image, and goes without where it does not."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from environments.contract import SuiteError
from environments.drivers.containers import labels
from environments.drivers.containers.engine import Containers, Spec, asking, said
from environments.drivers.containers.runner import own
from environments.drivers.local.postgres import cache_dir, locked

if TYPE_CHECKING:
    from environments.images.manifest import Built

FOLDER, FILE = "/usr/share/neo4j/classes", "neo4j.jsa"
OPTIONS = "JDK_JAVA_OPTIONS"  # the variable by which a JVM is given more options
USE = {OPTIONS: f"-XX:SharedArchiveFile={FOLDER}/{FILE}"}
MAKE = {OPTIONS: f"-XX:ArchiveClassesAtExit={FOLDER}/{FILE}"}
STARTED, LIMIT_S = "Started.", 90.0
# What the product asks of a database that is new, so that the classes by which it is planned are there too.
QUESTIONS = """
from environments.companyos.storage import bolt
graph = bolt.Bolt("bolt://127.0.0.1:7687", "for-the-dump-alone")
graph.claim()
graph.schema()
for depth in range(9):
    graph.ask(bolt.WALK % depth, 20.0, tenant="", start="", limit=1)
graph.transact(lambda tx: bolt.delete(tx, "", ["x"], ["y"]) or bolt.put(tx, "", [], [], "x"), 20.0)
for statement in (bolt.UNSEEN_RELATIONSHIPS, bolt.UNSEEN_ENTITIES, bolt.STRANGERS):
    graph.ask(statement, 20.0, tenant="", tenants=[], seen="x", batch=1)
graph.ask(bolt.BUILT, 20.0, seen="x")
graph.ask(bolt.OURS, 20.0, seen="x")
graph.close()
"""


def kept(containers: Containers, image: Built, product: Built) -> Path:
    """The folder to mount at FOLDER. product: the image that asks the questions. SuiteError where Neo4j does not
    start by itself."""
    folder = cache_dir() / f"classes-{image.image_id.removeprefix('sha256:')[:12]}"
    with locked("classes"):
        if not (folder / FILE).exists():
            _make(containers, image, product, folder)
    return folder


def _make(containers: Containers, image: Built, product: Built, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache_dir()) as name:
        made, home = Path(name, "classes"), Path(name, "home")
        for each in (made, home):
            each.mkdir(mode=0o700)
            own(each, image)
        mounts = {made: (FOLDER, "rw"), home: ("/var/lib/neo4j", "rw")}
        role = "neo4j-classes"
        asks = Spec(product, f"{role}-asked", {labels.SERVICE: role}, "", ["-c", QUESTIONS], ["/usr/bin/python3"])
        _run(containers, Spec(image, role, {labels.SERVICE: role}, "none", env=MAKE, mounts=mounts), asks)
        made.chmod(0o755)
        (made / FILE).chmod(0o644)
        made.rename(folder)


def _run(containers: Containers, spec: Spec, asks: Spec) -> None:
    """Until it has started and answered, and to its end, at which it dumps."""
    started = containers.start(spec)
    try:
        deadline = time.monotonic() + LIMIT_S
        while STARTED not in said(started.container):
            if not started.lives() or time.monotonic() > deadline:
                raise SuiteError(f"Neo4j does not start by itself. It said: {said(started.container)[:500]}")
            time.sleep(0.1)  # the poll interval of a named condition with a deadline
        code, told = containers.run(replace(asks, network=f"container:{started.id}"), LIMIT_S)
        if code != 0:
            raise SuiteError(f"Neo4j did not answer by itself: {told[-500:]}")
        with asking("ending Neo4j, which dumps its classes then"):
            started.container.stop(timeout=round(LIMIT_S))
    finally:
        containers.remove(started)
