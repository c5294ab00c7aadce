"""The judges of SEC-08: completeness, versions, flaws and the statements that answer them."""

from __future__ import annotations

import json

import pytest

from environments.contract import ImageFile, Vacuous
from suites.security.sbom import (
    ANSWERED,
    ORDERS,
    Advisory,
    Part,
    advisories,
    affected,
    judge_complete,
    judge_flaws,
    judge_versions,
    metadata_version,
    parts,
    statements,
)

TOOL = ImageFile("/usr/bin/tool", 10, True, "aa")
SBOM = ImageFile("/usr/share/sbom/x.cdx.json", 10, False, "zz")
OWNER = Part("tool", "1.0", "pkg:deb/debian/tool@1.0", {"/usr/bin/tool": "aa", "/usr/bin/link": ""})


def test_an_image_that_is_its_sbom_passes() -> None:
    assert judge_complete([TOOL, SBOM], [OWNER]) == []


def test_each_difference_is_told() -> None:
    extra = ImageFile("/usr/bin/nc", 5, True, "bb")
    assert judge_complete([TOOL, extra], [OWNER]) == ["undeclared: /usr/bin/nc (5 bytes, executable)"]
    other = ImageFile("/usr/bin/tool", 10, True, "cc")
    assert judge_complete([other], [OWNER]) == ["other than declared: /usr/bin/tool of tool"]
    assert judge_complete([extra], [OWNER])[1] == "declared and not there: /usr/bin/tool"
    nameless = Part("tool", "", "", OWNER.files)
    assert judge_complete([TOOL], [nameless]) == ["component tool has no version or purl"]


def test_versions_are_those_that_packages_tell() -> None:
    assert judge_versions([OWNER], {"/usr/bin/tool": "1.0"}) == []
    assert judge_versions([OWNER], {"/usr/bin/tool": "2.0", "/other": "3"}) == [
        "/usr/bin/tool tells version 2.0 and is of tool 1.0 in the SBOM",
        "/other tells version 3 and is in no component",
    ]
    debian = Part("python3-tool", "1:2.3.0+dfsg-1", "pkg:deb/debian/python3-tool@1:2.3.0+dfsg-1", {"/m": "aa"})
    assert judge_versions([debian], {"/m": "2.3.0"}) == []
    assert judge_versions([debian], {"/m": "2.3"}) != []
    assert metadata_version(b"Metadata-Version: 2.4\nName: a_b\nVersion: 1.2\n\nText") == "1.2"


@pytest.mark.parametrize(
    ("purl", "version", "flaw", "has_it"),
    [
        ("pkg:pypi/pyyaml@5.3.1", "5.3.1", "CVE-2020-14343", True),
        ("pkg:pypi/pyyaml@6.0.3", "6.0.3", "CVE-2020-14343", False),
        ("pkg:deb/debian/liblzma5@5.6.0-0.2?arch=amd64", "5.6.0-0.2", "CVE-2024-3094", True),
        ("pkg:deb/debian/liblzma5@5.8.1-1", "5.8.1-1", "CVE-2024-3094", False),
        ("pkg:deb/debian/liblzma5@5.4.1-0.2", "5.4.1-0.2", "CVE-2024-3094", False),
        ("pkg:deb/debian/libdb5.3t64@5.3.28+dfsg2-9", "5.3.28+dfsg2-9", "CVE-2019-8457", True),
        ("pkg:golang/stdlib@1.22.3", "1.22.3", "CVE-2024-24790", True),
        ("pkg:golang/stdlib@1.21.13", "1.21.13", "CVE-2024-24790", False),
        ("pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1", "2.14.1", "CVE-2021-44228", True),
        ("pkg:maven/org.apache.logging.log4j/log4j-core@2.25.3", "2.25.3", "CVE-2021-44228", False),
    ],
)
def test_releases_with_a_flaw_are_told_from_those_without(purl: str, version: str, flaw: str, has_it: bool) -> None:
    advisory = next(each for each in advisories() if each.id == flaw)
    assert affected(Part(purl, version, purl, {}), advisory) is has_it


def test_a_version_that_cannot_be_ordered_counts_as_affected() -> None:
    advisory = next(each for each in advisories() if each.package == "pkg:pypi/pyyaml")
    assert affected(Part("pyyaml", "?", "pkg:pypi/pyyaml@?", {}), advisory)


def test_a_flaw_fails_until_a_statement_answers_it() -> None:
    part = Part("tool", "1.0", "pkg:deb/debian/tool@1.0", {})
    known = [Advisory("CVE-1", "bad", "pkg:deb/debian/tool", (("0", ""),))]
    key = ("CVE-1", "pkg:deb/debian/tool")
    assert judge_flaws([part], known, {}) == ["tool 1.0: CVE-1 (bad)"]
    assert judge_flaws([part], known, {key: "under_investigation"}) == ["tool 1.0: CVE-1 (bad)"]
    for status in ANSWERED:
        assert judge_flaws([part], known, {key: status}) == []


def test_the_published_files_are_of_the_shape_that_is_read() -> None:
    known = advisories()
    assert len({each.id for each in known}) == len(known) >= 10
    for each in known:
        kind = each.package.removeprefix("pkg:").partition("/")[0]
        assert all(ORDERS[kind](low) for low, _ in each.ranges if low != "0")
        assert all(ORDERS[kind](high) for _, high in each.ranges if high)
    named = {(each.id, each.package) for each in known}
    assert statements().keys() <= named, "a statement about a flaw that nobody asks for"


def test_an_sbom_is_read_and_what_is_none_is_refused() -> None:
    document = {
        "bomFormat": "CycloneDX",
        "components": [
            {
                "name": "tool",
                "version": "1.0",
                "purl": "pkg:deb/debian/tool@1.0",
                "components": [
                    {"name": "/usr/bin/tool", "hashes": [{"alg": "SHA-256", "content": "aa"}]},
                    {"name": "/usr/bin/link"},
                ],
            }
        ],
    }
    assert parts(json.dumps(document).encode()) == [OWNER]
    for raw in (b"", b"{}", b"[]"):
        with pytest.raises(AssertionError, match="SBOM"):
            parts(raw)


def test_nothing_to_look_at_is_vacuous() -> None:
    for judge in (
        lambda: judge_complete([], [OWNER]),
        lambda: judge_complete([SBOM], [OWNER]),
        lambda: judge_complete([TOOL], []),
        lambda: judge_versions([OWNER], {}),
        lambda: judge_flaws([], advisories(), {}),
        lambda: judge_flaws([OWNER], [], {}),
    ):
        with pytest.raises(Vacuous):
            judge()
