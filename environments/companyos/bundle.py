"""Bundles of updates: streamed to a file, verified whole, unpacked beside, switched by one rename.

`<data_dir>/releases/current` is a link to the release in force; a release is a folder named after its version that
holds its own signed manifest. Whatever happens before the rename leaves the old release in force, whatever happens
after it leaves the new one, and a retry starts clean.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments.companyos import bundle_manifest, files, jws, log, tarstream
from environments.companyos.bundle_manifest import MANIFEST, Manifest, refuse
from environments.companyos.errors import ApiError
from environments.companyos.services import Services

CODES: Mapping[jws.Reason, str] = {
    jws.Reason.MALFORMED: "BUNDLE_MANIFEST",
    jws.Reason.UNSIGNED: "BUNDLE_UNSIGNED",
    jws.Reason.SIGNATURE: "BUNDLE_SIGNATURE",
    jws.Reason.ALGORITHM: "BUNDLE_SIGNATURE",
    jws.Reason.TYPE: "BUNDLE_SIGNATURE",
    jws.Reason.KEY: "BUNDLE_KEY",
}
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_lock = threading.Lock()


@dataclass(frozen=True)
class Checked:
    """A bundle that passed every check: what to unpack, in the order of the archive."""

    manifest: Manifest
    jws: bytes
    members: tuple[tarstream.Member, ...]


def releases(services: Services) -> Path:
    return services.config.data_dir / "releases"


# applying


def apply(services: Services, path: Path) -> dict[str, Any]:
    """Verify the bundle in `path`, unpack it, put it in force; the status after it. ApiError 422: nothing has
    changed."""
    with _lock:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)  # the one descriptor that is verified and unpacked from
        try:
            checked = verify(services, fd)
            if checked.manifest.version != (current(services) or (None, b""))[0]:
                release = unpack(services, fd, checked)
                switch(services, release)
            remember(services, checked.manifest.version)
        except OSError as error:
            raise ApiError("UNAVAILABLE", message="the bundle could not be unpacked") from error
        finally:
            os.close(fd)
        tidy(services)
    log.info("bundle applied", version=checked.manifest.version)
    return status(services)


# verifying


def verify(services: Services, fd: int) -> Checked:
    """Every check there is, before a byte is unpacked. ApiError 422 with the first fault found."""
    if not services.config.trust_roots:
        raise refuse("NO_TRUST_ROOT", "no trust root is installed")
    try:
        members = list(tarstream.members(fd, os.fstat(fd).st_size))
        if not members:
            raise refuse("MALFORMED", "an empty archive")
        raw = read_manifest(fd, members[0])
        manifest = bundle_manifest.check(verify_manifest(services, raw))
        check_version(services, manifest, raw)
        check_members(fd, manifest, members[1:])
    except tarstream.TarError as error:
        raise refuse("MALFORMED", str(error)) from None
    return Checked(manifest, raw, tuple(members[1:]))


def read_manifest(fd: int, first: tarstream.Member) -> bytes:
    if first.path != MANIFEST or first.kind != tarstream.FILE:
        raise refuse("UNSIGNED", f"the first member is not {MANIFEST}")
    if first.size > MAX_MANIFEST_BYTES:
        raise refuse("MANIFEST", "the manifest is too large")
    return b"".join(tarstream.content(fd, first))


def verify_manifest(services: Services, raw: bytes) -> dict[str, Any]:
    """The signed payload. Keys come from the installed trust roots only."""
    try:
        return jws.verify(raw, services.config.trust_roots, "bundle", max_bytes=MAX_MANIFEST_BYTES).payload
    except jws.JwsError as error:
        code = "BUNDLE_UNSIGNED" if not raw else CODES[error.reason]
        raise ApiError(code, message=str(error)) from None


def check_version(services: Services, manifest: Manifest, raw: bytes) -> None:
    """Versions rise. Lower ones need a signed `allow_rollback_to` that names exactly them; the version in force
    again is fine if it is the same bundle."""
    running = current(services)
    if running is not None and running[0] == manifest.version:
        if running[1] != raw:
            raise refuse("ROLLBACK", "another bundle of the version in force")
        return
    floor = highest(services)
    lower = floor is not None and parse_version(manifest.version) < parse_version(floor)
    if lower and manifest.allow_rollback_to != manifest.version:
        raise refuse("ROLLBACK", f"lower than {floor}, and no rollback to it is signed")


def check_members(fd: int, manifest: Manifest, members: list[tarstream.Member]) -> None:
    """The archive holds exactly what the manifest lists: names, types, sizes, digests."""
    seen: set[str] = set()
    for member in members:
        check_kind(member)
        bundle_manifest.check_path(member.path)
        if member.path in seen:
            raise refuse("MEMBER_DUPLICATE", "the same member twice")
        seen.add(member.path)
        listed = manifest.members.get(member.path)
        if listed is None:
            raise refuse("MEMBER_EXTRA", "a member that the manifest does not list")
        if listed.type != member.kind or (listed.target or "") != member.target:
            raise refuse("MEMBER_TYPE", "a member of another type than listed")
        if listed.size != member.size:
            raise refuse("SIZE", "a member of another size than listed")
        if member.kind == tarstream.FILE and digest(fd, member) != listed.sha256:
            raise refuse("MEMBER_DIGEST", "a member with other content than listed")
    if manifest.members.keys() - seen:
        raise refuse("MEMBER_MISSING", "a listed member is not there")


def check_kind(member: tarstream.Member) -> None:
    """Plain files and symlinks, without setuid, setgid or sticky bits."""
    if member.kind not in (tarstream.FILE, tarstream.SYMLINK) or member.mode & 0o7000:
        raise refuse("MEMBER_TYPE", "neither a plain file nor a symlink")


def digest(fd: int, member: tarstream.Member) -> str:
    hashed = hashlib.sha256()
    for chunk in tarstream.content(fd, member):
        hashed.update(chunk)
    return hashed.hexdigest()


# unpacking


def unpack(services: Services, fd: int, checked: Checked) -> Path:
    """Write the release beside and rename it to its own name; not yet in force. What is written is digested again,
    so that a file changed since the verification is found out."""
    home = releases(services)
    home.mkdir(mode=0o700, exist_ok=True)
    beside, final = home / f"{checked.manifest.version}.tmp", home / checked.manifest.version
    remove(beside)
    beside.mkdir(mode=0o700)
    try:
        for member in checked.members:
            write_member(fd, beside, member, checked.manifest)
        write_file(beside / MANIFEST, [checked.jws])
        for folder, _, _ in os.walk(beside):
            files.sync_directory(Path(folder))
    except BaseException:
        remove(beside)
        raise
    remove(final)
    beside.rename(final)
    files.sync_directory(home)
    return final


def write_member(fd: int, root: Path, member: tarstream.Member, manifest: Manifest) -> None:
    """Paths were checked: no member lies below a link, and every link leads to a member."""
    path = root / member.path
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if member.kind == tarstream.SYMLINK:
        path.symlink_to(member.target)
        return
    hashed = write_file(path, tarstream.content(fd, member))
    if hashed != manifest.members[member.path].sha256:
        raise refuse("MEMBER_DIGEST", "the bundle changed while it was applied")


def write_file(path: Path, chunks: Any) -> str:
    """SHA-256 of what was written. Never follows a link, never replaces a file."""
    hashed = hashlib.sha256()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        for chunk in chunks:
            hashed.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return hashed.hexdigest()


def switch(services: Services, release: Path) -> None:
    """One rename puts the release in force."""
    beside = releases(services) / ".current.tmp"
    beside.unlink(missing_ok=True)
    beside.symlink_to(release.name)
    beside.replace(releases(services) / "current")
    files.sync_directory(releases(services))


def remove(path: Path) -> None:
    if path.exists() and not path.is_symlink():
        shutil.rmtree(path)


def tidy(services: Services) -> None:
    """Unfinished unpackings and all but the two newest releases go; the one in force stays."""
    running = (current(services) or ("", b""))[0]
    try:
        folders = [path for path in releases(services).iterdir() if path.is_dir() and not path.is_symlink()]
        old = sorted((path for path in folders if path.name != running), key=lambda path: path.stat().st_mtime)
        for path in old[:-1]:
            remove(path)
    except OSError:
        log.warning("old releases cannot be removed")


def clean(services: Services) -> None:
    """At start: remove what a killed process left half unpacked."""
    for path in releases(services).glob("*.tmp"):
        path.unlink() if path.is_symlink() else remove(path)


# state


def parse_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def current(services: Services) -> tuple[str, bytes] | None:
    """-> (version, its signed manifest) of the release in force; None if there is none."""
    link = releases(services) / "current"
    try:
        return link.readlink().name, (link / MANIFEST).read_bytes()
    except OSError:
        return None


def highest(services: Services) -> str | None:
    """The version below which nothing is accepted: kept in a file, and never below the release in force, so that a
    crash between the switch and the file forgets nothing."""
    running = current(services)
    known = [] if running is None else [running[0]]
    try:
        kept = json.loads((services.config.data_dir / "bundle-state.json").read_bytes())["highest"]
        if bundle_manifest.VERSION.fullmatch(kept):
            known.append(kept)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return max(known, key=parse_version, default=None)


def remember(services: Services, version: str) -> None:
    """After a switch: the version in force is the new floor, after a signed rollback too."""
    files.write_atomic(services.config.data_dir / "bundle-state.json", json.dumps({"highest": version}).encode())


def status(services: Services) -> dict[str, Any]:
    """`{version, digest, members}` of the release in force; nulls if there is none. `digest`: SHA-256 of its
    manifest."""
    running = current(services)
    if running is None:
        return {"version": None, "digest": None, "members": []}
    payload = jws.parse_json(jws.decode_part(running[1].decode("ascii").split(".")[1]))
    return {"version": running[0], "digest": hashlib.sha256(running[1]).hexdigest(), "members": payload["members"]}
