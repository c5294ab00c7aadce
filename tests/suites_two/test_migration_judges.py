"""The migration judges, and archives as the suite rewrites them."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from environments.contract import Vacuous
from suites.licensing.compact import canonical, join
from suites.migration import archive, judges
from suites.migration.judges import Offered
from tests.suites_two.seal import Seal

Docs = dict[str, list[dict[str, Any]]]


def held(**entity: Any) -> Docs:
    first = {"id": "1", "kind": "k", "labels": [], "props": {"none": None, "empty": "", "u": "e\u0301"}, "version": 1}
    return {
        "entity": [{**first, "createdBy": "admin", **entity}, {**first, "id": "2", "createdBy": "admin"}],
        "relationship": [{"id": "3", "srcId": "1", "dstId": "2", "type": "T", "props": {}}],
        "investigation": [{"id": "4", "name": "n", "description": None, "status": "ACTIVE", "entityIds": ["1"]}],
    }


@pytest.mark.parametrize(
    "target",
    [
        held(props={"empty": "", "u": "e\u0301"}),  # a null was dropped
        held(props={"none": None, "empty": None, "u": "e\u0301"}),  # empty became null
        held(props={"none": None, "empty": "", "u": "\u00e9"}),  # text was normalised
        held(version=2),
        held(labels=["x"]),
        {**held(), "relationship": []},
        {**held(), "investigation": [{**held()["investigation"][0], "description": ""}]},
        {**held(), "entity": held()["entity"][:1]},
        {},
    ],
)
def test_differences_are_told(target: Docs) -> None:
    assert judges.judge_equal(held(), held()) == []
    assert judges.judge_equal(held(), target)


def test_order_and_server_times_do_not_matter() -> None:
    other = held(createdAt="later")
    other["entity"].reverse()
    assert judges.judge_equal(held(), other) == []


def test_the_report_must_agree() -> None:
    counts = {"entity": 2, "relationship": 1, "investigation": 1, "run": 0}
    assert judges.judge_report({"verified": True, "counts": counts}, held()) == []
    assert judges.judge_report({"verified": False, "counts": counts}, held())
    assert judges.judge_report({"verified": True, "counts": {**counts, "entity": 1}}, held())
    assert judges.judge_report({}, held())


def test_only_own() -> None:
    assert judges.judge_only_own(b"own", ["own"], {"foreign": "theirs"}, {"key": "secret"}) == []
    assert judges.judge_only_own(b"own theirs", ["own"], {"foreign": "theirs"}, {})
    assert judges.judge_only_own(b"own secret", ["own"], {"foreign": "theirs"}, {"key": "secret"})
    for own, foreign in (([], {"f": "theirs"}), (["own"], {}), (["missing"], {"f": "theirs"})):
        with pytest.raises(Vacuous):
            judges.judge_only_own(b"own", own, foreign, {})


def offered(status: int, code: str | None, changed: bool = False) -> Offered:
    return Offered("x", "IMPORT_VERSION", status, code, {"rows": "1"}, {"rows": "2" if changed else "1"})


def test_refused() -> None:
    assert judges.judge_refused([offered(422, "IMPORT_VERSION")]) == []
    assert judges.judge_refused([offered(200, None)])
    assert judges.judge_refused([offered(500, "IMPORT_VERSION")])
    assert judges.judge_refused([offered(422, "IMPORT_DIGEST")])
    assert judges.judge_refused([offered(422, "IMPORT_VERSION", changed=True)])


def test_nothing_observed_is_vacuous() -> None:
    for source in ({}, {**held(), "investigation": []}):
        with pytest.raises(Vacuous):
            judges.judge_equal(source, held())
    with pytest.raises(Vacuous):
        judges.judge_refused([])
    with pytest.raises(Vacuous):
        judges.judge_refused([Offered("x", "IMPORT_VERSION", 422, "IMPORT_VERSION", {}, {})])


def sample() -> bytes:
    manifest = join({"alg": "EdDSA"}, canonical({"product_version": "1.4.0", "schema_version": 1}), bytes(64))
    return archive.pack("export.jws", manifest, {"entity.jsonl": b'{"id":"1"}\n', "run.jsonl": b""})


def test_archives_are_read_and_signed_anew() -> None:
    found = archive.read(sample())
    assert found.rows("entity") == [{"id": "1"}] and found.rows("investigation") == []
    again = archive.read(found.resigned(Seal(), product_version="9.9.9", schema_version=None))
    assert again.manifest == {"product_version": "9.9.9"} and again.members == found.members


def test_hostile_archives_are_not_read() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        link = tarfile.TarInfo("entity.jsonl")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(link)
    for raw in (buffer.getvalue(), b"no tar", archive.pack("entity.jsonl", "", {})):
        with pytest.raises(AssertionError):
            archive.read(raw)
