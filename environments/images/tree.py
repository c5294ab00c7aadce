"""What goes into an image: entries by path, each owned by a component."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from environments.images.errors import BuildError

MERGED = ("bin", "sbin", "lib", "lib64")  # of the root folder: links into usr, whatever a package says


@dataclass(frozen=True)
class Component:
    """Who a file is from. `sha256`: of the artefact that it came in (package, wheel, jar, binary); hex, or empty."""

    kind: Literal["deb", "wheel", "jar", "go", "file", "model"]
    name: str
    version: str
    purl: str
    sha256: str = ""


@dataclass(frozen=True)
class Entry:
    """One thing at one path. `data`: contents of a file, or where they lie; `target`: of a symbolic link."""

    kind: Literal["file", "dir", "link"]
    mode: int
    owner: Component
    data: bytes | Path = b""
    target: str = ""
    uid: int = 0


@dataclass
class Tree:
    entries: dict[str, Entry] = field(default_factory=dict)  # by path, relative to the root, without a leading slash
    parts: list[Component] = field(default_factory=list)  # linked into a program, with no file of their own
    facts: dict[str, str] = field(default_factory=dict)  # digests that deployments are told (payload_sha256)

    def add(self, path: str, entry: Entry) -> None:
        """Put it there, its folders too; of two at one path the later counts, but a folder never replaces anything."""
        path = settled(path)
        if not path:
            return
        if entry.kind == "dir" and path in self.entries:
            return
        parent = posixpath.dirname(path)
        if parent and parent not in self.entries:
            self.add(parent, Entry("dir", 0o755, entry.owner))
        self.entries[path] = entry

    def file(self, path: str, data: bytes | Path, owner: Component, mode: int = 0o644) -> None:
        self.add(path, Entry("file", mode, owner, data))

    def folder(self, path: str, owner: Component, mode: int = 0o755, uid: int = 0) -> None:
        self.entries.pop(settled(path), None)
        self.add(path, Entry("dir", mode, owner, uid=uid))

    def link(self, path: str, target: str, owner: Component) -> None:
        self.add(path, Entry("link", 0o777, owner, target=target))

    def update(self, other: Tree) -> None:
        for path, entry in other.entries.items():
            self.add(path, entry)
        self.parts += other.parts
        self.facts |= other.facts

    def without(self, patterns: Iterable[str]) -> Tree:
        """This tree less what the patterns match: fnmatch over whole paths; with a `/` at the end, all below."""
        wanted = list(patterns)
        return Tree({path: entry for path, entry in self.entries.items() if not omitted(path, wanted)})

    def components(self) -> Iterator[Component]:
        """Those that own something, and the parts."""
        return iter(dict.fromkeys([*(entry.owner for entry in self.entries.values()), *self.parts]))


def settled(path: str) -> str:
    """The path as an image has it: relative, without dots, and below usr where the root only links there."""
    clean = posixpath.normpath("/" + path).lstrip("/")
    if path.startswith("../") or "/../" in path:
        raise BuildError(f"the path {path!r} leaves the image. The package that has it can't be used")
    head, _, rest = clean.partition("/")
    return f"usr/{head}/{rest}" if head in MERGED and rest else clean


def omitted(path: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns matches; a pattern that starts with `!` keeps what it matches, wherever it stands."""
    out = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if fnmatch.fnmatchcase(path, pattern[1:]):
                return False
        elif fnmatch.fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern):
            out = True
    return out
