"""What a page refers to, found by reading its HTML, CSS and JavaScript rather than by running them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

# kind -> beginnings of the media types that it may have; nothing: any but a page
TYPES: Mapping[str, tuple[str, ...]] = {
    "document": ("text/html",),
    "style": ("text/css",),
    "script": ("text/javascript", "application/javascript"),
    "image": ("image/",),
    "font": ("font/", "application/font-", "application/vnd.ms-fontobject"),
    "manifest": ("application/manifest+json", "application/json"),
    "file": (),
}  # these are fetched; `call` and `hint` are only looked at
_NAMESPACES = ("http://www.w3.org/", "https://www.w3.org/")  # names of vocabularies, which nobody fetches
_SOURCES = {"script": "script", "img": "image", "input": "image", "iframe": "document", "frame": "document"}
_LINKS = {"stylesheet": "style", "icon": "image", "apple-touch-icon": "image", "mask-icon": "image"} | {
    "manifest": "manifest",
    "modulepreload": "script",
}
_HINTS = ("dns-prefetch", "preconnect", "prefetch", "prerender")
_AS = {"script": "script", "style": "style", "font": "font", "image": "image"}
_COMMENT_OR_STRING = re.compile(
    r"(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<string>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)", re.S
)
_MODULES = re.compile(
    r"(?:\b(?:import|from)\s*|\bimport\s*\(\s*|\bimportScripts\s*\(\s*|\bnew\s+(?:Shared)?Worker\s*\(\s*"
    r"|\bserviceWorker\s*\.\s*register\s*\(\s*)([\"'`])(?P<url>[^\"'`]+)\1"
)
_BESIDE = re.compile(r"\bnew\s+URL\s*\(\s*([\"'`])(?P<url>[^\"'`]+)\1\s*,\s*import\.meta\.url")
_ABSOLUTE = re.compile(r"(?:https?:|wss?:)?//[A-Za-z0-9\[][^\s\"'`<>\\]*", re.I)
_CSS_IMPORT = re.compile(r"@import\s+(?:url\(\s*)?[\"']?([^\"')\s;]+)", re.I)
_CSS_URL = re.compile(r"url\(\s*(?:\"([^\"]*)\"|'([^']*)'|([^\"')\s]+))\s*\)", re.I)
_FONT_FACE = re.compile(r"@font-face\s*\{[^}]*\}", re.I)


@dataclass(frozen=True)
class Reference:
    """kind: see TYPES; or `call`, made by a script or a form, or `hint`, by which a browser gets in touch early."""

    kind: str
    url: str  # absolute
    where: str  # file and construct


def references(media_type: str, text: str, base: str) -> list[Reference]:
    """Of a file by its media type, against its own URL; what stays inside the document (data:, #) is left out."""
    name = urlsplit(base).path
    if media_type in ("text/html", "image/svg+xml"):
        reader = _Reader(base)
        reader.feed(text)
        reader.close()
        base, found = reader.base, reader.found
    elif media_type == "text/css":
        found = list(_of_css(text))
    elif media_type in TYPES["script"]:
        found = list(_of_script(text))
    elif media_type in TYPES["manifest"]:
        found = list(_of_manifest(text))
    else:
        found = []
    elsewhere = [each for each in found if each[1].strip().partition("#")[0]]
    absolute = [Reference(kind, urljoin(base, url.strip()), f"{name}: {how}") for kind, url, how in elsewhere]
    return [each for each in dict.fromkeys(absolute) if urlsplit(each.url).scheme in ("http", "https", "ws", "wss")]


Found = tuple[str, str, str]  # kind, URL as it is written, construct


def _of_css(text: str) -> Iterator[Found]:
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    for match in _CSS_IMPORT.finditer(text):
        yield "style", match[1], "@import"
    text = _CSS_IMPORT.sub(" ", text)
    for face in _FONT_FACE.finditer(text):
        for match in _CSS_URL.finditer(face[0]):
            yield "font", _first(match), "@font-face"
    for match in _CSS_URL.finditer(_FONT_FACE.sub(" ", text)):
        yield "image", _first(match), "url()"


def _first(match: re.Match[str]) -> str:
    return next((group for group in match.groups() if group), "")


def _of_script(text: str) -> Iterator[Found]:
    """Modules and workers by literal name, and every literal that is an absolute address."""
    code = _COMMENT_OR_STRING.sub(lambda match: match["string"] or " ", text)
    for match in _MODULES.finditer(code):
        if match["url"].startswith((".", "/")) or ":" in match["url"]:  # others are names, of an import map
            yield "script", match["url"], "import"
    for match in _BESIDE.finditer(code):
        yield "file", match["url"], "new URL(..., import.meta.url)"
    for literal in _COMMENT_OR_STRING.finditer(text):
        content = (literal["string"] or "")[1:-1]
        for address in _ABSOLUTE.finditer(content):
            if address.start() == 0 or address[0][:2] != "//":
                yield "call", address[0], "a literal"


def _of_manifest(text: str) -> Iterator[Found]:
    try:
        manifest = json.loads(text)
    except ValueError:
        return
    for name in ("icons", "screenshots"):
        for each in manifest.get(name, []) if isinstance(manifest, dict) else []:
            if isinstance(each, dict) and isinstance(each.get("src"), str):
                yield "image", each["src"], name


class _Reader(HTMLParser):
    """HTML, and SVG, which is near enough to it here."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base, self.found = base, list[Found]()
        self._inside: str | None = None  # kind of the text that is read: script, style, importmap

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "base" and given.get("href"):
            self.base = urljoin(self.base, given["href"])
        self._add(tag, given)
        if tag == "style":
            self._inside = "style"
        elif tag == "script" and not given.get("src"):
            self._inside = "importmap" if given.get("type") == "importmap" else "script"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("style", "script"):
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.found += _of_css(data)
        elif self._inside == "script":
            self.found += _of_script(data)
        elif self._inside == "importmap":
            self.found += [
                ("script", match[1], "importmap") for match in re.finditer(r":\s*\"([./][^\"]*|\w+:[^\"]*)\"", data)
            ]

    def _add(self, tag: str, given: Mapping[str, str]) -> None:
        add = self.found.append
        if tag == "link":
            self._link(given)
        if given.get("src"):
            add((_SOURCES.get(tag, "file"), given["src"], f"<{tag} src>"))
        for name in ("data", "poster", "background"):
            if given.get(name) and (tag, name) in (("object", "data"), ("video", "poster"), ("body", "background")):
                add(("file", given[name], f"<{tag} {name}>"))
        for name in ("srcset", "imagesrcset"):
            for each in filter(None, (part.strip() for part in given.get(name, "").split(","))):
                add(("image", each.split()[0], f"<{tag} {name}>"))
        if tag in ("use", "image", "feimage"):
            add(("image", given.get("href") or given.get("xlink:href", ""), f"<{tag} href>"))
        for name in ("action", "formaction", "ping"):
            if given.get(name):
                add(("call", given[name], f"<{tag} {name}>"))
        if tag == "meta" and given.get("http-equiv", "").lower() == "refresh" and "=" in given.get("content", ""):
            add(("call", given["content"].partition("=")[2].strip("'\""), "<meta refresh>"))
        self.found += _of_css(given.get("style", ""))

    def _link(self, given: Mapping[str, str]) -> None:
        for rel in given.get("rel", "").lower().split():
            if rel in _HINTS:
                self.found.append(("hint", given.get("href", ""), f"<link {rel}>"))
            elif rel == "preload":
                self.found.append((_AS.get(given.get("as", ""), "file"), given.get("href", ""), "<link preload>"))
            elif rel in _LINKS:
                self.found.append((_LINKS[rel], given.get("href", ""), f"<link {rel}>"))


def is_name(url: str) -> bool:
    """Whether it names a vocabulary (SVG, XHTML) instead of leading anywhere."""
    return url.startswith(_NAMESPACES)


def origin_of(url: str) -> str:
    """Scheme and authority, with the port left out where it is the usual one; a web socket is of its HTTP origin."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    usual = {"http": ":80", "https": ":443"}.get(scheme, "")
    return f"{scheme}://{parts.netloc.removesuffix(usual) if usual else parts.netloc}"
