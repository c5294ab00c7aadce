"""Versions are ordered as dpkg orders them; what a package needs is found, or the error says what is missing."""

from __future__ import annotations

import lzma
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.images.debian import Universe, compare, read_index, satisfies
from environments.images.errors import LockError

ORDERED = [
    "0~~",
    "0~~a",
    "0~",
    "0",
    "0a",
    "0+b",
    "1.0~rc1-1",
    "1.0-1",
    "1.0-1+deb13u1",
    "1.0-1.1",
    "1.0-2",
    "1.0.1-1",
    "1:0.1",
]
versions = st.from_regex(r"([0-9]:)?[0-9][0-9a-z.+~]{0,6}(-[0-9a-z+.~]{1,4})?", fullmatch=True)

INDEX = """Package: app
Version: 2.0-1
Filename: pool/app_2.0-1.deb
SHA256: {sha}
Size: 10
Pre-Depends: base
Depends: lib (>= 1.5), tool | other-tool, mailer, perl:any

Package: app
Version: 1.9-1
Filename: pool/app_1.9-1.deb
SHA256: {sha}
Size: 10

Package: lib
Version: 1.5-3
Filename: pool/lib.deb
SHA256: {sha}
Size: 10
Depends: base

Package: other-tool
Version: 1
Filename: pool/other.deb
SHA256: {sha}
Size: 10

Package: base
Version: 1
Filename: pool/base.deb
SHA256: {sha}
Size: 10

Package: postfix
Version: 3
Filename: pool/postfix.deb
SHA256: {sha}
Size: 10
Provides: mailer (= 1), other
Description: several
 lines
 Depends: nothing

Package: perl
Version: 5
Filename: pool/perl.deb
SHA256: {sha}
Size: 10
Depends: lots
""".format(sha="a" * 64)


@pytest.fixture
def universe() -> Universe:
    return Universe(read_index("debian", lzma.compress(INDEX.encode())))


def test_versions_of_known_order() -> None:
    for number, one in enumerate(ORDERED):
        for other_number, other in enumerate(ORDERED):
            expected = (number > other_number) - (number < other_number)
            assert compare(one, other) == expected, (one, other)


@given(versions, versions, versions)
def test_versions_are_totally_ordered(one: str, other: str, third: str) -> None:
    assert compare(one, one) == 0
    assert compare(one, other) == -compare(other, one)
    if compare(one, other) <= 0 and compare(other, third) <= 0:
        assert compare(one, third) <= 0


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="no dpkg here to compare with")
def test_versions_are_ordered_as_dpkg_orders_them() -> None:
    for one, other in zip(ORDERED, ["0", "1.0-1", "0~", "1.0~", "1", "1:0", "1.0", "1.0.1", *ORDERED], strict=False):
        for relation, word in (("<<", "lt"), ("<=", "le"), ("=", "eq"), (">=", "ge"), (">>", "gt")):
            theirs = subprocess.run(["dpkg", "--compare-versions", one, word, other], check=False).returncode == 0
            assert satisfies(one, relation, other) == theirs, (one, relation, other)


def test_the_closure_has_the_newest_and_all_that_it_needs(universe: Universe) -> None:
    found = universe.closure(["app"], skip=["perl"])
    assert [(each.name, each.version) for each in found] == [
        ("app", "2.0-1"),
        ("base", "1"),
        ("lib", "1.5-3"),
        ("other-tool", "1"),
        ("postfix", "3"),
    ]
    assert found[0].file == "debian/pool/app_2.0-1.deb"


def test_what_is_skipped_takes_its_needs_along(universe: Universe) -> None:
    assert [each.name for each in universe.closure(["app"], skip=["perl", "mailer", "*tool"])] == ["app", "base", "lib"]


def test_what_cannot_be_had_is_named(universe: Universe) -> None:
    with pytest.raises(LockError, match="perl needs lots, which the suite does not have"):
        universe.closure(["app"])
    with pytest.raises(LockError, match="the recipe needs nonsense"):
        universe.closure(["nonsense"])


def test_a_version_that_is_too_old_does_not_count() -> None:
    old = INDEX.replace("Version: 1.5-3", "Version: 1.4-3")
    universe = Universe(read_index("debian", lzma.compress(old.encode())))
    with pytest.raises(LockError, match=r"app needs lib \(>= 1.5\)"):
        universe.closure(["app"], skip=["perl"])


def test_an_index_that_is_none_is_refused() -> None:
    with pytest.raises(LockError, match="the package index of debian cannot be read"):
        list(read_index("debian", b"<html>"))
