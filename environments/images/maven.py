"""Jars of Maven Central. Which ones a program needs is Maven's own answer, asked for when the lock is written."""

from __future__ import annotations

import fnmatch
import shutil
import subprocess
from pathlib import Path

from environments.images import store
from environments.images.errors import LockError
from environments.images.lockfile import Input

RESOLVE_S = 900.0
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>companyos</groupId><artifactId>resolved</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{dependencies}</dependencies></project>
"""
ONE = "<dependency><groupId>{0}</groupId><artifactId>{1}</artifactId><version>{2}</version></dependency>"


def resolve(coordinates: list[str], skip: list[str]) -> list[Input]:
    """The jars that these need at run time, but those that `skip` matches. Raises LockError with what Maven said."""
    tool = shutil.which("mvn")
    if not tool:
        raise LockError("there is no mvn on PATH; only writing the lock needs it. Install Maven")
    with store.scratch() as scratch:
        dependencies = "".join(ONE.format(*each.split(":")) for each in coordinates)
        (scratch / "pom.xml").write_text(POM.format(dependencies=dependencies), encoding="utf-8")
        argv = [tool, "--batch-mode", "--quiet", f"-Dmaven.repo.local={store.folder('maven')}"]
        argv += ["dependency:copy-dependencies", "-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true"]
        argv.append(f"-DoutputDirectory={scratch / 'jars'}")
        done = subprocess.run(argv, cwd=scratch, capture_output=True, text=True, timeout=RESOLVE_S, check=False)
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
            raise LockError(f"Maven could not resolve {coordinates}: {' '.join(lines[:2])[:400]}. Check its settings")
        found = [_input(path, scratch / "jars") for path in sorted((scratch / "jars").rglob("*.jar"))]
    return [item for item in found if not any(fnmatch.fnmatchcase(item.name, pattern) for pattern in skip)]


def _input(path: Path, root: Path) -> Input:
    where = path.relative_to(root)
    group = ".".join(where.parts[:-3])
    return Input(
        kind="jar",
        name=f"{group}:{where.parts[-3]}",
        version=where.parts[-2],
        file=path.name,
        where=str(where),
        sha256=store.sha256_of(path),
        size_bytes=path.stat().st_size,
    )
