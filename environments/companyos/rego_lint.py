"""Which Rego a policy may be written in: what both engines, rego-cpp in the process and OPA beside it, evaluate alike.

rego-cpp evaluates a function that it lacks to undefined without an error, so that `not f(..)` becomes true; others it
has and gets wrong (`object.union` does not descend, `time.diff` counts hours twice, `lower` knows ASCII alone). So
functions are allowed by name, and each of these names is tried in both engines by a test. What is not a name that can
be read off the text (a call by brackets, a template string, a function replaced by `with`) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

# fmt: off
ALLOWED = frozenset({
    "abs", "ceil", "floor", "round", "count", "sum", "product", "max", "min", "intersection", "union", "walk",
    "to_number", "type_name", "is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string",
    "contains", "endswith", "startswith", "indexof", "indexof_n", "replace", "split", "substring", "trim",
    "trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix", "strings.any_prefix_match",
    "strings.any_suffix_match", "strings.count", "strings.replace_n", "strings.reverse", "array.concat",
    "array.slice", "array.reverse", "numbers.range", "numbers.range_step", "glob.match", "bits.and", "bits.or",
    "bits.xor", "bits.negate", "bits.lsh", "bits.rsh", "object.get", "object.keys", "object.remove", "object.filter",
    "object.subset", "object.union_n", "json.filter", "json.remove", "json.unmarshal", "json.is_valid",
    "base64.encode", "base64.decode", "base64url.encode", "base64url.encode_no_pad", "base64url.decode",
    "crypto.sha256", "crypto.hmac.sha256", "crypto.hmac.sha512", "crypto.hmac.equal", "semver.is_valid",
    "graph.reachable", "graph.reachable_paths", "time.now_ns",
})
KEYWORDS = frozenset({
    "package", "import", "as", "default", "else", "not", "some", "every", "in", "if", "contains", "with", "true",
    "false", "null", "data", "input",
})
# fmt: on
_ASIDE = re.compile(r'"(?:\\.|[^"\\\n])*"|`[^`]*`|#[^\n]*')
_NAME = r"[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*"
_CALL = re.compile(rf"(?<![\w.])({_NAME})\s*\(")
_HEAD = re.compile(rf"^[ \t]*(?:default[ \t]+)?({_NAME})\s*\(", re.MULTILINE)
_IMPORT = re.compile(rf"^[ \t]*import[ \t]+({_NAME})(?:[ \t]+as[ \t]+(\w+))?", re.MULTILINE)
_PACKAGE = re.compile(rf"^[ \t]*package[ \t]+({_NAME})", re.MULTILINE)
_REPLACED = re.compile(rf"\bwith\s+({_NAME})")


def problems(modules: Mapping[str, str]) -> list[str]:
    """What is not allowed in these modules (name -> source), as `module: what`; empty if nothing is."""
    texts = {name: _ASIDE.sub(_blank, source) for name, source in modules.items()}
    functions = {function for text in texts.values() for function in _functions(text)}
    return [f"{name}: {problem}" for name, text in texts.items() for problem in _of_one(text, functions)]


def _blank(match: re.Match[str]) -> str:
    """A string stays one, so that what stands before and behind it is not joined."""
    return '""' if match[0][0] in '"`' else ""


def _plain(name: str) -> str:
    return re.sub(r"\s", "", name)


def _package(text: str) -> str:
    found = _PACKAGE.search(text)
    return f"data.{_plain(found[1])}" if found else "data"


def _functions(text: str) -> Iterator[str]:
    """Full names of the functions that a module defines."""
    for match in _HEAD.finditer(text):
        yield f"{_package(text)}.{_plain(match[1])}"


def _of_one(text: str, functions: set[str]) -> Iterator[str]:
    imported = {}
    for path, alias in _IMPORT.findall(text):
        imported[alias or _plain(path).rpartition(".")[2]] = _plain(path)
    own = _package(text)
    for name in dict.fromkeys(_plain(match[1]) for match in _CALL.finditer(text)):
        first, _, rest = name.partition(".")
        full = f"{imported[first]}.{rest}".rstrip(".") if first in imported else name
        if name in KEYWORDS or (name in ALLOWED and first not in imported):
            continue
        if full not in functions and f"{own}.{name}" not in functions:
            yield f"{name} is no function that both engines evaluate alike"
    for name in dict.fromkeys(_plain(match[1]) for match in _REPLACED.finditer(text)):
        if name.partition(".")[0] not in ("input", "data"):
            yield f"{name} is replaced by `with`"
    if re.search(r"\]\s*\(", text):
        yield "a function is called by brackets"
    if "$" in text:
        yield "a template string"
