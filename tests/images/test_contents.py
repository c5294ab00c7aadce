"""What is in the images that are built here: no shell, no privilege, every file somebody's, every library there.

An image that is not built is skipped with its name: `conform images build` makes them all.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from environments.images import building, content, lockfile, recipe, sbom, store
from environments.images.manifest import Built
from environments.images.verifying import Reader

SHELLS = (
    "sh",
    "bash",
    "dash",
    "busybox",
    "ash",
    "zsh",
    "ksh",
    "csh",
    "su",
    "sudo",
    "apt",
    "dpkg",
    "perl",
    "curl",
    "wget",
)
MADE_BY_THE_ENGINE = ("dev", "proc", "sys", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")
EACH_KIND = ("pause", "companyos", "llama")  # Go; packages, wheels, bytecode and our code; a model
LOADER, LIBRARIES = "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class File:
    kind: str
    mode: int
    uid: int
    sha256: str
    target: str


@dataclass(frozen=True)
class Image:
    built: Built
    files: dict[str, File]  # as a container of it has them
    bom: dict[str, Any]


def exported(client: docker.DockerClient, image: Built) -> dict[str, File]:
    """The files of a container that never started; folders left out."""
    labels = {"companyos-conform.test": "images"}
    container = client.containers.create(image.reference, network_mode="none", labels=labels)
    found = {}
    try:
        with tarfile.open(fileobj=Reader(container.export()), mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                if (
                    member.isdir()
                    or member.name.split("/")[0] in MADE_BY_THE_ENGINE
                    or member.name in MADE_BY_THE_ENGINE
                ):
                    continue
                file = tar.extractfile(member) if member.isreg() else None
                digest = hashlib.file_digest(file, "sha256").hexdigest() if file else ""  # type: ignore[arg-type]
                kind = "link" if member.issym() else "file" if file else "other"
                found[member.name] = File(kind, member.mode, member.uid, digest, member.linkname)
    finally:
        container.remove()
    return found


@pytest.fixture(scope="module", params=recipe.ORDER)
def image(request: pytest.FixtureRequest, built: dict[str, Built], engine: docker.DockerClient) -> Image:
    name = request.param
    if name not in built:
        pytest.skip(f"the image {name} is not built here: conform images build {name}")
    files = exported(engine, built[name])
    with tarfile.open(built[name].layer_paths[-1]) as tar:
        file = tar.extractfile(f"usr/share/sbom/{name}.cdx.json")
        assert file is not None
        return Image(built[name], files, json.load(file))


def listed(bom: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(path, sha256, target of a link, its component) of each file in an SBOM."""
    for component in bom["components"]:
        for file in component.get("components", []):
            digest = file["hashes"][0]["content"] if "hashes" in file else ""
            target = next((each["value"] for each in file.get("properties", []) if each["name"] == sbom.LINK), "")
            yield file["name"].lstrip("/"), digest, target, component["purl"]


def test_every_file_belongs_to_a_component_with_its_digest(image: Image) -> None:
    known = {path: (digest, target) for path, digest, target, _ in listed(image.bom)}
    own = f"usr/share/sbom/{image.built.name}.cdx.json"
    assert len(known) == len(list(listed(image.bom)))
    assert set(image.files) - {own} == set(known)
    wrong = {
        path
        for path, (digest, target) in known.items()
        if (image.files[path].sha256, image.files[path].target) != (digest, target)
    }
    assert wrong == set()


def test_the_sbom_names_each_component_with_version_and_source(image: Image) -> None:
    assert image.bom["bomFormat"] == "CycloneDX"
    for component in image.bom["components"]:
        assert component["version"]
        assert component["purl"].startswith("pkg:")
        assert component["properties"][0]["name"] == sbom.KIND
    inputs = {item.name for item in building.inputs(image.built.name, lockfile.load()) if item.kind != "toolchain"}
    named = {component["name"] for component in image.bom["components"]}
    without_files = {"media-types", "libc-gconv-modules-extra"}  # all that they have is left out
    assert inputs - named <= without_files


def test_there_is_no_shell_and_no_tool_to_get_one_with(image: Image) -> None:
    names = {Path(path).name for path in image.files if path.startswith(("usr/bin/", "usr/sbin/", "bin/", "sbin/"))}
    assert names.isdisjoint(SHELLS)


def test_nothing_changes_its_user_and_all_is_roots(image: Image) -> None:
    assert [path for path, file in image.files.items() if file.mode & 0o6000] == []
    assert {file.uid for file in image.files.values()} <= {0}
    assert [path for path, file in image.files.items() if file.mode & 0o002 and file.kind == "file"] == []
    assert [path for path, file in image.files.items() if file.kind == "other"] == []


def test_no_secret_is_in_it(image: Image) -> None:
    suspicious = (".pem", ".key", "id_rsa", "shadow", ".p12", ".jks")
    assert [path for path in image.files if path.endswith(suspicious) and "certifi" not in path] == []


def test_the_engine_is_told_whom_to_run_and_how_it_is(image: Image, engine: docker.DockerClient) -> None:
    config = engine.images.get(image.built.reference).attrs["Config"]
    made = recipe.recipe(image.built.name)
    assert config["User"] == f"{made.uid}:{made.uid}"
    assert config["Healthcheck"]["Test"] == made.health.test
    assert config["Labels"]["companyos-conform.image"] == image.built.name
    assert config["Labels"]["org.opencontainers.image.version"] == image.built.version
    assert config["Labels"]["org.opencontainers.image.title"] == made.title
    assert not config.get("Volumes")


def test_every_library_that_a_program_needs_is_there(image: Image, tmp_path: Path) -> None:
    """By the image's own loader; what another program loads as a part of itself finds its libraries there."""
    for path in image.built.layer_paths:
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path, filter="fully_trusted")
    if not (tmp_path / LOADER).exists():
        assert image.built.components  # a Go program alone, which needs none
        return
    programs = [path for path in sorted(image.files) if is_elf(tmp_path / path) and "ld-linux" not in path]
    assert programs or image.built.name in ("opa", "toxiproxy")
    missing = {}
    for path in programs:
        argv = [str(tmp_path / LOADER), "--library-path", str(tmp_path / LIBRARIES), "--list", str(tmp_path / path)]
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        absent = [line.split()[0] for line in said.splitlines() if "not found" in line]
        if unmet := set(absent) - {Path(name).name for name in image.files}:  # beside it, by a path of its own
            missing[path] = unmet
    assert missing == {}


def is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


@pytest.mark.timeout(600)
def test_the_same_inputs_make_the_same_image(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty cache, to which only the verified inputs are given."""
    if image.built.name not in EACH_KIND:
        pytest.skip(f"as {', '.join(EACH_KIND)}, which have an input of each kind; the lock's id is held against all")
    inputs, toolchains = store.folder("inputs"), store.folder("toolchains")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, real in (("inputs", inputs), ("toolchains", toolchains)):
        (store.root() / name).symlink_to(real)
    layers = content.layers(image.built.name, lockfile.load(), {})
    if image.built.replaced:
        pytest.skip(f"not built as locked here: {image.built.replaced}")
    assert tuple(each.diff_id for each in layers) == image.built.diff_ids


def test_it_is_the_image_that_the_lock_names(image: Image) -> None:
    pinned = lockfile.load().images[image.built.name].pinned(image.built.inputs_sha256)
    if pinned is None:
        pytest.skip("the lock's id is of other inputs: conform images lock --ids")
    assert image.built.replaced or image.built.image_id == pinned
