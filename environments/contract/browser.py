"""A real browser at a node's site, as the checks use it: by what a person sees, and with what the machine noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class PageRequest:
    """One request that a page made, or tried to make."""

    method: str
    url: str
    kind: str  # document, stylesheet, script, image, font, fetch, xhr, websocket, ping, ...
    status: int | None = None  # None: no answer, and `failure` says why; or it was still under way
    failure: str | None = None


@dataclass(frozen=True)
class ConsoleLine:
    kind: str  # error, warning, log, ...; exception: nobody caught it
    text: str


class Browser(Protocol):
    """One tab of a fresh profile. AssertionError where the page lacks what is to be used."""

    def open(self, url: str) -> None: ...
    def reload(self) -> None: ...
    def fill(self, label: str, text: str) -> None:
        """Into the field with this label."""
        ...

    def press(self, button: str) -> None:
        """The button with this name."""
        ...

    def shows(self, text: str, within_s: float = 20.0) -> bool:
        """Whether the text becomes visible in time."""
        ...

    def offers(self, label: str, within_s: float = 20.0) -> bool:
        """Whether a field with this label becomes visible in time."""
        ...

    def content(self) -> str:
        """The whole document as it is now, with what is hidden and what was typed."""
        ...

    def visible(self) -> str:
        """Its visible text."""
        ...

    def kept(self) -> Mapping[str, str]:
        """What the page's origin keeps in this browser: `local:key`, `session:key`, `cookie:name` -> value."""
        ...

    def screenshot(self) -> bytes:
        """JPEG."""
        ...

    @property
    def requests(self) -> Sequence[PageRequest]: ...
    @property
    def console(self) -> Sequence[ConsoleLine]: ...
