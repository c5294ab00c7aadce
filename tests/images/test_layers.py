"""A layer depends on its tree alone; a Debian package is read as dpkg would, without its scripts."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import debs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.images import deb, layer, store
from environments.images.errors import BuildError
from environments.images.tree import Component, Entry, Tree, omitted, settled

OWNER = Component("deb", "thing", "1", "pkg:deb/debian/thing@1")
OTHER = Component("deb", "other", "2", "pkg:deb/debian/other@2")

names = st.text("abcdé._-", min_size=1, max_size=6).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
entries = st.one_of(
    st.builds(
        Entry, st.just("file"), st.sampled_from([0o644, 0o755]), st.sampled_from([OWNER, OTHER]), st.binary(max_size=64)
    ),
    st.builds(Entry, st.just("link"), st.just(0o777), st.just(OWNER), target=st.just("elsewhere")),
    st.builds(Entry, st.just("dir"), st.just(0o755), st.just(OTHER)),
)


def without_nesting(items: dict[str, Entry]) -> dict[str, Entry]:
    """Only what a package can have: nothing lies below a file."""
    return {
        path: entry
        for path, entry in items.items()
        if not any(items[above].kind != "dir" for above in items if path.startswith(above + "/"))
    }


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(paths, entries, max_size=8).map(without_nesting), st.randoms())
def test_the_bytes_depend_on_the_tree_and_not_on_the_order(tmp_path_factory, items, random) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("layers")
    order = list(items)
    made = []
    for number in range(2):
        tree = Tree()
        for path in sorted(order, key=lambda path: (items[path].kind != "dir", random.random())):
            tree.add(path, items[path])
        made.append(layer.write(tree, folder / str(number), "test"))
    assert made[0].diff_id == made[1].diff_id
    assert made[0].diff_id == f"sha256:{hashlib.sha256((folder / '0').read_bytes()).hexdigest()}"
    assert {fact.path for fact in made[0].files} == {path for path, entry in items.items() if entry.kind != "dir"}


def test_a_layer_lists_its_files_with_owner_and_digest(tmp_path: Path) -> None:
    tree = Tree()
    tree.file("usr/bin/thing", b"one", OWNER, 0o755)
    tree.file("etc/other", b"two", OTHER)
    tree.link("usr/bin/alias", "thing", OTHER)
    made = layer.write(tree, tmp_path / "layer", "test")
    found = {fact.path: (made.components[fact.owner].name, fact.sha256, fact.target) for fact in made.files}
    assert found == {
        "usr/bin/thing": ("thing", hashlib.sha256(b"one").hexdigest(), ""),
        "etc/other": ("other", hashlib.sha256(b"two").hexdigest(), ""),
        "usr/bin/alias": ("other", "", "thing"),
    }
    with tarfile.open(tmp_path / "layer") as tar:
        assert {member.mtime for member in tar} == {layer.MTIME_S}
        assert {(member.uid, member.gid, member.uname) for member in tar} == {(0, 0, "")}


def test_a_cached_layer_is_made_once_and_again_when_it_was_cut(cache: Path) -> None:
    times = []

    def make() -> Tree:
        times.append(1)
        tree = Tree()
        tree.file("etc/thing", b"x" * 5000, OWNER)
        tree.facts["payload_sha256"] = "f"
        return tree

    first = layer.cached("k", "test", make)
    assert (layer.cached("k", "test", make), len(times)) == (first, 1)
    assert first.facts == {"payload_sha256": "f"}
    with first.path.open("ab") as file:
        file.truncate(512)
    assert layer.cached("k", "test", make).diff_id == first.diff_id
    assert len(times) == 2
    assert not list((store.root() / "parts").iterdir())


def test_a_package_is_unpacked_without_privileges(tmp_path: Path) -> None:
    path = debs.deb(
        tmp_path / "thing_1_amd64.deb",
        debs.special("./", tarfile.DIRTYPE),
        debs.special("./bin/", tarfile.DIRTYPE),
        debs.file("./bin/su", b"root?", 0o4755),
        debs.special("./bin/su2", tarfile.LNKTYPE, "./bin/su"),
        debs.special("./usr/bin/alias", tarfile.SYMTYPE, "su"),
        debs.special("./dev/null", tarfile.CHRTYPE),
    )
    tree = deb.unpack(path, OWNER)
    files = {path: (entry.kind, oct(entry.mode), entry.data) for path, entry in tree.entries.items()}
    assert files["usr/bin/su"] == ("file", "0o755", b"root?")
    assert files["usr/bin/su2"] == ("file", "0o755", b"root?")
    assert tree.entries["usr/bin/alias"].target == "su"
    assert "dev/null" not in files


@pytest.mark.parametrize("mode", ["w:xz", "w:gz", "w"])
def test_each_compression_is_read(tmp_path: Path, mode: str) -> None:
    ending = {"w:xz": ".xz", "w:gz": ".gz", "w": ""}[mode]
    path = debs.deb(tmp_path / "a.deb", debs.file("./etc/a", b"1"), data=f"data.tar{ending}", mode=mode)
    assert deb.unpack(path, OWNER).entries["etc/a"].data == b"1"


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000))
def test_a_package_cut_anywhere_is_refused_with_its_name(tmp_path_factory, cut: int) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("debs")
    whole = debs.deb(folder / "whole.deb", debs.file("./etc/a", bytes(range(256)) * 8)).read_bytes()
    (folder / "cut.deb").write_bytes(whole[: cut % (len(whole) - 1)])
    with pytest.raises(BuildError, match=r"cut\.deb.*build again"):
        deb.unpack(folder / "cut.deb", OWNER)


@pytest.mark.parametrize("path", ["../etc/passwd", "./../etc/passwd", "usr/../../etc/passwd"])
def test_a_path_out_of_the_image_is_refused(path: str) -> None:
    with pytest.raises(BuildError, match="leaves the image"):
        settled(path)


def test_paths_are_below_usr_where_the_root_only_links_there() -> None:
    given = ["./bin/sh", "lib64/ld.so", "sbin", "./usr/bin/x", "library/x"]
    assert [settled(path) for path in given] == ["usr/bin/sh", "usr/lib64/ld.so", "sbin", "usr/bin/x", "library/x"]


def test_what_is_kept_is_kept_in_whatever_order_it_is_said() -> None:
    for patterns in (
        ["usr/share/doc/", "!usr/share/doc/*/copyright"],
        ["!usr/share/doc/*/copyright", "usr/share/doc/"],
    ):
        assert omitted("usr/share/doc/a/README", patterns)
        assert not omitted("usr/share/doc/a/copyright", patterns)
        assert not omitted("usr/bin/a", patterns)
