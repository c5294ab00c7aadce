"""The web frontend: what its files, its policy and what a browser noted of it show."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from environments.contract import ConsoleLine, HttpSession, PageRequest, TransportError, vacuous
from suites.exchange import redact
from suites.functional.references import TYPES, Reference, is_name, origin_of, references

MOST_FILES = 200
JWS = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_OWN_SOURCES = ("'none'", "'self'", "'report-sample'", "'strict-dynamic'")
_INSIDE = ("data:", "blob:")  # of the document itself: nothing is fetched


@dataclass(frozen=True)
class Fetched:
    """One file of the page. status: None without an answer, and then `media_type` says why."""

    kind: str
    url: str
    where: str
    status: int | None
    media_type: str


@dataclass
class Walk:
    """What was found from a page on. policy: its Content-Security-Policy."""

    files: list[Fetched] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    policy: str | None = None


def walk(session: HttpSession, page: str, own: Collection[str]) -> Walk:
    """Fetch the page and every file of its own that it, or one of them, refers to."""
    found = Walk()
    waiting = deque([Reference("document", page, "the page")])
    seen = {page}
    while waiting and len(found.files) < MOST_FILES:
        reference = waiting.popleft()
        try:
            answer = session.request("GET", reference.url)
        except TransportError as error:
            found.files.append(Fetched(reference.kind, reference.url, reference.where, None, error.kind))
            continue
        headers = {name.lower(): value for name, value in answer.headers.items()}
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        found.files.append(Fetched(reference.kind, reference.url, reference.where, answer.status, media_type))
        if reference.url == page:
            found.policy = headers.get("content-security-policy")
        if answer.status != 200:
            continue
        listed = references(media_type, answer.body.decode("utf-8", "replace"), reference.url)
        listed += [
            Reference("hint", each, f"{reference.url}: Link")
            for each in re.findall(r"<(\w+:[^>]+)>", headers.get("link", ""))
        ]
        found.references += listed
        for each in listed:
            if each.kind in TYPES and each.url not in seen and origin_of(each.url) in own:
                seen.add(each.url)
                waiting.append(each)
    return found


def judge_walk(seen: Walk, own: Collection[str]) -> list[str]:
    """Every reference leads to the node, every file is there and of the type that a browser insists on."""
    if not any(each.status == 200 for each in seen.files) or len(seen.files) < 2:
        vacuous(f"the page refers to no file of the node: {[each.url for each in seen.files]}")
    problems = [
        f"{each.where} refers to {each.url} ({each.kind}), which is not this node's"
        for each in seen.references
        if origin_of(each.url) not in own and not is_name(each.url)
    ]
    for file in seen.files:
        if file.status != 200:
            told = f"no answer ({file.media_type})" if file.status is None else str(file.status)
            problems.append(f"{file.url}, which {file.where} refers to: {told}, not 200")
        elif not _fits(file):
            problems.append(f"{file.url} is used as a {file.kind} and served as {file.media_type or 'nothing named'}")
    return problems + judge_policy(seen.policy, own)


def _fits(file: Fetched) -> bool:
    wanted = TYPES[file.kind]
    return file.media_type.startswith(wanted) if wanted else file.media_type != "text/html"


def judge_policy(policy: str | None, own: Collection[str]) -> list[str]:
    """The page's own policy lets it reach the node and nothing else."""
    if not own:
        vacuous("no origin of the node is known")
    if not policy:
        return ["the page has no Content-Security-Policy: nothing keeps it from loading what is not the node's"]
    parts = [part.split() for part in policy.lower().split(";") if part.strip()]
    directives = {part[0]: part[1:] for part in parts}
    problems = [] if "default-src" in directives else ["the policy has no default-src: what it does not name is free"]
    for name, sources in directives.items():
        if name.endswith(("-src", "-src-elem", "-src-attr")) or name in ("form-action", "base-uri", "report-uri"):
            problems += [f"the policy's {name} allows {each}" for each in sources if not _own_source(name, each, own)]
    return problems


def _own_source(directive: str, source: str, own: Collection[str]) -> bool:
    if source in _OWN_SOURCES or source.startswith(("'nonce-", "'sha")):
        return True
    if source == "'unsafe-inline'" or source in _INSIDE:
        return not directive.startswith(("script-src", "default-src"))
    if directive == "report-uri" and source.startswith("/") and not source.startswith("//"):
        return True
    return origin_of(source) in own


# -- what a browser noted


def judge_origins(requests: Sequence[PageRequest], own: Collection[str]) -> list[str]:
    """Each request of the page, whether or not anything came of it, was for the node."""
    network = [each for each in requests if not each.url.startswith(("data:", "blob:", "about:"))]
    if not any(each.status == 200 and origin_of(each.url) in own for each in network):
        vacuous("the browser saw no answer of the node")
    foreign = dict.fromkeys(request_text(each) for each in network if origin_of(each.url) not in own)
    return [f"the page asked for {each}" for each in foreign]


def judge_requests(requests: Sequence[PageRequest]) -> list[str]:
    """None failed. One that the page or a reload gave up is nobody's failure."""
    if not requests:
        vacuous("the browser made no request")
    return list(dict.fromkeys(request_text(each) for each in requests if _failed(each)))


def _failed(request: PageRequest) -> bool:
    if request.failure is not None:
        return "ERR_ABORTED" not in request.failure
    return request.status is not None and request.status >= 400


def console_errors(lines: Sequence[ConsoleLine]) -> list[str]:
    wrong = (each for each in lines if each.kind in ("error", "exception"))
    return list(dict.fromkeys(f"console {each.kind}: {redact(each.text)[:300]}" for each in wrong))


def request_text(request: PageRequest) -> str:
    how = f"failed: {request.failure}" if request.failure else request.status or "no answer yet"
    return redact(f"{request.method} {request.url[:300]} ({request.kind}): {how}")


def tokens(kept: Collection[str]) -> set[str]:
    """The tokens in what a browser keeps."""
    return {token for value in kept for token in JWS.findall(value)}
