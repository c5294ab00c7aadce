"""Bundles by hand, genuine and hostile. Tar headers are written here, because `tarfile` would tidy them up.

A vector's manifest is signed by the vendor unless the signature is its point, so that it is refused for what it is
named after. Everything that could be written outside carries a mark, so that it can be found wherever it lands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from environments.contract import Vendor
from suites.licensing.compact import canonical, encode, flip, parts

BLOCK = 512
REGULAR, HARDLINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
CREATED = "2026-01-02T03:04:05Z"


@dataclass(frozen=True)
class Entry:
    """One tar entry. `raw_name` overrides the name's bytes (NUL, invalid UTF-8)."""

    name: str
    content: bytes = b""
    flag: bytes = REGULAR
    target: str = ""
    mode: int = 0o644
    raw_name: bytes | None = None
    claimed_size: int | None = None  # what the header says, if not the truth


@dataclass(frozen=True)
class Vector:
    name: str
    body: bytes
    codes: frozenset[str]


def vector(name: str, body: bytes, *codes: str) -> Vector:
    return Vector(name, body, frozenset(f"BUNDLE_{code}" for code in codes))


def number(value: int, width: int) -> bytes:
    return f"{value:0{width - 1}o}".encode() + b"\0"


def header(entry: Entry) -> bytes:
    name = entry.raw_name if entry.raw_name is not None else entry.name.encode()
    long = b""
    if len(name) > 100:
        long = header(Entry("././@LongLink", name + b"\0", b"L")) + padded(name + b"\0")
        name = name[:100]
    target = entry.target.encode()[:100]
    size = len(entry.content) if entry.claimed_size is None else entry.claimed_size
    fields = (
        name.ljust(100, b"\0") + number(entry.mode, 8) + number(0, 8) + number(0, 8) + number(size, 12) + number(0, 12)
    )
    rest = entry.flag + target.ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + number(1, 8) + number(3, 8) + bytes(167)
    total = sum(fields) + 8 * 32 + sum(rest)
    return long + fields + f"{total:06o}".encode() + b"\0 " + rest


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def tar(entries: Sequence[Entry]) -> bytes:
    return b"".join(header(entry) + padded(entry.content) for entry in entries) + bytes(2 * BLOCK)


def listed(entry: Entry, kind: str = "package") -> dict[str, Any]:
    """The manifest's line for an entry."""
    row: dict[str, Any] = {
        "path": entry.name,
        "kind": kind,
        "size": len(entry.content),
        "sha256": hashlib.sha256(entry.content).hexdigest(),
        "type": "symlink" if entry.flag in (SYMLINK, HARDLINK) else "file",
    }
    if entry.flag in (SYMLINK, HARDLINK):
        row["target"] = entry.target
    return row


MEMBERS = (
    Entry("images/api.oci", b"image of the api\n" * 40),
    Entry("policies/authz.rego", b"package companyos.authz\n\ndefault allow := false\n"),
    Entry("models/slm.gguf", bytes(range(256)) * 8),
    Entry("packages/api-1.0.whl", b"package\n" * 10),
    Entry("sbom/bom.cdx.json", b'{"bomFormat":"CycloneDX"}\n'),
)
KINDS = {"images": "image", "policies": "policy", "models": "model", "packages": "package", "sbom": "sbom"}


def manifest(version: str, entries: Sequence[Entry] = MEMBERS, **more: Any) -> dict[str, Any]:
    rows = [listed(entry, KINDS.get(entry.name.split("/")[0], "package")) for entry in entries]
    return {"version": version, "created": CREATED, "members": rows, **more}


def signed(vendor: Vendor, payload: Mapping[str, Any], **more: Any) -> Entry:
    return Entry("manifest.jws", vendor.sign("bundle", payload, **more).encode())


def good(vendor: Vendor, version: str, entries: Sequence[Entry] = MEMBERS, **more: Any) -> bytes:
    """A genuine bundle; `more` goes into the manifest."""
    return tar([signed(vendor, manifest(version, entries, **more)), *entries])


# AIR-07, AIR-08


def unsigned(vendor: Vendor, version: str) -> Iterator[Vector]:
    """The signature is missing, in every way to leave it out."""
    payload = manifest(version)
    genuine = vendor.sign("bundle", payload)
    head, body, _ = parts(genuine)
    none = encode(canonical({"alg": "none", "typ": "companyos-bundle"}))
    refusals = ("UNSIGNED", "SIGNATURE", "MANIFEST", "MALFORMED")

    def with_manifest(text: str) -> bytes:
        return tar([Entry("manifest.jws", text.encode()), *MEMBERS])

    yield vector("no manifest", tar(MEMBERS), "UNSIGNED", "MANIFEST")
    plain = tar([Entry("manifest.json", canonical(payload)), *MEMBERS])
    yield vector("a plain JSON manifest instead", plain, "UNSIGNED", "MANIFEST")
    yield vector("plain JSON as manifest.jws", with_manifest(canonical(payload).decode()), *refusals)
    yield vector("signature part empty", with_manifest(f"{head}.{body}."), "UNSIGNED", "SIGNATURE")
    yield vector("signature part cut off", with_manifest(f"{head}.{body}"), *refusals)
    yield vector("alg none", with_manifest(f"{none}.{body}."), *refusals)
    yield vector("manifest.jws empty", with_manifest(""), *refusals)
    asks = manifest(version, signing={}, verify=False, skip_verification=True)
    yield vector("the manifest asks not to be verified", with_manifest(f"{head}.{encode(canonical(asks))}."), *refusals)


def tampered(vendor: Vendor, version: str) -> Iterator[Vector]:
    """AIR-08: each differs from a genuine bundle in one thing."""
    payload, (first, *rest) = manifest(version), MEMBERS
    genuine = signed(vendor, payload)
    yield from unsigned(vendor, version)
    own_kid = str(vendor.public_jwk("stranger").get("kid", "stranger"))
    ours = str(vendor.public_jwk()["kid"])
    other = signed(vendor, payload, key="stranger", header={"kid": own_kid})
    yield vector("another vendor's key", tar([other, *MEMBERS]), "KEY")
    stranger = signed(vendor, payload, key="stranger", header={"kid": ours})
    yield vector("another vendor's key under our kid", tar([stranger, *MEMBERS]), "SIGNATURE")
    own = {"jwk": dict(vendor.public_jwk("stranger")), "kid": own_kid}
    brings = signed(vendor, payload, key="stranger", header=own)
    yield vector("the bundle brings the key to verify it with", tar([brings, *MEMBERS]), "KEY")
    plain = Entry("keys/vendor.jwk", canonical(dict(vendor.public_jwk("stranger"))))
    inside = signed(vendor, manifest(version, [*MEMBERS, plain]), key="stranger", header={"kid": own_kid})
    yield vector("the key lies among the members", tar([inside, *MEMBERS, plain]), "KEY")
    licence = Entry("manifest.jws", vendor.sign("licence", payload).encode())
    yield vector("signed as a licence", tar([licence, *MEMBERS]), "SIGNATURE", "KEY", "MANIFEST")

    def altered(entry: Entry) -> Entry:
        return replace(entry, content=flip(entry.content, len(entry.content) // 2, 3))

    for index, entry in enumerate(MEMBERS):
        changed = [altered(e) if i == index else e for i, e in enumerate(MEMBERS)]
        yield vector(f"one bit of {entry.name}", tar([genuine, *changed]), "MEMBER_DIGEST")
    longer = replace(first, content=first.content + b"more")
    yield vector("a member longer than listed", tar([genuine, longer, *rest]), "SIZE", "MEMBER_DIGEST")
    shorter = replace(first, content=first.content[:-1])
    yield vector("a member shorter than listed", tar([genuine, shorter, *rest]), "SIZE", "MEMBER_DIGEST")
    forged = f"{genuine.content.decode().split('.')[0]}.{encode(canonical(manifest(version, [longer, *rest])))}"
    text = f"{forged}.{genuine.content.decode().split('.')[2]}"
    rewritten = Entry("manifest.jws", text.encode())
    yield vector("manifest rewritten for a changed member", tar([rewritten, longer, *rest]), "SIGNATURE")
    yield vector(
        "unlisted member at the end", tar([genuine, *MEMBERS, Entry("images/extra.oci", b"x")]), "MEMBER_EXTRA"
    )
    yield vector("unlisted member first", tar([genuine, Entry("images/extra.oci", b"x"), *MEMBERS]), "MEMBER_EXTRA")
    yield vector("unlisted empty member", tar([genuine, *MEMBERS, Entry("extra")]), "MEMBER_EXTRA")
    yield vector("member missing", tar([genuine, *rest]), "MEMBER_MISSING")
    yield vector("last member missing", tar([genuine, *MEMBERS[:-1]]), "MEMBER_MISSING")
    yield vector("no member at all", tar([genuine]), "MEMBER_MISSING")
    yield from duplicates(vendor, version, genuine)


def duplicates(vendor: Vendor, version: str, genuine: Entry) -> Iterator[Vector]:
    first = MEMBERS[0]
    evil = replace(first, content=b"evil" * 170)
    codes = ("MEMBER_DUPLICATE", "MEMBER_DIGEST", "SIZE")
    yield vector("the same member twice", tar([genuine, *MEMBERS, first]), "MEMBER_DUPLICATE")
    yield vector("the same name again with other content", tar([genuine, *MEMBERS, evil]), *codes)
    yield vector("other content first, then the listed one", tar([genuine, evil, *MEMBERS]), *codes)
    twice = Entry("manifest.jws", genuine.content)
    yield vector(
        "two manifests", tar([genuine, twice, *MEMBERS]), "MEMBER_DUPLICATE", "MEMBER_EXTRA", "MANIFEST", "PATH"
    )
    rows = manifest(version)
    rows["members"] = [*rows["members"], listed(evil, "image")]
    body = tar([signed(vendor, rows), *MEMBERS, evil])
    yield vector("the same name twice in the signed manifest", body, "MEMBER_DUPLICATE", "MANIFEST")
    for other in ("images/API.oci", "Images/api.oci"):
        folded = [*MEMBERS, Entry(other, b"folds onto api.oci")]
        yield vector(
            f"case-fold collision {other}", good(vendor, version, folded), "MEMBER_DUPLICATE", "PATH", "MANIFEST"
        )
    accents = [*MEMBERS, Entry("images/caf\u00e9", b"nfc"), Entry("images/cafe\u0301", b"nfd")]
    yield vector(
        "unicode normalisation collision", good(vendor, version, accents), "MEMBER_DUPLICATE", "PATH", "MANIFEST"
    )


# AIR-09

ESCAPES = ("PATH", "MEMBER_TYPE", "MANIFEST", "MALFORMED")


def archive_attacks(vendor: Vendor, version: str, mark: str, victim: Path) -> Iterator[Vector]:
    """Genuinely signed bundles whose members try to get out. `victim`: a folder of the suite with a file `keep` in
    it."""

    def attack(name: str, *entries: Entry, codes: tuple[str, ...] = ESCAPES) -> Vector:
        members = [*MEMBERS, *entries]
        return vector(name, good(vendor, version, members), *codes)

    evil = f"{mark}\n".encode()
    for depth in (1, 3, 4):  # no further than the run's own folder, should a deployment fall for it
        yield attack(f"{depth} levels up", Entry("../" * depth + mark, evil))
    yield attack("up from inside", Entry(f"images/../../../{mark}", evil))
    yield attack("dot segments", Entry(f"images/./../images/{mark}", evil))
    yield attack("doubled dots that survive a replace", Entry(f"....//....//{mark}", evil), codes=(*ESCAPES,))
    yield attack("absolute", Entry(str(victim / mark), evil))
    yield attack("absolute, two slashes", Entry(f"/{victim / mark}", evil))
    yield attack("empty name", Entry("", evil))
    windows = (f"C:\\{mark}", f"..\\..\\{mark}", f"images\\{mark}", f"C:{mark}", "CON", "nul.txt", f"images/x:{mark}")
    for name in (*windows, "images/trailing. "):
        yield attack(f"Windows name {name!r}", Entry(name, evil))
    yield attack("control characters", Entry(f"images/\n{mark}", evil))
    yield attack("a component of 300 bytes", Entry("images/" + "a" * 300, evil))
    yield attack("a path of 6000 bytes", Entry("images/" + "a/" * 3000 + mark, evil))
    for label, target in (
        ("relative", "../../../../" + mark),
        ("absolute", str(victim / "keep")),
        ("to the root", "/"),
        ("up and back in", "../../releases"),
        ("to itself", "images/link"),
    ):
        yield attack(f"symlink {label}", Entry("images/link", flag=SYMLINK, target=target))
    yield from _through_links(attack, mark, victim, evil)
    for flag, name in ((FIFO, "fifo"), (CHARACTER, "character device"), (DEVICE, "block device")):
        yield attack(name, Entry(f"images/{mark}", flag=flag))
    for mode, name in ((0o4755, "setuid"), (0o2755, "setgid"), (0o1777, "sticky")):
        yield attack(name, Entry(f"images/{mark}", evil, mode=mode))


def _through_links(attack: Any, mark: str, victim: Path, evil: bytes) -> Iterator[Vector]:
    """A first member makes the way, a second one walks it."""
    out = Entry("images/out", flag=SYMLINK, target=str(victim))
    yield attack("symlink to a folder, then a write through it", out, Entry(f"images/out/{mark}", evil))
    keep = Entry("images/out", flag=SYMLINK, target=str(victim / "keep"))
    yield attack("symlink, then a write over it", keep, Entry("images/out", evil), codes=(*ESCAPES, "MEMBER_DUPLICATE"))
    one = Entry("images/one", flag=SYMLINK, target=".")
    two = Entry("images/one/two", flag=SYMLINK, target="../../..")
    yield attack("chain of symlinks", one, two, Entry(f"images/one/two/{mark}", evil))
    deep = Entry("a/b/c", flag=SYMLINK, target="../../..")
    yield attack("symlink whose way out is only seen when resolved", deep, Entry(f"a/b/c/{mark}", evil))
    inside = Entry("images/hop", flag=SYMLINK, target="../packages")
    yield attack("write through a link that stays inside", inside, Entry(f"images/hop/{mark}", evil))
    for target in (str(victim / "keep"), "../../../../etc/hostname", "images/api.oci"):
        yield attack(f"hardlink to {Path(target).name}", Entry("images/hard", flag=HARDLINK, target=target))
    soft = Entry("images/soft", flag=SYMLINK, target=str(victim / "keep"))
    hard = Entry("images/hard", flag=HARDLINK, target="images/soft")
    twice = (*ESCAPES, "MEMBER_DUPLICATE")
    yield attack("hardlink to a symlink (CVE-2026-11940)", soft, hard, Entry("images/hard", evil), codes=twice)


SAFE_LINK = Entry("images/current.oci", flag=SYMLINK, target="api.oci")
SAFE_LINK_UP = Entry("images/policy.rego", flag=SYMLINK, target="../policies/authz.rego")
