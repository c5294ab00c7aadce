"""What goes over the wire, as checks see it: a request, its answer, or that there was none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn


@dataclass(frozen=True)
class Request:
    """What was asked, for evidence. `whole`: the body was not cut."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = field(default=None, repr=False)
    whole: bool = True


@dataclass(frozen=True)
class Response:
    """An HTTP answer, at most `limit` bytes of it (see HttpSession). `request`: what it answers, where known."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_s: float
    request: Request | None = field(default=None, compare=False, repr=False)
    whole: bool = field(default=True, compare=False, repr=False)

    def json(self) -> Any:
        """The document that every reader reads alike (RFC 8259, I-JSON): UTF-8, no NaN, no key twice. ValueError
        otherwise."""
        try:
            return json.loads(self.body.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_distinct)
        except RecursionError:
            raise ValueError("nested too deep") from None

    @property
    def error_code(self) -> str | None:
        """`error.code` (REST) or the first `errors[].extensions.code` (GraphQL); None without an error in the body.
        An error that has no code there, or is none of the contract's form, has the code UNCODED."""
        try:
            document = self.json()
        except ValueError:
            return None
        if not isinstance(document, dict):
            return None
        if isinstance(document.get("error"), dict):
            return _code(document["error"].get("code"))
        errors = document.get("errors")
        if not errors:
            return None
        first = errors[0] if isinstance(errors, list) else None
        extensions = first.get("extensions") if isinstance(first, dict) else None
        return _code(extensions.get("code") if isinstance(extensions, dict) else None)


UNCODED = "None"


def _code(value: object) -> str:
    return value if isinstance(value, str) else UNCODED


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has a key twice")
    return made


class TransportError(Exception):
    """No HTTP answer. `kind` says why: refused, timeout, reset, dns, too-large, other."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
