"""FUN-06: sequences of operations on metadata, and the reference that says what every database must answer to them.

A sequence names its entities and relationships (`a`, `b`, ...); a name that nothing has is an absent id. `<m>` in a
text is the mark of one replay, `<M>` the same in upper case, so that what others keep in the tenant is not met."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Doc = dict[str, Any]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
DEEPEST = 32  # objects and lists within each other
LONGEST = {"kind": 200, "label": 200, "type": 200}

# How an id may be written. Only the first two are the id; the others are spellings that some database would take.
SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "": lambda id_: id_,
    "upper": str.upper,
    "braces": lambda id_: "{" + id_ + "}",
    "without dashes": lambda id_: id_.replace("-", ""),
    "urn": lambda id_: "urn:uuid:" + id_,
    "space after": lambda id_: id_ + " ",
    "line after": lambda id_: id_ + "\n",
}


@dataclass(frozen=True)
class Step:
    """One operation. given: its arguments as JSON text, which a sequence can be told and compared by."""

    do: str  # create, update, delete, relate, unrelate, read, list, search, incident
    given: str

    @property
    def arguments(self) -> Doc:
        found: Doc = json.loads(self.given)
        return found

    def __str__(self) -> str:
        return f"{self.do} {self.given}"


def step(do: str, **given: Any) -> Step:
    return Step(do, json.dumps(given))


@dataclass(frozen=True)
class Answer:
    """What a place answers: a value, or the code of a refusal."""

    value: Any = None
    code: str | None = None


class Session:
    """One replay of a sequence at one place: its mark, what its names stand for, and its answers in canonical form."""

    def __init__(self) -> None:
        self.mark = f"m{uuid.uuid4().hex[:10]}"
        self.ids: dict[str, str] = {}
        self.numbers: dict[str, str] = {}

    def answer(self, do: str, given: Doc) -> Answer:
        raise NotImplementedError

    def run(self, steps: Sequence[Step]) -> list[str]:
        return [self._step(each) for each in steps]

    def _step(self, asked: Step) -> str:
        given = self.filled(asked.arguments)
        name = given.pop("as", None)
        for key in ("id", "src", "dst"):
            if key in given:
                given[key] = self.spelled(given[key])
        found = self.answer(asked.do, given)
        if name is not None and isinstance(found.value, dict):
            self.ids[name] = str(found.value.get("id"))
        return self.canonical(found)

    def spelled(self, reference: str) -> str:
        """`a`, or `a upper`: the id that the name stands for, so spelled. Every absent name is an id of its own."""
        name, _, spelling = reference.partition(" ")
        return SPELLINGS[spelling](self.ids.setdefault(name, str(uuid.uuid4())))

    def filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("<m>", self.mark).replace("<M>", self.mark.upper())
        if isinstance(value, dict):
            return {self.filled(key): self.filled(item) for key, item in value.items()}
        return [self.filled(item) for item in value] if isinstance(value, list) else value

    # canonical form: ids by number, the mark by its name, times by what matters of them

    def canonical(self, answer: Answer) -> str:
        if answer.code is not None:
            return answer.code
        return json.dumps(self._plain(answer.value), sort_keys=True)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._plain(item) for item in value]
        if isinstance(value, dict):
            told = {key: self._plain(item) for key, item in value.items() if key not in ("createdAt", "updatedAt")}
            return {**told, **times(value)}
        if isinstance(value, str):
            text = re.sub(UUID.pattern, self._number, value)  # lower case alone: an id in upper case stays as it is
            return text.replace(self.mark, "<m>").replace(self.mark.upper(), "<M>")
        return value

    def _number(self, found: re.Match[str]) -> str:
        return self.numbers.setdefault(found[0], f"#{len(self.numbers) + 1}")


STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
NOW_S = 300.0  # what a clock may be off and still be the time in UTC: a zone is at least 15 minutes


def times(doc: Mapping[str, Any]) -> Doc:
    """`createdAt` and `updatedAt` by what matters: RFC 3339 in UTC, now, and which is later."""
    told: Doc = {}
    for name in ("createdAt", "updatedAt"):
        if name in doc:
            value = doc[name]
            told[name] = "<time>" if isinstance(value, str) and STAMP.fullmatch(value) else f"no RFC 3339 UTC: {value}"
            if told[name] == "<time>":
                off_s = (datetime.fromisoformat(value) - datetime.now(UTC)).total_seconds()
                told[name] = "<now>" if abs(off_s) < NOW_S else f"{off_s / 3600:+.1f} h from now"
    if all(told.get(name) == "<now>" for name in ("createdAt", "updatedAt")):
        created, updated = (datetime.fromisoformat(doc[name]) for name in ("createdAt", "updatedAt"))
        told["updatedAt"] = "<created>" if updated == created else "<later>" if updated > created else "<earlier>"
    return told


# the reference


class Refused(Exception):
    """With the code that the contract names."""


class Reference(Session):
    """The contract, as a program: texts are code points, equality is exact, search folds and knows no wildcard."""

    def __init__(self) -> None:
        super().__init__()
        self.entities: dict[str, Doc] = {}  # in order of creation
        self.relationships: dict[str, Doc] = {}
        self.buried: dict[str, int] = {}  # id -> version at its deletion
        self.now = datetime.now(UTC)

    def answer(self, do: str, given: Doc) -> Answer:
        try:
            return Answer(getattr(self, do)(**given))
        except Refused as refusal:
            return Answer(code=str(refusal))

    def tick(self) -> str:
        self.now += timedelta(microseconds=1)
        return self.now.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def create(self, kind: str, labels: Any = None, props: Any = None, id: str | None = None) -> Doc:
        content = {"kind": text(kind, "kind"), "labels": texts(labels or []), "props": properties(props)}
        key = str(uuid.uuid4()) if id is None else known(id, "INVALID")
        if key in self.entities:
            raise Refused("CONFLICT")
        at = self.tick()
        version = self.buried.get(key, 0) + 1
        self.entities[key] = {"id": key, **content, "version": version, "createdAt": at, "updatedAt": at}
        return dict(self.entities[key])

    def update(self, id: str, kind: str | None = None, labels: Any = None, props: Any = None) -> Doc:
        change: Doc = {} if kind is None else {"kind": text(kind, "kind")}
        change |= {} if labels is None else {"labels": texts(labels)}
        change |= {} if props is None else {"props": properties(props)}
        doc = self.entities[self._present(id)]
        doc.update(change, updatedAt=self.tick(), version=doc["version"] + 1)
        return dict(doc)

    def delete(self, id: str) -> bool:
        key = self._present(id)
        self.buried[key] = self.entities.pop(key)["version"] + 1
        self.relationships = {
            each: doc for each, doc in self.relationships.items() if key not in (doc["srcId"], doc["dstId"])
        }
        return True

    def relate(self, src: str, dst: str, type: str, props: Any = None) -> Doc:
        ends = {"srcId": known(src, "NOT_FOUND"), "dstId": known(dst, "NOT_FOUND")}
        content = {"type": text(type, "type"), "props": properties(props)}
        for end in ends.values():
            self._present(end)
        key = str(uuid.uuid4())
        self.relationships[key] = {"id": key, **ends, **content, "createdAt": self.tick()}
        return dict(self.relationships[key])

    def unrelate(self, id: str) -> bool:
        if self.relationships.pop(known(id, "NOT_FOUND"), None) is None:
            raise Refused("NOT_FOUND")
        return True

    def read(self, id: str) -> Doc | None:
        return self.entities.get(id.lower()) if UUID.fullmatch(id) else None

    def list(self, kind: str, limit: int | None = None, offset: int | None = None) -> Any:
        start, count = offset or 0, 100 if limit is None else limit
        if start < 0 or count < 0:
            raise Refused("INVALID")
        return [doc for doc in self.entities.values() if doc["kind"] == kind][start : start + count]

    def search(self, text: str, limit: int | None = None) -> Any:
        if not storable(text):
            raise Refused("INVALID")
        count = 50 if limit is None else limit
        wanted = text.casefold()
        return [doc for doc in self.entities.values() if any(wanted in each.casefold() for each in words(doc))][:count]

    def incident(self, id: str) -> Any:
        key = id.lower() if UUID.fullmatch(id) else None
        return [doc for doc in self.relationships.values() if key in (doc["srcId"], doc["dstId"])]

    def _present(self, id: str) -> str:
        key = known(id, "NOT_FOUND")
        if key not in self.entities:
            raise Refused("NOT_FOUND")
        return key


def known(id_: str, code: str) -> str:
    if UUID.fullmatch(id_) is None:
        raise Refused(code)
    return id_.lower()


def text(value: str, what: str) -> str:
    if not value or len(value) > LONGEST[what] or not storable(value):
        raise Refused("INVALID")
    return value


def texts(values: Sequence[str]) -> list[str]:
    return [text(each, "label") for each in values]


def properties(value: Any) -> Doc:
    if value is None:
        return {}
    if not isinstance(value, dict) or not storable(value):
        raise Refused("INVALID")
    return dict(value)


def storable(value: Any, depth: int = 0) -> bool:
    """What every database keeps: no NUL, no lone surrogate, nothing beyond a double, no nesting without end."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= each <= "\udfff" for each in value)
    if isinstance(value, float):
        return value - value == 0.0
    if isinstance(value, dict):
        return depth < DEEPEST and all(storable(k) and storable(v, depth + 1) for k, v in value.items())
    if isinstance(value, list):
        return depth < DEEPEST and all(storable(each, depth + 1) for each in value)
    return True


def words(doc: Mapping[str, Any]) -> list[str]:
    """What search looks in: kind, labels, and the strings of props however deep."""
    found = [doc["kind"], *doc["labels"]]
    waiting = [doc["props"]]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
    return found
