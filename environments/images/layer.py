"""Layers: a tree written as a tar whose bytes depend on the tree alone, kept in the cache with a list of its files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from environments.images import store
from environments.images.tree import Component, Entry, Tree

MTIME_S = 946_684_800  # 2000-01-01: one time for every file, so that when it was built does not show


@dataclass(frozen=True)
class FileFact:
    """What the SBOM says of one path. `sha256`: of a file's contents; `target`: of a link; folders are not listed."""

    path: str
    sha256: str
    target: str
    owner: int  # index into the layer's components


@dataclass(frozen=True)
class Layer:
    """A layer in the cache. `diff_id`: sha256 of the tar at `path`, as an image's configuration has it."""

    path: Path
    diff_id: str
    size_bytes: int
    made_by: str
    components: tuple[Component, ...]
    files: tuple[FileFact, ...]
    facts: Mapping[str, str]


def write(tree: Tree, path: Path, made_by: str) -> Layer:
    """Write the tree to `path`."""
    components = tuple(sorted(tree.components(), key=lambda each: (each.kind, each.name, each.version)))
    index = {component: number for number, component in enumerate(components)}
    facts = []
    hashing = _Hashing(path)
    with hashing, tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT, bufsize=2**20) as tar:  # type: ignore[call-overload]
        for name in sorted(tree.entries):
            entry = tree.entries[name]
            digest = _add(tar, name, entry)
            if entry.kind != "dir":
                facts.append(FileFact(name, digest, entry.target, index[entry.owner]))
    return Layer(
        path, f"sha256:{hashing.digest.hexdigest()}", path.stat().st_size, made_by, components, tuple(facts), tree.facts
    )


def _add(tar: tarfile.TarFile, name: str, entry: Entry) -> str:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime, info.uid, info.gid = entry.mode, MTIME_S, entry.uid, entry.uid
    if entry.kind == "dir":
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif entry.kind == "link":
        info.type, info.linkname = tarfile.SYMTYPE, entry.target
        tar.addfile(info)
    else:
        data = entry.data.read_bytes() if isinstance(entry.data, Path) else entry.data
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
        return hashlib.sha256(data).hexdigest()
    return ""


class _Hashing:
    """A file that knows the digest of what was written to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.digest = hashlib.sha256()

    def __enter__(self) -> None:
        self._file = self._path.open("wb")

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def cached(key: str, made_by: str, tree: Callable[[], Tree]) -> Layer:
    """The layer of that key, from the cache or made anew. `key`: hex digest over all that the tree depends on."""
    folder = store.folder("layers") / key
    found = _read(folder)
    if found:
        return found
    with store.scratch() as scratch:
        layer = write(tree(), scratch / "layer.tar", made_by)
        facts: dict[str, Any] = {"made_by": made_by, "diff_id": layer.diff_id, "size_bytes": layer.size_bytes}
        facts["facts"] = dict(layer.facts)
        facts["components"] = [asdict(each) for each in layer.components]
        facts["files"] = [[each.path, each.sha256, each.target, each.owner] for each in layer.files]
        (scratch / "layer.json").write_text(json.dumps(facts), encoding="utf-8")
        store.put(scratch, folder, lambda: _read(folder) is not None)
    found = _read(folder)
    assert found is not None
    return found


def _read(folder: Path) -> Layer | None:
    try:
        facts: dict[str, Any] = json.loads((folder / "layer.json").read_bytes())
        size = (folder / "layer.tar").stat().st_size
    except (OSError, ValueError):
        return None
    if size != facts["size_bytes"]:
        return None
    os.utime(folder)  # what was used last is removed last
    return Layer(
        path=folder / "layer.tar",
        diff_id=facts["diff_id"],
        size_bytes=size,
        made_by=facts["made_by"],
        components=tuple(Component(**each) for each in facts["components"]),
        files=tuple(FileFact(*each) for each in facts["files"]),
        facts=facts["facts"],
    )
