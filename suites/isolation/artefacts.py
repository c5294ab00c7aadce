"""Artefacts of a tenant, their addresses, and what may be tried on both. The judges are pure."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from environments.contract import Client, Node, Response, TransportError, vacuous
from suites.exchange import assert_no_crash, document, probe, redact, shown
from suites.isolation.scan import found_in
from suites.waiting import wait_until

MADE_S = 60.0  # patience with an export job
OBJECTS = "/v1/objects/"


@dataclass(frozen=True)
class Artefact:
    """One that was made. `area` and `key` are what its address shows of where it lies."""

    tenant: str
    canary: str
    key: str
    url: str  # path and query, on the data service

    @property
    def area(self) -> str:
        return urlsplit(self.url).path.removeprefix(OBJECTS).removesuffix(f"/{self.key}")

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> str:
        return urlsplit(self.url).query


def enqueue(client: Client, name: str, *, path: str = "/v1/exports", **request: Any) -> dict[str, Any]:
    """`{id, state, key}` of a new export job. `request`: `payload` adds to the body, `headers` to the headers."""
    body = {"name": name, **request.get("payload", {})}
    answer = assert_no_crash(client.data("POST", path, json=body, headers=request.get("headers", {})), "POST " + path)
    assert answer.status == 202, f"an export job of one's own is not taken: {shown(answer)}"
    return document(answer)


def job_of(client: Client, id_: str) -> dict[str, Any]:
    answer = assert_no_crash(client.data("GET", f"/v1/exports/{id_}"), "GET /v1/exports/{id}")
    assert answer.status == 200, f"the own job is not shown: {shown(answer)}"
    return document(answer)


def wait_made(client: Client, id_: str) -> dict[str, Any]:
    """The job, once it has succeeded."""
    seen: dict[str, Any] = {}

    def ended() -> bool:
        seen.update(job_of(client, id_))
        return seen["state"] in ("SUCCEEDED", "FAILED")

    wait_until(ended, MADE_S)
    assert seen["state"] == "SUCCEEDED", f"an export job of one's own did not succeed: {seen}"
    return seen


def signed(client: Client, key: object) -> Response:
    return assert_no_crash(client.data("POST", "/v1/objects/sign", json={"key": key}), f"sign {key!r}"[:120])


def address(client: Client, key: str) -> str:
    answer = signed(client, key)
    assert answer.status == 200, f"the own object gets no address: {shown(answer)}"
    return str(document(answer)["url"])


def make(client: Client, tenant: str, canary: str, name: str = "archive.tar") -> Artefact:
    job = wait_made(client, enqueue(client, name)["id"])
    return Artefact(tenant, canary, job["key"], address(client, job["key"]))


def get(node: Node, url: str, method: str = "GET", **more: Any) -> Response | TransportError:
    """Without a token: what an address is worth to whoever holds it."""
    return probe(node, method, node.url("data") + url, **more)


def served(node: Node, artefact: Artefact) -> Response:
    """The control of everything here: the own address serves the own bytes."""
    answer = get(node, artefact.url)
    assert isinstance(answer, Response) and answer.status == 200, f"the own address does not serve: {answer}"
    assert found_in(artefact.canary, answer.body), "the own archive does not hold the own canary"
    return answer


def manifest(archive: bytes) -> dict[str, Any]:
    """The signed part of an archive, its signature not looked at."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        member = opened.extractfile("export.jws")
        assert member is not None, "the archive has no manifest"
        part = member.read().decode().split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


# what may be tried


def tampered(mine: Artefact, other: Artefact, foreign: Artefact, absent: str) -> dict[str, str]:
    """Addresses that nobody signed, by what was changed. `other` is of the same tenant, `absent` a key of nobody."""
    asked = dict(pair.split("=", 1) for pair in mine.query.split("&"))
    expires, signature = int(asked["expires"]), asked["signature"]

    def query(expires: object = expires, signature: str = signature) -> str:
        return f"?expires={expires}&signature={signature}"

    return {
        "key of nobody": f"{OBJECTS}{mine.area}/{absent}?{mine.query}",
        "another key of the same tenant": f"{other.path}?{mine.query}",
        "the key of another tenant": f"{foreign.path}?{mine.query}",
        "another tenant's key in the own area": f"{OBJECTS}{mine.area}/{foreign.key}?{mine.query}",
        "own key in another tenant's area": f"{OBJECTS}{foreign.area}/{mine.key}?{mine.query}",
        "no area": f"{OBJECTS}{mine.key}?{mine.query}",
        "the signature of another object": f"{mine.path}?{query(signature=other.query.rpartition('=')[2])}",
        "no query": mine.path,
        "no signature": f"{mine.path}?expires={expires}",
        "an empty signature": mine.path + query(signature=""),
        "half of the signature": mine.path + query(signature=signature[: len(signature) // 2]),
        "another signature": mine.path + query(signature=signature[::-1]),
        "no expiry": f"{mine.path}?signature={signature}",
        "one second more": mine.path + query(expires + 1),
        "a week more": mine.path + query(expires + 7 * 86400),
        "an expiry of -1": mine.path + query(-1),
        "an expiry in words": mine.path + query("never"),
        "an expiry in other digits": mine.path + query("".join(chr(0x660 + int(d)) for d in str(expires))),
        "two expiries": mine.path + query() + f"&expires={expires + 3600}",
    }


Trick = Callable[[Artefact, Artefact], str]


def _to(template: str) -> Trick:
    """{t}: area and key of the foreign object; {f}: its key; {k}: the own key; {a}: the own area."""
    return lambda mine, foreign: template.format(
        t=f"{foreign.area}/{foreign.key}", f=foreign.key, k=mine.key, a=mine.area
    )


# What was seen to lead somewhere else: OWASP path traversal, and the ways around a filter that looks for "..".
TRICKS: Mapping[str, Trick] = {
    "dots": _to("../{t}"),
    "dots and back": _to("{k}/../../../{t}"),
    "dot, then dots": _to("./../{t}"),
    "nested dots": _to("....//{t}"),
    "nested dots in the middle": _to("..././{t}"),
    "nested dots, twice": _to("......///{t}"),
    "dots with backslash": _to("..\\{t}"),
    "nested dots with backslash": _to("....\\\\{t}"),
    "percent dots": _to("%2e%2e/{t}"),
    "percent dots and slash": _to("%2e%2e%2f{t}"),
    "percent percent": _to("%252e%252e%252f{t}"),
    "overlong slash": _to("..%c0%af{t}"),
    "percent u": _to("%u002e%u002e%u2215{t}"),
    "dots with a parameter": _to("..;/{t}"),
    "full-width dots": _to("．．/{t}"),
    "full-width dots and slash": _to("．．／{t}"),
    "two dot leader": _to("‥/{t}"),
    "division slash": _to("..∕{t}"),
    "area and key": _to("{t}"),
    "absolute": _to("/{t}"),
    "foreign key alone": _to("{f}"),
    "file address": _to("file:///{t}"),
    "system file": _to("/etc/passwd"),
    "system file by nested dots": _to("....//....//....//....//....//....//....//....//etc/passwd"),
    "own key, trailing slash": _to("{k}/"),
    "own key, double slash": lambda mine, foreign: mine.key.replace("/", "//"),
    "own key, dot": _to("./{k}"),
    "own key in capitals": lambda mine, foreign: mine.key.upper(),
    "own key, NUL": _to("{k}\0"),
    "own key, NUL and more": _to("{k}\0.txt"),
    "own key, percent NUL": _to("{k}%00"),
    "own key, newline": _to("{k}\n"),
    "own key, space": _to("{k} "),
    "own folder": lambda mine, foreign: mine.key.partition("/")[0],
    "own folder with slash": lambda mine, foreign: mine.key.partition("/")[0] + "/",
    "star": _to("*"),
    "nothing": _to(""),
}


def listings(mine: Artefact) -> dict[str, str]:
    """Addresses that list in stores where folders are listed (splinter 0025), by what they ask."""
    folder = mine.path.rpartition("/")[0]
    asks = ("", "?list-type=2", "?prefix=&delimiter=/", f"?{mine.query}", f"?list-type=2&prefix=&{mine.query}")
    places = {
        "root": OBJECTS,
        "root without slash": OBJECTS.rstrip("/"),
        "area": f"{OBJECTS}{mine.area}/",
        "area without slash": f"{OBJECTS}{mine.area}",
        "folder": f"{folder}/",
        "folder without slash": folder,
    }
    return {f"{name} {ask[:40]}".strip(): place + ask for name, place in places.items() for ask in asks}


def spellings(key: str) -> dict[str, str]:
    """A key as the path of a request: as it is, with what must be encoded encoded, and encoded once more. Clients
    resolve the segments `.` and `..` themselves, so those are always encoded."""

    def sent(text: str) -> str:
        return "/".join("%2E" * len(part) if part in (".", "..") else part for part in text.split("/"))

    return {"": sent(quote(key, safe="/%")), "encoded ": quote(key, safe="").replace(".", "%2E")}


# judges


def told(answer: Response) -> str:
    """An answer in a line; bodies here are archives."""
    start = redact(answer.body[:100].decode("utf-8", "replace")).replace("\0", "")
    return f"{answer.status} {answer.error_code or 'no code'}, {len(answer.body)} bytes ({start!r})"


@dataclass
class Tried:
    """What was answered to attempts that must all look like one on an object that does not exist."""

    absent: Response
    answers: dict[str, Response | TransportError] = field(default_factory=dict)


def judge_like_absent(tried: Tried) -> list[str]:
    """Each answer is that of an absent object: same status, same bytes."""
    if not tried.answers:
        vacuous("nothing was tried")
    if tried.absent.status < 400:
        return [f"an object that does not exist is served: {told(tried.absent)}"]
    problems = []
    for what, answer in tried.answers.items():
        if isinstance(answer, TransportError):
            problems.append(f"{what}: no answer ({answer.kind})")
        elif (answer.status, answer.body) != (tried.absent.status, tried.absent.body):
            problems.append(f"{what}: {told(answer)} and not {told(tried.absent)}")
    return problems


def judge_refused(answers: Mapping[str, Response | TransportError], hidden: Mapping[str, str]) -> list[str]:
    """Each is refused in good order, and none tells any of `hidden` (what it is -> text)."""
    if not answers:
        vacuous("nothing was tried")
    problems = []
    for what, answer in answers.items():
        if isinstance(answer, TransportError):
            problems.append(f"{what}: no answer ({answer.kind})")
            continue
        if answer.status < 300 or answer.status >= 500:
            problems.append(f"{what}: not refused: {told(answer)}")
        problems += [f"{what}: tells {name}" for name, text in hidden.items() if found_in(text, answer.body)]
    return problems
