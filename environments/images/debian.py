"""A Debian archive: its index of packages, which of two versions is newer, and what a package needs."""

from __future__ import annotations

import fnmatch
import itertools
import lzma
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from environments.images.errors import LockError

ARCHITECTURE = "amd64"
MIRROR = "http://deb.debian.org"
SUITES: Mapping[str, Sequence[tuple[str, str]]] = {  # (archive, distribution) that make up a suite of ours
    "trixie": (("debian", "trixie"), ("debian", "trixie-updates"), ("debian-security", "trixie-security")),
    "sid": (("debian", "sid"),),
}


@dataclass(frozen=True)
class Package:
    """One package of an index. `file`: path below the mirror, archive first; `needs`: groups of alternatives."""

    name: str
    version: str
    file: str
    sha256: str
    size_bytes: int
    needs: tuple[tuple[str, ...], ...]
    provides: tuple[str, ...]
    source: str


def mirror() -> str:
    """Where packages come from: CONFORM_DEBIAN_MIRROR, or the public mirror. Its first folder level is the archive."""
    return os.environ.get("CONFORM_DEBIAN_MIRROR", MIRROR).rstrip("/")


def index_urls(suite: str) -> list[tuple[str, str]]:
    """(archive, address) of each index of a suite."""
    if suite not in SUITES:
        raise LockError(
            f"there is no suite {suite!r}; suites are {', '.join(SUITES)}. See environments/images/debian.py"
        )
    tail = f"main/binary-{ARCHITECTURE}/Packages.xz"
    return [(archive, f"{mirror()}/{archive}/dists/{name}/{tail}") for archive, name in SUITES[suite]]


def read_index(archive: str, packed: bytes) -> Iterator[Package]:
    """The packages of a Packages.xz."""
    try:
        text = lzma.decompress(packed).decode("utf-8")
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise LockError(
            f"the package index of {archive} cannot be read ({error}). Check the mirror {mirror()}"
        ) from None
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
        if "Filename" in fields:
            yield Package(
                name=fields["Package"],
                version=fields["Version"],
                file=f"{archive}/{fields['Filename']}",
                sha256=fields["SHA256"],
                size_bytes=int(fields["Size"]),
                needs=_groups(fields.get("Pre-Depends", "")) + _groups(fields.get("Depends", "")),
                provides=tuple(name for group in _groups(fields.get("Provides", "")) for name in group),
                source=fields.get("Source", fields["Package"]).split()[0],
            )


def _groups(field: str) -> tuple[tuple[str, ...], ...]:
    groups = (tuple(each.strip() for each in group.split("|")) for group in field.split(","))
    return tuple(group for group in groups if group != ("",))


class Universe:
    """All packages of a suite, the newest version of each; resolves what some of them need."""

    def __init__(self, packages: Iterable[Package]) -> None:
        self.packages: dict[str, Package] = {}
        self._providers: dict[str, list[str]] = {}
        for each in packages:
            held = self.packages.get(each.name)
            if held is None or newer(each.version, held.version):
                self.packages[each.name] = each
        for each in self.packages.values():
            for provided in each.provides:
                self._providers.setdefault(provided.split()[0], []).append(each.name)

    def closure(self, wanted: Iterable[str], skip: Sequence[str] = ()) -> list[Package]:
        """`wanted` and all that they need, by name; `skip`: patterns of packages that are left out, with their needs.

        Of alternatives, one that is there already counts, else the first that exists. Raises LockError.
        """
        found: dict[str, Package] = {}
        waiting: list[tuple[str, tuple[str, ...]]] = [("the recipe", (name,)) for name in wanted]
        while waiting:
            who, alternatives = waiting.pop(0)
            names = [each.split()[0].split(":")[0] for each in alternatives]
            if any(self._stands_for(name, found) for name in names) or any(skipped(name, skip) for name in names):
                continue
            chosen = next(filter(None, map(self._choose, alternatives)), None)
            if chosen is None:
                raise LockError(
                    f"{who} needs {' | '.join(alternatives)}, which the suite does not have. Correct the recipe"
                )
            if not skipped(chosen.name, skip):
                found[chosen.name] = chosen
                waiting += [(chosen.name, group) for group in chosen.needs]
        return sorted(found.values(), key=lambda each: each.name)

    def _stands_for(self, name: str, found: Mapping[str, Package]) -> bool:
        return name in found or any(provider in found for provider in self._providers.get(name, ()))

    def _choose(self, need: str) -> Package | None:
        match = re.match(r"(\S+?)(?::\w+)?(?:\s*\((<<|<=|=|>=|>>)\s*(\S+)\))?$", need.strip())
        if not match:
            raise LockError(f"the dependency {need!r} cannot be read. Report it, with the suite")
        name, relation, version = match.groups()
        package = self.packages.get(name)
        if package is not None:
            return package if relation is None or satisfies(package.version, relation, version) else None
        return self.packages[min(self._providers[name])] if name in self._providers else None


def skipped(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def satisfies(version: str, relation: str, other: str) -> bool:
    order = compare(version, other)
    return {"<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0}[relation]


def newer(one: str, other: str) -> bool:
    return compare(one, other) > 0


def compare(one: str, other: str) -> int:
    """-1, 0 or 1, as dpkg orders versions (Debian policy 5.6.12)."""
    for left, right in zip(_parts(one), _parts(other), strict=True):
        order = _compare_part(left, right)
        if order:
            return order
    return 0


def _parts(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    return (epoch if colon else "0", upstream if dash else rest, revision if dash else "0")


def _compare_part(one: str, other: str) -> int:
    pairs = itertools.zip_longest(re.findall(r"(\D*)(\d*)", one), re.findall(r"(\D*)(\d*)", other), fillvalue=("", ""))
    for (text, number), (other_text, other_number) in pairs:
        left, right = _text_key(text), _text_key(other_text)
        if left != right:
            return -1 if left < right else 1
        if int(number or 0) != int(other_number or 0):
            return -1 if int(number or 0) < int(other_number or 0) else 1
    return 0


def _text_key(text: str) -> list[int]:
    """Letters before all else, a tilde before the end, the end before everything else."""
    ranks = [-1 if char == "~" else ord(char) if char.isalpha() else ord(char) + 256 for char in text]
    return [*ranks, 0]
