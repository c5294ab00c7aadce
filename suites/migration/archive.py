"""Export archives as the suite reads and rewrites them: tar bytes that are not trusted, and never unpacked to disk."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from environments.contract import Vendor
from suites.licensing.compact import header_of, payload_of

MAX_BYTES = 64 << 20
MAX_MEMBERS = 1000


@dataclass(frozen=True)
class Archive:
    """One export: its signed manifest and its members, by name, in order."""

    name: str  # of the member that holds the manifest
    manifest: Mapping[str, Any]
    header: Mapping[str, Any]
    text: str  # the manifest as it was signed
    members: Mapping[str, bytes]  # all others

    def rows(self, type_: str) -> list[dict[str, Any]]:
        """The documents of a type; an AssertionError if a line is no JSON object."""
        found = []
        for line in self.members.get(f"{type_}.jsonl", b"").splitlines():
            document = json.loads(line)
            assert isinstance(document, dict), f"{type_}.jsonl holds {line[:80]!r}"
            found.append(document)
        return found

    def resigned(self, vendor: Vendor, **changes: Any) -> bytes:
        """The same members under a manifest with changes, signed by the vendor. None drops an entry."""
        payload = {k: v for k, v in {**self.manifest, **changes}.items() if v is not None}
        return pack(self.name, vendor.sign("export", payload), self.members)


def read(raw: bytes) -> Archive:
    """Read an export. AssertionError if it is not one, or too large to be trusted."""
    assert len(raw) <= MAX_BYTES, f"an export of {len(raw)} bytes"
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as opened:
            for info in opened:
                assert len(members) < MAX_MEMBERS, "too many members"
                assert info.isreg(), f"{info.name} is no regular file"
                file = opened.extractfile(info)
                assert file is not None and info.name not in members, f"member {info.name}"
                members[info.name] = file.read()
    except tarfile.TarError as error:
        raise AssertionError(f"the export is no tar: {error}") from error
    name = next((name for name in members if name.endswith(".jws")), None)
    assert name is not None, f"the export has no signed manifest: {list(members)}"
    text = members.pop(name).decode("ascii").strip()
    return Archive(name, payload_of(text), header_of(text), text, members)


def pack(name: str, manifest: str, members: Mapping[str, bytes]) -> bytes:
    """A tar of the manifest and the members, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for each, content in {name: manifest.encode(), **members}.items():
            info = tarfile.TarInfo(each)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def with_member(archive: Archive, name: str, content: bytes) -> Archive:
    return replace(archive, members={**archive.members, name: content})
