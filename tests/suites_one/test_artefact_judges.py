"""Judges of artefacts, jobs, removed tenants and what is written: each accepts a good history and rejects mutants."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from environments.contract import Response, TransportError, Vacuous
from suites.isolation.artefacts import TRICKS, Artefact, Tried, judge_like_absent, judge_refused, spellings, tampered
from suites.isolation.jobs import Made, Ran, judge_archives, judge_runs
from suites.isolation.leaving import (
    Scan,
    judge_counts,
    judge_files,
    judge_nothing_seen,
    judge_shut_out,
    judge_sight,
    judge_tables,
    judge_written,
    scan_files,
)
from suites.isolation.provoking import judge_error_texts

CANARIES = {"one": "canary-of-one-0123456789", "two": "canary-of-two-0123456789"}
ABSENT = Response(404, {}, b'{"error":{"code":"NOT_FOUND","message":"no"}}', 0.0)
DENIED = Response(401, {}, b'{"error":{"code":"UNAUTHENTICATED","message":"no"}}', 0.0)
SERVED = Response(200, {}, CANARIES["one"].encode(), 0.0)


def artefact(tenant: str, area: str, name: str = "a.tar") -> Artefact:
    key = f"{'0' * 8}-0000-4000-8000-{area * 12}/{name}"
    return Artefact(tenant, CANARIES[tenant], key, f"/v1/objects/{area * 32}/{key}?expires=1000&signature=abcdef")


# addresses


def test_an_answer_like_that_of_an_absent_object_is_good() -> None:
    assert judge_like_absent(Tried(ABSENT, {"swapped": ABSENT})) == []


@pytest.mark.parametrize(
    "answer",
    [
        SERVED,
        dataclasses.replace(ABSENT, status=403),
        dataclasses.replace(ABSENT, body=b'{"error":{"code":"NOT_FOUND","message":"not yours"}}'),
        Response(500, {}, b"", 0.0),
        TransportError("reset", "gone"),
    ],
)
def test_an_answer_that_differs_from_an_absent_object_is_named(answer: Any) -> None:
    problems = judge_like_absent(Tried(ABSENT, {"swapped": answer}))
    assert len(problems) == 1 and problems[0].startswith("swapped")


def test_an_absent_object_that_is_served_is_no_baseline() -> None:
    assert judge_like_absent(Tried(SERVED, {"swapped": SERVED})) != []


@pytest.mark.parametrize(
    ("answer", "count"),
    [(ABSENT, 0), (Response(405, {}, b"", 0), 0), (SERVED, 2), (Response(500, {}, b"", 0), 1)],
)
def test_refusals_tell_nothing(answer: Response, count: int) -> None:
    assert len(judge_refused({"list": answer}, {"content": CANARIES["one"]})) == count
    hidden = dataclasses.replace(ABSENT, body=base64.b64encode(CANARIES["one"].encode()))
    assert len(judge_refused({"list": hidden}, {"content": CANARIES["one"]})) == 1
    assert judge_refused({"list": TransportError("reset", "")}, {}) != []


def test_every_changed_address_differs_from_the_genuine_one() -> None:
    mine, other, foreign = artefact("one", "a"), artefact("one", "a", "b.tar"), artefact("two", "b")
    changed = tampered(mine, other, foreign, "absent")
    assert mine.url not in changed.values() and len(set(changed.values())) == len(changed)
    assert mine.area == "a" * 32


@pytest.mark.parametrize("name", TRICKS)
def test_no_trick_is_the_key_itself_and_none_is_resolved_by_the_client(name: str) -> None:
    mine, foreign = artefact("one", "a"), artefact("two", "b")
    key = TRICKS[name](mine, foreign)
    assert key != mine.key
    for sent in spellings(key).values():
        assert not {".", ".."} & set(sent.split("/")) and sent.isascii()


# jobs

GOOD = [Made("job", name, name, canary.encode(), ["404 NOT_FOUND"]) for name, canary in CANARIES.items()]
RAN = Ran("run", "one", "SUCCEEDED", 3, {"one": 3, "two": 0})


def test_archives_of_their_enqueuers_are_good() -> None:
    assert judge_archives(CANARIES, GOOD) == []


@pytest.mark.parametrize(
    "mutant",
    [
        dataclasses.replace(GOOD[0], stated="two"),
        dataclasses.replace(GOOD[0], archive=b""),
        dataclasses.replace(GOOD[0], archive=" ".join(CANARIES.values()).encode()),
        dataclasses.replace(GOOD[0], foreign=["200 None"]),
        dataclasses.replace(GOOD[0], foreign=["403 FORBIDDEN"]),
    ],
)
def test_an_archive_of_somebody_else_is_named(mutant: Made) -> None:
    assert judge_archives(CANARIES, [mutant, GOOD[1]]) != []


@pytest.mark.parametrize("made", [[], GOOD[:1]])
def test_archives_of_one_tenant_prove_nothing(made: list[Made]) -> None:
    with pytest.raises(Vacuous):
        judge_archives(CANARIES, made)


@pytest.mark.parametrize(
    "changes",
    [{"state": "RUNNING"}, {"effects": {"one": 0, "two": 3}}, {"effects": {"one": 3, "two": 1}}, {"steps": 4}],
)
def test_a_run_elsewhere_is_named(changes: dict[str, Any]) -> None:
    assert judge_runs([RAN]) == []
    assert judge_runs([dataclasses.replace(RAN, **changes)]) != []


# removed tenants

FULL = Scan({"public.entities": ["its canary"], "public.users": ["its name"]}, {"a/b": ["its canary"]}, 9)
EMPTY = Scan(looked_at=9)


def test_what_is_left_of_a_tenant_is_named() -> None:
    assert judge_tables(FULL, EMPTY, 2) == [] and judge_files(FULL, EMPTY) == []
    assert judge_tables(FULL, Scan({"public.events": ["its name"]}, looked_at=9), 2) != []
    assert judge_files(FULL, Scan(files={"x": ["its canary"]}, looked_at=9)) != []


def test_a_scan_that_saw_nothing_before_proves_nothing() -> None:
    for blind in (lambda: judge_tables(FULL, EMPTY, 3), lambda: judge_tables(EMPTY, EMPTY, 0)):
        with pytest.raises(Vacuous):
            blind()
    for unseen in (lambda: judge_files(EMPTY, EMPTY), lambda: judge_tables(FULL, Scan(), 2)):
        with pytest.raises(Vacuous):
            unseen()


def test_views_of_a_tenant_are_told_from_those_of_its_predecessor() -> None:
    marks = {"the canary": CANARIES["one"]}
    assert judge_sight({"list": SERVED}, marks) == [] and judge_sight({"list": ABSENT}, marks) != []
    assert judge_sight({"usage": ABSENT, "list": SERVED}, marks, ["usage"]) == []
    assert judge_nothing_seen({"list": ABSENT}, marks) == [] and judge_nothing_seen({"list": SERVED}, marks) != []


def test_a_new_tenant_has_counted_nothing() -> None:
    usage = {"seats": 1, "objects": {"entity": 0}, "metered": {"seats": 1}}
    none: dict[str, Any] = {"events": [], "next": 0}
    assert judge_counts(usage, none) == []
    for bad in ({"seats": 2}, {"objects": {"entity": 1}}, {"metered": {"run": 4}}):
        assert judge_counts({**usage, **bad}, none) != []
    assert judge_counts(usage, {"events": [], "next": 7}) != []
    assert judge_counts(usage, {"events": [{"seq": 1}], "next": 1}) != []


@pytest.mark.parametrize("answer", [SERVED, ABSENT, Response(403, {}, b"{}", 0), Response(401, {}, b"{}", 0)])
def test_only_unauthenticated_shuts_out(answer: Response) -> None:
    assert judge_shut_out({"GraphQL": DENIED}) == []
    assert judge_shut_out({"GraphQL": DENIED, "usage": answer}) != []


# what is written


def test_files_are_scanned_in_every_encoding(tmp_path: Path) -> None:
    canary = CANARIES["one"]
    (tmp_path / "area-7").mkdir()
    for name, content in {
        "plain": canary.encode(),
        "base64": b"x" + base64.b64encode(b"..." + canary.encode() + b"..."),
        "json": json.dumps({"note": canary.encode().hex()}).encode(),
        "clean": b"nothing",
        "area-7/clean": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    paths = [*(path for path in tmp_path.rglob("*") if path.is_file()), tmp_path / "gone"]
    scan = scan_files(paths, {"content": canary}, {"its area": "area-7"})
    assert sorted(name.rpartition("/")[2] for name in scan.files) == ["base64", "clean", "json", "plain"]
    assert [found for name, found in scan.files.items() if "area-7" in name] == [["its area"]]
    assert scan.looked_at == 5


def test_what_is_written_holds_no_mark() -> None:
    traces = {"traces": ["the trace"]}
    logs, marks = {"data": "served"}, {"content": CANARIES["one"]}
    assert judge_written(Scan(files=traces, looked_at=2), {"the trace"}, logs, marks) == []
    assert judge_written(Scan(files={**traces, "log": ["content"]}), {"the trace"}, logs, marks) != []
    assert judge_written(Scan(files=traces), {"the trace"}, {"data": CANARIES["one"]}, marks) != []
    for scan, told in ((Scan(looked_at=2), logs), (Scan(files=traces), {"data": ""})):
        with pytest.raises(Vacuous):
            judge_written(scan, {"the trace"}, told, marks)


@pytest.mark.parametrize(
    "text",
    [
        'duplicate key value violates unique constraint "entities_pkey"',
        "DETAIL:  Key (tenant_id, name)=(acme, x) already exists.",
        "INSERT INTO entities (id) VALUES ($1)",
        "select props\nfrom entities where id = 1",
        "psycopg.errors.UniqueViolation",
        'relation "entities" does not exist',
        'Traceback (most recent call last):\n  File "x.py", line 1',
    ],
)
def test_an_answer_that_quotes_the_database_is_named(text: str) -> None:
    body = json.dumps({"error": {"code": "CONFLICT", "message": text}}, ensure_ascii=False).encode()
    assert judge_error_texts({"taken": Response(409, {}, body.replace(b'\\"', b'"').replace(b"\\n", b"\n"), 0)}) != []


def test_a_plain_refusal_quotes_nothing_and_a_crash_is_one() -> None:
    assert judge_error_texts({"taken": ABSENT, "none": DENIED}) == []
    assert judge_error_texts({"taken": Response(500, {}, b"{}", 0)}) != []
    assert judge_error_texts({"taken": TransportError("reset", "")}) != []


@pytest.mark.parametrize(
    "judge",
    [
        lambda: judge_like_absent(Tried(ABSENT)),
        lambda: judge_refused({}, {}),
        lambda: judge_runs([]),
        lambda: judge_sight({}, {}),
        lambda: judge_nothing_seen({}, {}),
        lambda: judge_counts({}, {}),
        lambda: judge_shut_out({}),
        lambda: judge_error_texts({}),
    ],
)
def test_nothing_proves_nothing(judge: Any) -> None:
    with pytest.raises(Vacuous):
        judge()
