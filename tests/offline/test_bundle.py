"""Bundles: hostile archives, atomic application, versions that rise."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from offline_kit import VENDOR, code_of, node, tree

from environments.companyos import bundle, bundle_manifest, files, tarstream, upload
from environments.companyos.services import Services
from environments.companyos.vendor import bundle_manifest as manifest_of
from environments.companyos.vendor import file_member, link_member, tar

FILES = {"images/api.oci": b"api" * 300, "policies/authz.rego": b"package x\n", "models/m.gguf": b"m" * 2000}
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    found = node(tmp_path / "node")
    yield found
    found.store.close()


def offer(services: Services, raw: bytes) -> str | None:
    """Apply a bundle; the code of its refusal, None if it was taken."""
    path = upload.create(services)
    path.write_bytes(raw)
    try:
        return code_of(bundle.apply, services, path)
    finally:
        upload.discard(path)


def genuine(version: str = "1.0.0", contents: dict[str, bytes] | None = None, **more: Any) -> bytes:
    return VENDOR.build_bundle(None, version, contents or FILES, **more)


def parts(version: str = "2.0.0") -> Members:
    """The members of a genuine bundle, to be changed."""
    signed = VENDOR.sign("bundle", manifest_of(version, FILES))
    return [file_member("manifest.jws", signed), *(file_member(name, raw) for name, raw in FILES.items())]


def typed(path: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    return link_member(path, target, kind)


def moded(path: str, content: bytes, mode: int) -> tuple[tarfile.TarInfo, bytes]:
    info, raw = file_member(path, content)
    info.mode = mode
    return info, raw


def spliced(members: Members) -> Members:
    other = VENDOR.sign("bundle", manifest_of("2.0.0", {**FILES, "images/api.oci": b"x" * 900}))
    return [file_member("manifest.jws", other), *members[1:]]


TAMPERED: dict[str, tuple[Callable[[Members], Members], str]] = {
    "no manifest": (lambda m: m[1:], "UNSIGNED"),
    "plain manifest": (lambda m: [file_member("manifest.jws", b"{}"), *m[1:]], "MANIFEST"),
    "empty manifest": (lambda m: [file_member("manifest.jws", b""), *m[1:]], "UNSIGNED"),
    "signature cut": (lambda m: [file_member("manifest.jws", m[0][1].rpartition(b".")[0]), *m[1:]], "UNSIGNED"),
    "signature empty": (
        lambda m: [file_member("manifest.jws", m[0][1].rpartition(b".")[0] + b"."), *m[1:]],
        "UNSIGNED",
    ),
    "changed": (lambda m: [*m[:1], file_member("images/api.oci", b"apj" * 300), *m[2:]], "MEMBER_DIGEST"),
    "longer": (lambda m: [*m[:1], file_member("images/api.oci", b"api" * 301), *m[2:]], "SIZE"),
    "missing": (lambda m: m[:-1], "MEMBER_MISSING"),
    "extra": (lambda m: [*m, file_member("images/extra", b"")], "MEMBER_EXTRA"),
    "duplicate": (lambda m: [*m, m[1]], "MEMBER_DUPLICATE"),
    "two manifests": (lambda m: [*m, m[0]], "PATH"),
    "up": (lambda m: [*m, file_member("../x", b"")], "PATH"),
    "absolute": (lambda m: [*m, file_member("/tmp/x", b"")], "PATH"),
    "hardlink": (lambda m: [*m, typed("images/h", tarfile.LNKTYPE, "images/api.oci")], "MEMBER_TYPE"),
    "fifo": (lambda m: [*m, typed("images/f", tarfile.FIFOTYPE)], "MEMBER_TYPE"),
    "device": (lambda m: [*m, typed("images/d", tarfile.CHRTYPE)], "MEMBER_TYPE"),
    "folder": (lambda m: [*m, typed("images/d", tarfile.DIRTYPE)], "MEMBER_TYPE"),
    "link unlisted": (lambda m: [*m, typed("images/l", tarfile.SYMTYPE, "api.oci")], "MEMBER_EXTRA"),
    "link for a file": (lambda m: [*m[:1], typed("images/api.oci", tarfile.SYMTYPE, "x"), *m[2:]], "MEMBER_TYPE"),
    "setuid": (lambda m: [*m[:1], moded("images/api.oci", FILES["images/api.oci"], 0o4755), *m[2:]], "MEMBER_TYPE"),
    "spliced": (spliced, "MEMBER_DIGEST"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered_archives(services: Services, name: str) -> None:
    assert offer(services, genuine()) is None
    before = tree(services.config.data_dir / "releases")
    change, code = TAMPERED[name]
    assert offer(services, tar(change(parts()))) == f"BUNDLE_{code}"
    assert tree(services.config.data_dir / "releases") == before
    assert offer(services, tar(parts())) is None


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"key": "stranger"}, "KEY"),
        ({"manifest": {"version": "2", "created": "", "members": []}}, "MANIFEST"),
        ({"manifest": {**manifest_of("2.0.0", FILES), "version": "02.0.0"}}, "MANIFEST"),
        ({"contents": {"../x": b"x"}}, "PATH"),
        ({"contents": {"/etc/x": b"x"}}, "PATH"),
        ({"contents": {"a//b": b"x"}}, "PATH"),
        ({"contents": {"a/./b": b"x"}}, "PATH"),
        ({"contents": {"a\\b": b"x"}}, "PATH"),
        ({"contents": {"C:x": b"x"}}, "PATH"),
        ({"contents": {"nul.txt": b"x"}}, "PATH"),
        ({"contents": {"a.": b"x"}}, "PATH"),
        ({"contents": {"a" * 300: b"x"}}, "PATH"),
        ({"contents": {"manifest.jws": b"x"}}, "PATH"),
        ({"contents": {"a": b"x", "a/b": b"x"}}, "PATH"),
        ({"contents": {"a/b": b"x", "A/b": b"x"}}, "MEMBER_DUPLICATE"),
        ({"contents": {"a/b": b"x", "A/c": b"x"}}, "MEMBER_DUPLICATE"),
        ({"contents": {"caf\u00e9": b"x", "cafe\u0301": b"x"}}, "MEMBER_DUPLICATE"),
        ({"links": {"l": "/etc/passwd"}}, "PATH"),
        ({"links": {"images/l": "../../x"}}, "PATH"),
        ({"links": {"images/l": "nowhere"}}, "PATH"),
        ({"links": {"images/l": "l"}}, "PATH"),
        ({"links": {"a": "b", "b": "a"}}, "PATH"),
        ({"links": {"d/one": ".", "d/two": "one/../../.."}}, "PATH"),
        ({"links": {"images/hop": "../models"}, "contents": {**FILES, "images/hop/x": b"x"}}, "PATH"),
    ],
)
def test_hostile_manifests_though_signed(services: Services, more: dict[str, Any], code: str) -> None:
    outside = tree(services.config.data_dir)
    assert offer(services, genuine("2.0.0", **more)) == f"BUNDLE_{code}"
    after = tree(services.config.data_dir)
    assert {path for path in after if path not in outside} <= {"spool"}


def test_safe_links_are_unpacked_as_links(services: Services) -> None:
    links = {"images/current": "api.oci", "images/policy": "../policies/authz.rego", "latest": "images/current"}
    assert offer(services, genuine(links=links)) is None
    root = services.config.data_dir / "releases" / "current"
    assert (root / "latest").is_symlink()
    assert (root / "latest").read_bytes() == FILES["images/api.oci"]
    assert (root / "images/policy").read_bytes() == FILES["policies/authz.rego"]


def test_no_trust_root(tmp_path: Path) -> None:
    services = node(tmp_path, trust_roots=[])
    assert offer(services, genuine()) == "BUNDLE_NO_TRUST_ROOT"
    assert offer(services, b"") == "BUNDLE_NO_TRUST_ROOT"
    services.store.close()


def test_versions_rise_across_restarts(services: Services) -> None:
    assert bundle.status(services)["version"] is None
    assert offer(services, genuine("1.9.0")) is None
    assert offer(services, genuine("1.10.0")) is None
    assert offer(services, genuine("1.9.0")) == "BUNDLE_ROLLBACK"
    assert offer(services, genuine("1.10.0")) is None  # the same again
    assert offer(services, genuine("1.10.0", {"other": b""})) == "BUNDLE_ROLLBACK"
    assert offer(services, genuine("1.9.0", allow_rollback_to="1.8.0")) == "BUNDLE_ROLLBACK"
    (services.config.data_dir / "bundle-state.json").unlink()
    assert offer(services, genuine("1.9.9")) == "BUNDLE_ROLLBACK"  # the release in force is a floor too
    assert offer(services, genuine("1.9.0", allow_rollback_to="1.9.0")) is None
    assert bundle.status(services)["version"] == "1.9.0"
    assert offer(services, genuine("1.8.0")) == "BUNDLE_ROLLBACK"
    assert offer(services, genuine("1.9.1")) is None


@pytest.mark.parametrize("seam", ["write_member", "write_file", "switch", "remember"])
def test_a_crash_at_any_step_leaves_old_or_new(services: Services, seam: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offer(services, genuine("1.0.0")) is None

    class Crash(BaseException):
        pass

    def crash(*_: Any) -> None:
        raise Crash

    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr(bundle, seam, crash)
        offer(services, genuine("2.0.0", {"images/new": b"new"}))
    root = services.config.data_dir / "releases" / "current"
    found = bundle.status(services)["version"]
    assert found == ("2.0.0" if seam == "remember" else "1.0.0")
    assert (root / "images/new").exists() == (found == "2.0.0")
    assert (root / "images/api.oci").exists() == (found == "1.0.0")
    assert offer(services, genuine("2.0.0", {"images/new": b"new"})) is None
    assert bundle.status(services)["version"] == "2.0.0"
    assert not [name for name in tree(services.config.data_dir / "releases") if name.endswith(".tmp")]


def test_a_bundle_that_changes_while_it_is_applied(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    path = upload.create(services)
    raw = genuine()
    path.write_bytes(raw)
    unpack = bundle.unpack

    def swap(*arguments: Any) -> Path:
        path.write_bytes(raw.replace(b"apiapi", b"apjapi", 1))
        return unpack(*arguments)

    monkeypatch.setattr(bundle, "unpack", swap)
    assert code_of(bundle.apply, services, path) == "BUNDLE_MEMBER_DIGEST"
    assert bundle.status(services)["version"] is None


def test_cut_at_every_percent(services: Services) -> None:
    assert offer(services, genuine("1.0.0")) is None
    raw = tar(parts()).rstrip(b"\0")
    raw += bytes(-len(raw) % 512 + 1024)  # without padding to a record, so that every cut takes something away
    before = tree(services.config.data_dir / "releases")
    for percent in range(100):
        code = offer(services, raw[: len(raw) * percent // 100])
        assert code is not None and code.startswith("BUNDLE_"), (percent, code)
    assert tree(services.config.data_dir / "releases") == before
    assert offer(services, raw) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_never_applied_with_other_content(services: Services, data: st.DataObject) -> None:
    """Bits of header fields that mean nothing here (owner, time) are covered by the tar header's checksum."""
    raw = bytearray(genuine("3.0.0"))
    end = len(raw.rstrip(b"\0"))
    position, bit = data.draw(st.integers(0, end - 1)), data.draw(st.integers(0, 7))
    raw[position] ^= 1 << bit
    path = upload.create(services)
    path.write_bytes(bytes(raw))
    fd = os.open(path, os.O_RDONLY)
    try:
        code = code_of(bundle.verify, services, fd)
    finally:
        os.close(fd)
        upload.discard(path)
    inside_padding = code is None
    if inside_padding:  # the unused rest of a member's last block is nobody's content
        assert bytes(raw) != genuine("3.0.0")
        with tarfile.open(fileobj=io.BytesIO(bytes(raw))) as archive:
            found = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
        assert {name: found[name] for name in FILES} == FILES
    else:
        assert code is not None and code.startswith("BUNDLE_")


def test_tar_reader_agrees_with_tarfile(tmp_path: Path) -> None:
    long = "a/" * 60 + "x"
    info, _ = file_member("b", b"y" * 700)
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{form}.tar"
        with tarfile.open(path, "w", format=form) as made:
            made.addfile(file_member(long, b"x")[0], io.BytesIO(b"x"))
            made.addfile(info, io.BytesIO(b"y" * 700))
            made.addfile(link_member("l", "b")[0])
        with path.open("rb") as file:
            found = list(tarstream.members(file.fileno(), path.stat().st_size))
            assert [(m.path, m.kind, m.size, m.target) for m in found] == [
                (long, "file", 1, ""),
                ("b", "file", 700, ""),
                ("l", "symlink", 0, "b"),
            ]
            assert b"".join(tarstream.content(file.fileno(), found[1])) == b"y" * 700


@given(st.binary(max_size=2048))
def test_tar_reader_survives_anything(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "x.tar"
    path.write_bytes(raw)
    with path.open("rb") as file, contextlib.suppress(tarstream.TarError):
        list(tarstream.members(file.fileno(), len(raw)))


def test_unfinished_work_is_cleaned_at_start(services: Services) -> None:
    assert offer(services, genuine()) is None
    (services.config.data_dir / "releases" / "9.9.9.tmp").mkdir()
    left = upload.create(services)
    bundle.clean(services)
    upload.clean(services)
    assert not left.exists()
    assert bundle.status(services)["version"] == "1.0.0"
    assert not list((services.config.data_dir / "releases").glob("*.tmp"))
    files.write_atomic(left, b"x")
    assert bundle_manifest.fold("STRASSE") == bundle_manifest.fold("straße")
