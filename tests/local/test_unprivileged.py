"""An ordinary user, no capability, no namespaces: what needs cuts of links alone is verified, the rest says why not.

Twice: in a user namespace that allows no other (anywhere), and in a Docker container with every capability dropped
(where an engine runs; the container has this host's own files, read-only, and no network)."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import profiles

ROOT = Path(__file__).resolve().parents[2]
ONLY = ("SYN-01", "TET-02", "META-03", "AIR-01")
PROFILES = ("edge-dil", "onprem-tethered")
RUN = [sys.executable, "-m", "conform.cli", "run", "--json"]
RUN += [word for name in PROFILES for word in ("--profile", name)]
RUN += [word for name in ONLY for word in ("--only", name)]
LIMIT_S = 300.0
WHO = "import os; print(os.geteuid(), open('/proc/self/status').read())"
SCRATCH = "/scratch"  # not /tmp: the repository may lie there
USER, IMAGE_USER = 1000, "conform:x:1000:1000::/scratch:/bin/sh\n"

pytestmark = pytest.mark.timeout(2 * LIMIT_S)


def ran(argv: list[str], **options: Any) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        argv, capture_output=True, text=True, timeout=LIMIT_S, check=False, **options
    )
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-3000:]}\n{done.stdout[-3000:]}"
    return done.stdout


def assert_powerless(said: str) -> None:
    uid, _, status = said.partition(" ")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert uid != "0"
    assert {name: int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")} == dict.fromkeys(
        ("CapPrm", "CapEff", "CapAmb"), 0
    )
    assert fields["NoNewPrivs"].strip() == "1"


def assert_cuts_verified_and_the_rest_named(document: Mapping[str, Any]) -> None:
    cells = {(cell["requirement"], cell["profile"]): cell for cell in document["cells"]}
    verdicts = {key: cell["verdict"] for key, cell in cells.items() if key[0] in ONLY}
    assert verdicts["SYN-01", "edge-dil"] == "pass"
    assert verdicts["TET-02", "edge-dil"] == verdicts["TET-02", "onprem-tethered"] == "pass"
    lossy = [name for name in PROFILES if any(state.loss for state in states(name))]
    assert "edge-dil" in lossy
    for name in PROFILES:
        cell = cells["META-03", name]
        assert cell["verdict"] == ("untestable" if name in lossy else "pass"), cell["reason"]
        assert name not in lossy or (cell["needs"] == "packet-links" and "loss=" in cell["reason"])
    ledger = cells["AIR-01", "edge-dil"]
    assert (ledger["verdict"], ledger["needs"]) == ("untestable", "egress-ledger")
    assert document["reach"]["left"]["need packet-links"] == 1


def states(profile: str) -> list[Any]:
    """Of the profile's links, both directions."""
    return [state for link in profiles.load(profile).links for state in (link.forward, link.back) if state]


def test_in_a_user_namespace_that_allows_no_other() -> None:
    launcher = [sys.executable, "-S", str(Path(__file__).with_name("without_privileges.py"))]
    assert_powerless(ran([*launcher, sys.executable, "-c", WHO]))
    assert_cuts_verified_and_the_rest_named(json.loads(ran([*launcher, *RUN, "--run-dir", "/mnt/run"], cwd=ROOT)))


# -- in a container


def docker(*arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
    return subprocess.run(["docker", *arguments], capture_output=True, timeout=LIMIT_S, check=False, **options)


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """An image of nothing but places to mount on, links as this host has them, and a user."""
    if not shutil.which("docker"):
        pytest.skip("no docker command here")
    engine = docker("version", "--format", "{{.Server.Version}}")
    if engine.returncode:
        pytest.skip(f"no Docker engine answers here: {engine.stderr.decode().strip()[-200:]}")
    made = docker("import", "-", f"companyos-conform-unprivileged:{uuid.uuid4().hex[:12]}", input=_skeleton())
    assert made.returncode == 0, made.stderr
    name = made.stdout.decode().strip()
    yield name
    docker("rmi", "--force", name)


def _skeleton() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path in (Path("/bin"), Path("/sbin"), *Path("/").glob("lib*")):
            if path.is_symlink():
                link = tarfile.TarInfo(path.name)
                link.type, link.linkname = tarfile.SYMTYPE, str(path.readlink())
                tar.addfile(link)
        users = tarfile.TarInfo("etc/passwd")
        users.size = len(IMAGE_USER)
        tar.addfile(users, io.BytesIO(IMAGE_USER.encode()))
    return content.getvalue()


def _mounts() -> list[str]:
    """This host's programs and libraries, this environment and this repository, all read-only."""
    system = [path for path in (Path("/bin"), Path("/sbin"), *Path("/").glob("lib*")) if not path.is_symlink()]
    places = [Path("/usr"), *system, Path(sys.base_prefix), Path(sys.prefix), ROOT]
    if Path("/etc/ld.so.cache").exists():
        places.append(Path("/etc/ld.so.cache"))
    wanted = sorted({place.resolve() for place in places if place.exists()}, key=lambda place: len(place.parts))
    outermost = [place for place in wanted if not any(other in place.parents for other in wanted)]
    return [word for place in outermost for word in ("-v", f"{place}:{place}:ro")]


def test_in_a_container_without_capabilities(image: str) -> None:
    box = ["docker", "run", "--rm", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none"]
    box += ["--user", f"{USER}:{USER}", "--read-only", "--shm-size", "256m"]
    box += ["--tmpfs", f"{SCRATCH}:exec,mode=1777,size=2g", "-e", f"HOME={SCRATCH}", "-e", f"TMPDIR={SCRATCH}"]
    box += ["--workdir", str(ROOT), "-e", "PYTHONDONTWRITEBYTECODE=1", *_mounts(), image]
    assert_powerless(ran([*box, sys.executable, "-c", WHO]))
    assert_cuts_verified_and_the_rest_named(json.loads(ran([*box, *RUN, "--run-dir", f"{SCRATCH}/run"])))
