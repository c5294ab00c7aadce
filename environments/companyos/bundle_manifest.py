"""The signed manifest of a bundle: its shape, and the paths and links that a release may have."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from environments.companyos.errors import ApiError

MANIFEST = "manifest.jws"
VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})", re.ASCII)
KINDS = frozenset({"image", "package", "policy", "model", "sbom"})
MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_HOPS = 40
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_FORBIDDEN = frozenset('\\:*?"<>|')


@dataclass(frozen=True)
class Listed:
    """A member as listed: size in bytes; `target` for symlinks."""

    path: str
    kind: str
    size: int
    sha256: str
    type: str
    target: str | None


@dataclass(frozen=True)
class Manifest:
    version: str
    members: Mapping[str, Listed]
    allow_rollback_to: str | None


def refuse(reason: str, message: str) -> ApiError:
    """The refusal `BUNDLE_<reason>` (422)."""
    return ApiError(f"BUNDLE_{reason}", 422, message)


def check(payload: Mapping[str, Any]) -> Manifest:
    """A manifest from a verified payload. ApiError BUNDLE_MANIFEST, BUNDLE_PATH or BUNDLE_MEMBER_DUPLICATE."""
    version, allowed, rows = payload.get("version"), payload.get("allow_rollback_to"), payload.get("members")
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise refuse("MANIFEST", "the version is not MAJOR.MINOR.PATCH")
    if not isinstance(payload.get("created"), str) or not (allowed is None or isinstance(allowed, str)):
        raise refuse("MANIFEST", "created or allow_rollback_to is not text")
    if not isinstance(rows, list) or not rows:
        raise refuse("MANIFEST", "no members are listed")
    members: dict[str, Listed] = {}
    for row in rows:
        listed = check_row(row)
        check_path(listed.path)
        members[listed.path] = listed
    check_collisions([row["path"] for row in rows])
    check_tree(members)
    return Manifest(version, members, allowed)


def check_row(row: Any) -> Listed:
    if not isinstance(row, dict) or row.get("type") not in ("file", "symlink") or row.get("kind") not in KINDS:
        raise refuse("MANIFEST", "a member's type or kind")
    path, size, sha256, target = (row.get(name) for name in ("path", "size", "sha256", "target"))
    if not isinstance(path, str) or type(size) is not int or size < 0:
        raise refuse("MANIFEST", "a member's path or size")
    is_link = row["type"] == "symlink"
    if is_link != isinstance(target, str) or (is_link and size):
        raise refuse("MANIFEST", "a member's target")
    if not (isinstance(sha256, str) and _DIGEST.fullmatch(sha256)) and not (is_link and sha256 is None):
        raise refuse("MANIFEST", "a member's digest")
    return Listed(path, row["kind"], size, sha256 or "", row["type"], target)


def check_path(path: str) -> None:
    """A relative path that means the same on every system. ApiError BUNDLE_PATH."""
    if not path or path == MANIFEST or len(path.encode()) > MAX_PATH_BYTES:
        raise refuse("PATH", "a path that is empty, reserved or too long")
    for name in path.split("/"):
        bad_end = name != name.rstrip(". ") or name != name.lstrip(" ")
        if name in ("", ".", "..") or bad_end or len(name.encode()) > MAX_NAME_BYTES or _RESERVED.fullmatch(name):
            raise refuse("PATH", "a component of a path")
        if any(c in _FORBIDDEN or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name):
            raise refuse("PATH", "a character in a path")


def check_collisions(paths: list[str]) -> None:
    """No two paths, nor folders of theirs, are one on a file system that folds case or normalises."""
    if len({fold(path) for path in paths}) != len(paths):
        raise refuse("MEMBER_DUPLICATE", "two members of the same name")
    spelled: dict[str, str] = {}
    for path in paths:
        for folder in parents(path):
            if spelled.setdefault(fold(folder), folder) != folder:
                raise refuse("MEMBER_DUPLICATE", "two spellings of one folder")


def fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def check_tree(members: Mapping[str, Listed]) -> None:
    """No member lies below another one, and every link leads to a member or folder of the release."""
    folders = {folder for path in members for folder in parents(path)}
    if any(fold(path) in {fold(folder) for folder in folders} for path in members):
        raise refuse("PATH", "a member below a member that is no folder")
    for listed in members.values():
        if listed.target is not None:
            resolved = resolve(listed.path, listed.target, members)
            if resolved not in members and resolved not in folders:
                raise refuse("PATH", "a link that leads nowhere")


def resolve(path: str, target: str, members: Mapping[str, Listed]) -> str:
    """Where the link leads, as the kernel would walk it, through other links. ApiError BUNDLE_PATH if out of the
    release, or in circles."""
    unusable = not target or len(target.encode()) > MAX_PATH_BYTES or any(c in target for c in "\\:\0")
    if unusable or target.startswith("/"):
        raise refuse("PATH", "a link with an absolute or unusable target")
    at, ahead, hops = path.split("/")[:-1], target.split("/"), 0
    while ahead:
        step = ahead.pop(0)
        if step in ("", "."):
            continue
        if step == "..":
            if not at:
                raise refuse("PATH", "a link that leads out")
            at.pop()
            continue
        at.append(step)
        link = members.get("/".join(at))
        if link is not None and link.target is not None:
            hops += 1
            if hops > MAX_HOPS:
                raise refuse("PATH", "a link in circles")
            at.pop()
            ahead = link.target.split("/") + ahead
    return "/".join(at)
