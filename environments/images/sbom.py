"""The SBOM in an image: CycloneDX, every component, and below each the files that it owns with their digests.

A file of the image that is in no component is nobody's. The one exception is the SBOM itself.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Iterable, Iterator

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component as Part
from cyclonedx.model.component import ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from environments.images.layer import FileFact, Layer
from environments.images.tree import Component, Tree

NAMESPACE = uuid.UUID("6f0a5b42-6c1e-5d0e-9a7e-0d5c3c1f6b11")  # of serial numbers, which follow from the contents
LINK = "companyos-conform:link"  # property of a file: the target of a symbolic link
KIND = "companyos-conform:kind"  # property of a component: deb, wheel, jar, go, model, file (ours)


def document(name: str, title: str, own: Tree, below: Iterable[Layer], created: str) -> bytes:
    """The SBOM as JSON: the files of the layers below and of the tree that it will lie in itself."""
    held: dict[Component, list[FileFact]] = {}
    for owner, fact in _facts(own, below):
        files = held.setdefault(owner, [])
        if fact is not None:
            files.append(fact)
    parts = [_part(owner, files) for owner, files in sorted(held.items(), key=lambda item: _order(item[0]))]
    about = Part(type=ComponentType.CONTAINER, name=f"companyos-conform/{name}", description=title, bom_ref=name)
    stamp = datetime.datetime.fromisoformat(created.replace("Z", "+00:00"))
    described = "".join(f"{owner.purl} {owner.sha256}\n" for owner in sorted(held, key=_order))
    serial = uuid.uuid5(NAMESPACE, name + described)
    bom = Bom(components=parts, serial_number=serial, metadata=BomMetaData(component=about, timestamp=stamp))
    bom.register_dependency(about, parts)
    return (JsonV1Dot6(bom).output_as_string(indent=1) + "\n").encode()


def _order(component: Component) -> tuple[str, str, str]:
    return component.kind, component.name, component.version


def _facts(own: Tree, below: Iterable[Layer]) -> Iterator[tuple[Component, FileFact | None]]:
    """(owner, file) of what is seen in the image: of two files at one path, the upper layer's."""
    seen = set(own.entries)
    for path, entry in sorted(own.entries.items()):
        if entry.kind != "dir":
            data = entry.data if isinstance(entry.data, bytes) else entry.data.read_bytes()
            digest = hashlib.sha256(data).hexdigest() if entry.kind == "file" else ""
            yield entry.owner, FileFact(path, digest, entry.target, 0)
    for part in own.parts:
        yield part, None
    for each in reversed(list(below)):
        for component in each.components:
            yield component, None
        for fact in each.files:
            if fact.path not in seen:
                seen.add(fact.path)
                yield each.components[fact.owner], fact


def _part(owner: Component, files: list[FileFact]) -> Part:
    def hashes(digest: str) -> list[HashType]:
        return [HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else []

    below = [
        Part(
            type=ComponentType.FILE,
            name=f"/{fact.path}",
            bom_ref=f"/{fact.path}",  # the library's own would be random
            hashes=hashes(fact.sha256),
            properties=[Property(name=LINK, value=fact.target)] if fact.target else [],
        )
        for fact in files
    ]
    return Part(
        type=ComponentType.FILE if owner.kind in ("file", "model") else ComponentType.LIBRARY,
        name=owner.name,
        version=owner.version,
        purl=PackageURL.from_string(owner.purl),
        hashes=hashes(owner.sha256),
        properties=[Property(name=KIND, value=owner.kind)],
        components=below,
        bom_ref=owner.purl,
    )
