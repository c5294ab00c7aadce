"""SEC-08: an image against its SBOM (CycloneDX), and its components against critical flaws, with VEX statements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from univers.versions import DebianVersion, GolangVersion, InvalidVersion, MavenVersion, PypiVersion

from environments.contract import ImageFile, vacuous

FOLDER, SUFFIX = "/usr/share/sbom/", ".cdx.json"
HERE = Path(__file__).parent
ORDERS = {"deb": DebianVersion, "pypi": PypiVersion, "golang": GolangVersion, "maven": MavenVersion}
ANSWERED = ("not_affected", "fixed")  # of a VEX statement; `affected` and `under_investigation` are no answer


@dataclass(frozen=True)
class Part:
    """A component of an SBOM. files: path -> SHA-256, empty for a link."""

    name: str
    version: str
    purl: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Advisory:
    """A critical flaw of a package (a purl without version). ranges: (introduced, fixed), fixed empty: never."""

    id: str
    summary: str
    package: str
    ranges: tuple[tuple[str, str], ...]


def parts(raw: bytes) -> list[Part]:
    """The components of a CycloneDX document. AssertionError: it is none."""
    try:
        document = json.loads(raw)
    except ValueError:
        raise AssertionError("the SBOM is not JSON") from None
    assert isinstance(document, dict) and document.get("bomFormat") == "CycloneDX", "the SBOM is not CycloneDX"
    found = []
    for each in document.get("components") or []:
        files = {
            str(file.get("name")): next((h["content"] for h in file.get("hashes") or [] if h["alg"] == "SHA-256"), "")
            for file in each.get("components") or []
        }
        found.append(Part(str(each.get("name")), str(each.get("version") or ""), str(each.get("purl") or ""), files))
    return found


def judge_complete(files: Sequence[ImageFile], components: Sequence[Part]) -> list[str]:
    """Every file of the image is a component's, with its digest, and the other way round; components are named.

    Vacuous where there were no files, or the SBOM has no component."""
    seen = {each.path: each for each in files if not each.path.startswith(FOLDER)}
    if not seen or not components:
        vacuous(f"{len(seen)} files in the image, {len(components)} components in the SBOM")
    listed = {path: (sha256, part) for part in components for path, sha256 in part.files.items()}
    problems = [
        f"undeclared: {path} ({each.size_bytes} bytes{', executable' if each.executable else ''})"
        for path, each in seen.items()
        if path not in listed
    ]
    problems += [
        f"other than declared: {path} of {listed[path][1].name}"
        for path, each in seen.items()
        if path in listed and listed[path][0] != each.sha256
    ]
    problems += [
        f"declared and not there: {path}" for path, (sha256, _) in listed.items() if sha256 and path not in seen
    ]
    problems += [
        f"component {part.name or '?'} has no version or purl"
        for part in components
        if not (part.version and part.purl)
    ]
    return problems


def judge_versions(components: Sequence[Part], observed: Mapping[str, str]) -> list[str]:
    """`observed`: file of metadata -> the version in it, which is that of the component that the file is of (of a
    Debian package: its upstream version). Vacuous where no metadata was found."""
    if not observed or not components:
        vacuous(f"{len(observed)} components told their version")
    owners = {path: part for part in components for path in part.files}
    problems = []
    for path, version in observed.items():
        owner = owners.get(path)
        if owner is None or version not in (owner.version, upstream(owner.version)):
            listed = "is in no component" if owner is None else f"is of {owner.name} {owner.version} in the SBOM"
            problems.append(f"{path} tells version {version} and {listed}")
    return problems


def upstream(version: str) -> str:
    """Of a Debian version, without epoch, revision and what was left out of the source."""
    bare = version.rpartition(":")[2]
    return (bare.rpartition("-")[0] or bare).partition("+")[0]


def metadata_version(raw: bytes) -> str:
    """The version in the METADATA of a Python package."""
    return str(HeaderParser().parsestr(raw.decode("utf-8", "replace"))["Version"])


def advisories(path: Path = HERE / "advisories.json") -> list[Advisory]:
    found = []
    for each in json.loads(path.read_text(encoding="utf-8"))["advisories"]:
        ranges: list[tuple[str, str]] = []
        for event in each["events"]:
            if "introduced" in event:
                ranges.append((event["introduced"], ""))
            else:
                ranges[-1] = (ranges[-1][0], event["fixed"])
        found.append(Advisory(each["id"], each["summary"], each["package"], tuple(ranges)))
    return found


def statements(path: Path = HERE / "vex.json") -> dict[tuple[str, str], str]:
    """(flaw, package) -> status, of an OpenVEX document."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {
        (each["vulnerability"]["name"], product["@id"]): each["status"]
        for each in document["statements"]
        for product in each["products"]
    }


def affected(part: Part, advisory: Advisory) -> bool:
    """Whether the component is of a release with the flaw. A version that cannot be ordered counts as one."""
    package = part.purl.partition("@")[0]
    if package.lower() != advisory.package.lower():
        return False
    order = ORDERS[package.removeprefix("pkg:").partition("/")[0]]
    try:
        here = order(part.version)
        return any(
            (low == "0" or here >= order(low)) and (not high or here < order(high)) for low, high in advisory.ranges
        )
    except (InvalidVersion, ValueError, TypeError):
        return True


def judge_flaws(components: Sequence[Part], known: Sequence[Advisory], vex: Mapping[tuple[str, str], str]) -> list[str]:
    """No component has a known critical flaw, unless a VEX statement says that it does not matter or is fixed.

    Vacuous where there is nothing to judge or to judge it by."""
    if not components or not known:
        vacuous(f"{len(components)} components, {len(known)} advisories")
    return [
        f"{part.name} {part.version}: {advisory.id} ({advisory.summary})"
        for part in components
        for advisory in known
        if affected(part, advisory) and vex.get((advisory.id, advisory.package)) not in ANSWERED
    ]
