"""SEC-08: what is in an image is in its SBOM, and none of it has a known critical flaw that nobody has judged."""

from __future__ import annotations

from environments.contract import (
    Capability,
    ContainerFacts,
    Deployment,
    Evidence,
    ImageFile,
    Node,
    requirement,
    vacuous,
)
from suites.exchange import conclude
from suites.security.sbom import (
    FOLDER,
    SUFFIX,
    Part,
    advisories,
    judge_complete,
    judge_flaws,
    judge_versions,
    metadata_version,
    parts,
    statements,
)


def _images(node: Node) -> dict[str, ContainerFacts]:
    """One running container of each image in the site."""
    found = {each.image_id: each for each in node.containers() if each.processes}
    if not found:
        vacuous("no container runs")
    return {each.service or each.name: each for each in found.values()}


def _sbom(node: Node, container: ContainerFacts, files: list[ImageFile]) -> list[Part]:
    documents = [each.path for each in files if each.path.startswith(FOLDER) and each.path.endswith(SUFFIX)]
    assert len(documents) == 1, f"{container.name}: {len(documents)} SBOMs in {FOLDER}"
    return parts(node.image_file(container, documents[0]))


def _told(node: Node, container: ContainerFacts, files: list[ImageFile]) -> dict[str, str]:
    """File -> version of the Python packages in the image, by their own METADATA."""
    paths = [each.path for each in files if each.path.endswith(".dist-info/METADATA")]
    return {path: metadata_version(node.image_file(container, path)) for path in paths}


@requirement("SEC-08", needs=(Capability.CONTAINERS,))
def test_sbom_is_complete_and_true(deployment: Deployment, evidence: Evidence) -> None:
    """Every file of each image is a component's with the digest that the SBOM has, every file in it is there, and
    packages that tell their version tell the one in it."""
    node = deployment.subject
    problems: list[str] = []
    counts = {}
    for service, container in _images(node).items():
        files = list(node.image_files(container))
        components = _sbom(node, container, files)
        told = _told(node, container, files)
        problems += [f"{service}: {problem}" for problem in judge_complete(files, components)]
        if told:
            problems += [f"{service}: {problem}" for problem in judge_versions(components, told)]
        counts[service] = {"files": len(files), "components": len(components), "versions told": len(told)}
    evidence.add("images", counts)
    conclude(evidence, problems, "files = SBOM, versions as told", f"{counts}")


@requirement("SEC-08", needs=(Capability.CONTAINERS,))
def test_no_component_has_an_unanswered_critical_flaw(deployment: Deployment, evidence: Evidence) -> None:
    """No component of any image is of a release with a known critical flaw, but for those that VEX answers."""
    node = deployment.subject
    known, vex = advisories(), statements()
    problems: list[str] = []
    looked = 0
    for service, container in _images(node).items():
        components = _sbom(node, container, list(node.image_files(container)))
        looked += len(components)
        problems += [f"{service}: {problem}" for problem in judge_flaws(components, known, vex)]
    evidence.add("advisories", [each.id for each in known])
    evidence.add("vex", {f"{flaw} {package}": status for (flaw, package), status in vex.items()})
    conclude(evidence, problems, "none", f"{looked} components against {len(known)} critical flaws: none unanswered")
