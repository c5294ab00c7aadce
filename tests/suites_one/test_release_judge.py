"""The judge of FUN-02 and the manifest that it rests on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.companyos import release
from environments.companyos.vendor import VendorAuthority
from environments.contract import Artifact, Vacuous
from environments.drivers.release import sign_manifest
from suites.functional.release import judge_release, tree_digest, verified

CODE = Artifact("payload", "companyos", "sha256:aa")
POLICY = Artifact("policy", "authz", "sha256:bb")
MODEL = Artifact("model", "slm.gguf", "sha256:cc")
RELEASE = [CODE, POLICY, MODEL]


def test_nodes_that_run_the_release_pass() -> None:
    reported = {"saas": [CODE, POLICY], "edge-1": [CODE, POLICY, MODEL]}
    assert judge_release(RELEASE, reported, {"saas/data": [CODE, POLICY], "edge-1/slm.gguf": [MODEL]}) == []


def test_what_was_built_again_is_seen_in_the_report_and_in_what_runs() -> None:
    other = Artifact("payload", "companyos", "sha256:dd")
    told = judge_release(RELEASE, {"edge-1": [other, POLICY]}, {"edge-1/edge": [CODE]})
    assert told == ["edge-1 reports payload companyos sha256:dd, released was sha256:aa"]
    silent = judge_release(RELEASE, {"edge-1": [CODE, POLICY]}, {"edge-1/edge": [other]})
    assert silent == ["edge-1/edge runs payload companyos sha256:dd, released was sha256:aa"]


def test_what_is_not_in_the_release_or_not_reported_is_a_problem() -> None:
    extra = Artifact("model", "other.gguf", "sha256:ee")
    problems = judge_release(RELEASE, {"a": [CODE, extra]}, {"a/data": [CODE]})
    assert problems == ["a reports model other.gguf, which is not in the release", "a does not report its policy"]


@pytest.mark.parametrize(
    ("manifest", "reported", "observed"),
    [
        ([], {"a": [CODE]}, {"a": [CODE]}),
        (RELEASE, {}, {"a": [CODE]}),
        (RELEASE, {"a": [CODE]}, {}),
        (RELEASE, {"a": [CODE]}, {"a": []}),
    ],
)
def test_nothing_seen_is_vacuous(manifest: list[Artifact], reported: dict, observed: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(Vacuous):
        judge_release(manifest, reported, observed)


def test_a_manifest_counts_only_with_the_vendors_signature_and_type() -> None:
    vendor = VendorAuthority()
    manifest = sign_manifest(vendor, "1.4.0", images={"companyos": "sha256:ff"}, models={"m.gguf": "sha256:cc"})
    listed = verified(manifest, vendor.public_jwk())
    assert {each.kind for each in listed} == {"payload", "policy", "image", "model"}
    with pytest.raises(AssertionError, match="not signed by the vendor"):
        verified(manifest, VendorAuthority().public_jwk())
    with pytest.raises(AssertionError, match="something else"):
        verified(vendor.sign("policy", {"artifacts": []}), vendor.public_jwk())
    with pytest.raises(AssertionError, match="not a signed document"):
        verified("a.b", vendor.public_jwk())


@given(
    st.dictionaries(st.text("abc/", min_size=1, max_size=6).map(lambda s: s.strip("/") or "x"), st.binary(max_size=9))
)
def test_product_and_suite_take_the_same_digest_of_a_tree(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for name, content in tree.items():
        path = root / "/".join(f"{part}.d" for part in name.split("/") if part) / "file"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "x.pyc").write_bytes(b"cached")
    found = release.files(root)
    assert tree_digest(root) == (release.digest_of(found) if found else None)


def test_the_release_of_a_checkout_is_that_of_its_code() -> None:
    assert release.payload_digest() == tree_digest(Path(release.__file__).parent)
