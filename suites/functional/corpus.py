"""FUN-01: replay one corpus of operations and bring the answers into a canonical form that is the same everywhere.

Canonical form: HTTP status, `data` and the codes and paths of `errors` (messages are free text); ids numbered in order
of first appearance (`#1`), timestamps `<time>` if they are RFC 3339 UTC, tenant, user and mark by their role."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from environments.contract import Client, Response, vacuous
from environments.contract.exchanges import named
from suites.exchange import assert_no_crash, document
from suites.waiting import wait_until

HERE = Path(__file__).parent
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")

Operation = Mapping[str, Any]
Results = dict[str, Any]


def operations() -> list[Operation]:
    return list(yaml.safe_load((HERE / "corpus.yaml").read_text(encoding="utf-8"))["operations"])


def golden() -> Results:
    found: Results = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
    return found


class Replay:
    """One replay: what was saved, and the numbering of ids."""

    def __init__(self, client: Client) -> None:
        self.client = client
        mark = f"m{uuid.uuid4().hex[:12]}"
        self.saved = {"mark": mark, "MARK": mark.upper(), "absent": str(uuid.uuid4())}
        self.numbers: dict[str, str] = {}

    def fill(self, value: Any) -> Any:
        """`<name>` of what was saved, in any string of `value`."""
        if isinstance(value, str):
            return re.sub(r"<(\w+)>", lambda m: self.saved.get(m[1], m[0]), value)
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return [self.fill(item) for item in value] if isinstance(value, list) else value

    def ask(self, query: str, variables: Any = None) -> Response:
        return assert_no_crash(self.client.graphql(self.fill(query), self.fill(variables)), query[:80])

    def run(self, operation: Operation) -> Any:
        if "prepare" in operation:
            self.ask(operation["prepare"])
        answer = self.ask(operation["query"], operation.get("variables"))
        if until := operation.get("until"):  # the condition and its deadline are in the corpus
            answers = [answer]

            def holds() -> bool:
                answers.append(self.ask(operation["query"], operation.get("variables")))
                return bool(_at(answers[-1], until["path"]) == until["is"])

            wait_until(holds, until["deadline_s"])
            answer = answers[-1]
        for name, path in (operation.get("save") or {}).items():
            value = _at(answer, path)
            if isinstance(value, str):
                self.saved[name] = value
        return self.canonical(answer)

    def canonical(self, answer: Response) -> Any:
        body = document(answer)
        errors = [
            {"code": (e.get("extensions") or {}).get("code"), "path": e.get("path")} for e in body.get("errors") or []
        ]
        out: dict[str, Any] = {"status": answer.status, "data": self._value(body.get("data"))}
        return {**out, "errors": errors} if errors else out

    def _value(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._value(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if not isinstance(value, str):
            return value
        user = self.client.user
        if user is not None and (key, value) == ("tenantId", user.tenant):
            return "<tenant>"
        if user is not None and key in ("sub", "createdBy") and value == user.username:
            return "<user>"
        if _TIME.fullmatch(value):
            return "<time>"
        text = _UUID.sub(lambda m: self.numbers.setdefault(m[0], f"#{len(self.numbers) + 1}"), value)
        return text.replace(self.saved["mark"], "<mark>").replace(self.saved["MARK"], "<MARK>")


def _at(answer: Response, path: str) -> Any:
    value: Any = document(answer).get("data")
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def replay(client: Client, chosen: Sequence[Operation]) -> Results:
    session = Replay(client)
    found = {}
    for operation in chosen:
        with named(operation["name"]):
            found[operation["name"]] = session.run(operation)
    return found


def declared(chosen: Sequence[Operation], mode: str) -> dict[str, str]:
    """Operations whose answer is declared to differ in this mode -> the code that it must be."""
    return {o["name"]: o["only"][mode]["code"] for o in chosen if mode in (o.get("only") or {})}


def judge_corpus(expected: Results, found: Results, differing: Mapping[str, str]) -> list[str]:
    """Differences from the golden results, minus those declared for the mode (which must be as declared)."""
    if not found:
        vacuous("no operation was replayed")
    problems = []
    for name, result in found.items():
        if name in differing:
            codes = [error["code"] for error in result.get("errors", [])]
            if codes != [differing[name]] or result["status"] != 200:
                problems.append(f"{name}: declared to answer {differing[name]}, answers {_text(result)}")
        elif name not in expected:
            problems.append(f"{name}: no golden result")
        elif _text(result) != _text(expected[name]):
            problems.append(f"{name}: expected {_text(expected[name])}, found {_text(result)}")
    return problems


def _text(result: Any) -> str:
    return json.dumps(result, sort_keys=True, ensure_ascii=False)


def mini(client: Client) -> tuple[list[str], int]:
    """The operations of the corpus that tell whether a node works at all: problems, and how many ran.

    Their ids are numbered within this short replay, so golden results are compared by structure without numbers."""
    chosen = [operation for operation in operations() if operation.get("mini")]
    found = replay(client, chosen)
    expected = golden()

    def bare(results: Results) -> Results:
        return {o["name"]: json.loads(re.sub(r"#\d+", "#", _text(results[o["name"]]))) for o in chosen}

    return judge_corpus(bare(expected), bare(found), {}), len(found)
