"""Images and wheels as one file for a lab without a network, and back.

The file is a tar whose first member, `contents.json`, names every other with its size and sha256. Import reads it once
from front to back, believes nothing that it has not digested, and changes nothing until the last byte is verified.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from environments.images import content, engines, loading, manifest, store
from environments.images.errors import ArchiveError, FetchError
from environments.images.layer import MTIME_S
from environments.images.manifest import Built

if TYPE_CHECKING:
    import docker

CONTENTS = "contents.json"
FORMAT = 1
PROJECT = Path(__file__).parents[2]
COMPRESSION = 1  # of layers: three times smaller at the speed of a disk; more costs minutes for a tenth
MOST_BYTES = 64 * 2**20  # of contents.json
CHUNK_BYTES = 2**20
README = """CompanyOS portability and conformance suite {version}, images and wheels for a machine without a network.
It needs Linux on amd64, Python {python}, and a Docker engine from 20.10 (Debian: docker.io) that is already there.

    mkdir conform && tar -xf {file} -C conform wheels README.txt
    python{python} -m venv conform/venv
    conform/venv/bin/pip install --no-index --find-links conform/wheels 'companyos-conform[containers]'
    conform/venv/bin/conform images import {file}
    conform/venv/bin/conform images verify
    conform/venv/bin/conform run --driver containers

The import verifies every member of the archive. To know that the archive is the one that was exported, compare the
sha256 that the export printed: conform images import {file} --sha256 DIGEST
"""

Told = Callable[[str], None]


def export(
    target: Path, images: Mapping[str, Built], say: Told = lambda _: None, wheels: Sequence[Path] | None = None
) -> str:
    """Write the archive; returns the hex sha256 of its contents list, which names the digest of all else.

    `wheels`: those to carry; None: this suite's and its dependencies', made and fetched by pip.
    """
    if wheels is None and not (PROJECT / "pyproject.toml").is_file():
        raise ArchiveError("the suite's own wheel is made from its repository: run the export in a checkout")
    engines.require_free(sum(each.size_bytes for each in images.values()) // 2, target.absolute().parent)
    with store.scratch() as scratch:
        if wheels is None:
            say("wheels of the suite and of all that it depends on")
            wheels = _wheels(scratch / "wheels")
        say(f"layers of {len(images)} images")
        members = _layers(images, scratch) + [(f"wheels/{path.name}", path) for path in wheels]
        members += [(f"configs/{Path(each.config_path).name}", Path(each.config_path)) for each in images.values()]
        readme = scratch / "README.txt"
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        version = content.suite_version()
        readme.write_text(README.format(version=version, python=python, file=target.name), encoding="utf-8")
        members.insert(0, ("README.txt", readme))
        listing = _listing(images, members, python)
        part = target.with_name(f"{target.name}.part")
        try:
            _write(part, listing, members)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return hashlib.sha256(listing).hexdigest()


def _wheels(folder: Path) -> list[Path]:
    """The suite's wheel and, for this Python, those of everything that it depends on."""
    folder.mkdir()
    source = folder.with_name("source")  # a build writes beside its sources: not into the user's checkout
    ignored = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(PROJECT, source, ignore=ignored, symlinks=True)
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--wheel-dir", str(folder)]
    done = subprocess.run([*argv, f"{source}[containers]"], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise FetchError(f"pip could not make wheels: {lines[-1][:300] if lines else ''}. Check pip's index")
    return sorted(folder.glob("*.whl"))


def _layers(images: Mapping[str, Built], scratch: Path) -> list[tuple[str, Path]]:
    wanted = {
        diff_id: Path(path)
        for image in images.values()
        for diff_id, path in zip(image.diff_ids, image.layer_paths, strict=True)
    }

    def pack(diff_id: str) -> tuple[str, Path]:
        name = f"{diff_id.removeprefix('sha256:')}.tar.gz"
        target = scratch / name
        with (
            wanted[diff_id].open("rb") as source,
            target.open("wb") as raw,
            gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as packed,
        ):
            shutil.copyfileobj(source, packed, CHUNK_BYTES)
        return f"layers/{name}", target

    with ThreadPoolExecutor(2) as workers:
        return list(workers.map(pack, wanted))


def _listing(images: Mapping[str, Built], members: Sequence[tuple[str, Path]], python: str) -> bytes:
    described = []
    for image in images.values():
        fields = dataclasses.asdict(image)
        fields["config"] = f"configs/{Path(image.config_path).name}"
        del fields["config_path"], fields["layer_paths"]
        described.append(fields)
    listed = [
        {"path": name, "size_bytes": path.stat().st_size, "sha256": store.sha256_of(path)} for name, path in members
    ]
    document = {"format": FORMAT, "suite": content.suite_version(), "python": python, "images": described}
    return json.dumps(document | {"members": listed}, indent=1, sort_keys=True).encode()


def _write(target: Path, listing: bytes, members: Sequence[tuple[str, Path]]) -> None:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        everything: list[tuple[str, bytes | Path]] = [(CONTENTS, listing), *members]
        for name, data in everything:
            info = tarfile.TarInfo(name)
            info.mtime, info.mode = MTIME_S, 0o644
            info.size = len(data) if isinstance(data, bytes) else data.stat().st_size
            with io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as file:
                tar.addfile(info, file)


def import_(
    source: Path, client: docker.DockerClient, *, sha256: str | None = None, say: Told = lambda _: None
) -> list[Built]:
    """Verify the archive and give its images to the engine. `sha256`: what the export printed, to hold it against.

    Raises ArchiveError (what is wrong with which member) with nothing changed.
    """
    with store.scratch() as scratch:
        images = _unpacked(source, scratch, client, sha256, say)
        for each in images:
            say(f"{each.name}: giving it to the engine")
        placed = [_placed(each) for each in images]
    missing = [each for each in placed if not loading.present(client, each)]
    if missing:
        loading.load(client, missing)
    for each in placed:
        manifest.add(each)
    return placed


def _unpacked(source: Path, scratch: Path, client: docker.DockerClient, sha256: str | None, say: Told) -> list[Built]:
    """The images, with all their files verified in `scratch`."""
    remedy = "Copy it again from where it was exported, or export it anew"
    try:
        with tarfile.open(source, "r:") as tar:
            say("verifying the archive")
            members = iter(tar)
            document = _contents(tar, next(members, None), source, sha256)
            images = [(each, _image(each)) for each in document["images"]]
            engines.require_room(client, sum(image.size_bytes for _, image in images), store.root())
            listed = {str(each["path"]): each for each in document["members"]}
            seen = set()
            for member in members:
                expected = listed.get(member.name)
                if expected is None or not member.isfile() or member.name in seen:
                    raise ArchiveError(f"{source.name}: {member.name!r} is not in its list of contents. {remedy}")
                seen.add(member.name)
                file = tar.extractfile(member)
                assert file is not None
                _verified(file, expected, scratch, source)
            if absent := set(listed) - seen:
                raise ArchiveError(f"{source.name} is cut short: {sorted(absent)[0]} is missing. {remedy}")
            return [_with_files(fields, image, scratch, source) for fields, image in images]
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise ArchiveError(
            f"{error.filename} cannot be read: {error.strerror}. Name a file of conform images export"
        ) from None
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, KeyError, TypeError, ValueError, zlib.error) as error:
        raise ArchiveError(f"{source.name} is no archive of ours, or is damaged ({error}). {remedy}") from None


def _contents(tar: tarfile.TarFile, first: tarfile.TarInfo | None, source: Path, sha256: str | None) -> dict[str, Any]:
    if first is None or first.name != CONTENTS or not first.isfile() or first.size > MOST_BYTES:
        raise ArchiveError(f"{source.name} was not made by `conform images export`: it does not begin with {CONTENTS}")
    file = tar.extractfile(first)
    assert file is not None
    text = file.read()
    found = hashlib.sha256(text).hexdigest()
    if sha256 and sha256.lower() != found:
        raise ArchiveError(f"{source.name} is another archive: its sha256 is {found}, expected {sha256}")
    document: dict[str, Any] = json.loads(text)
    if document.get("format") != FORMAT:
        raise ArchiveError(
            f"{source.name} has format {document.get('format')}, this suite reads {FORMAT}. Use its suite"
        )
    return document


def _image(fields: dict[str, Any]) -> Built:
    known = {each.name for each in dataclasses.fields(Built)}
    return manifest.entry(
        {key: value for key, value in fields.items() if key in known} | {"config_path": "", "layer_paths": ()}
    )


def _verified(file: IO[bytes], expected: dict[str, Any], scratch: Path, source: Path) -> None:
    """Copy a member into the scratch folder if the import needs it; digest it in any case."""
    path = str(expected["path"])
    target = scratch / Path(path).name if path.startswith(("layers/", "configs/")) else None
    digest, size = hashlib.sha256(), 0
    with target.open("wb") if target else io.BytesIO() as out:
        for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
            digest.update(chunk)
            size += len(chunk)
            if target:
                out.write(chunk)
    if size != expected["size_bytes"]:
        raise ArchiveError(
            f"{source.name} is cut short in {path}: {size} of {expected['size_bytes']} bytes. Copy it again"
        )
    if digest.hexdigest() != expected["sha256"]:
        raise ArchiveError(
            f"{source.name}: {path} was altered: its sha256 is {digest.hexdigest()}, expected {expected['sha256']}. "
            "Copy it again"
        )


def _with_files(fields: dict[str, Any], image: Built, scratch: Path, source: Path) -> Built:
    """The image with its layers unpacked and digested, and its configuration, still in the scratch folder."""
    config = scratch / Path(str(fields["config"])).name
    layers = []
    for diff_id in image.diff_ids:
        name = diff_id.removeprefix("sha256:")
        target = scratch / f"{name}.tar"
        if not target.exists():
            found = _gunzip(scratch / f"{name}.tar.gz", target)
            if found != name:
                raise ArchiveError(
                    f"{source.name}: the layer {name[:12]} of {image.name} holds other contents. Export anew"
                )
        layers.append(str(target))
    listed = json.loads(config.read_bytes())["rootfs"]["diff_ids"]
    if tuple(listed) != image.diff_ids:
        raise ArchiveError(f"{source.name}: the configuration of {image.name} names other layers. Export anew")
    return dataclasses.replace(image, layer_paths=tuple(layers), config_path=str(config))


def _gunzip(packed: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with gzip.open(packed, "rb") as file, target.open("wb") as out:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()


def _placed(image: Built) -> Built:
    """The image with its files moved into the cache."""
    layers = []
    for path in map(Path, image.layer_paths):
        place = store.folder("imported") / path.name
        if path.exists():
            path.replace(place)
        layers.append(str(place))
    config = store.folder("configs") / Path(image.config_path).name
    if Path(image.config_path).exists():
        Path(image.config_path).replace(config)
    return dataclasses.replace(image, layer_paths=tuple(layers), config_path=str(config))
