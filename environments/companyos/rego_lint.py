"""Which Rego a policy may be written in: what both engines, rego-cpp in the process and OPA beside it, evaluate alike.

rego-cpp evaluates a function that it lacks to undefined without an error, so that `not f(..)` becomes true; others it
has and gets wrong (`object.union` does not descend, `time.diff` counts hours twice, `lower` knows ASCII alone). So
functions are allowed by name, and each of these names is tried in both engines by a test. What is not a name that can
be read off the text (a call by brackets, a template string, a function replaced by `with`) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

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
# Names that OPA 1 gives to functions of its own, and the first parts of such names: nobody else's here.
BUILTIN = frozenset({
    "abs", "all", "and", "any", "assign", "cast_array", "cast_boolean", "cast_null", "cast_object", "cast_set",
    "cast_string", "ceil", "concat", "contains", "count", "div", "endswith", "eq", "equal", "floor", "format_int",
    "gt", "gte", "indexof", "indexof_n", "intersection", "is_array", "is_boolean", "is_null", "is_number",
    "is_object", "is_set", "is_string", "lower", "lt", "lte", "max", "min", "minus", "mul", "neq", "or", "plus",
    "print", "product", "re_match", "rem", "replace", "round", "set_diff", "sort", "split", "sprintf", "startswith",
    "substring", "sum", "to_number", "trace", "trim", "trim_left", "trim_prefix", "trim_right", "trim_space",
    "trim_suffix", "type_name", "union", "upper", "walk",
})
NAMESPACES = frozenset({
    "array", "base64", "base64url", "bits", "crypto", "glob", "graph", "graphql", "hex", "http", "internal", "io",
    "json", "net", "numbers", "object", "opa", "providers", "rand", "regex", "rego", "semver", "strings", "time",
    "units", "uri", "urlquery", "uuid", "yaml",
})
# fmt: on
_TOKEN = re.compile(
    r'(?P<aside>\#[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)|(?P<line>\n)|(?P<space>[^\S\n]+)'
    r"|(?P<name>[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)|(?P<open>[({\[])|(?P<close>[)}\]])|(?P<other>:=|[=!<>]=|\w+|.)"
)
UNFINISHED = frozenset({"if", "else", "not", "some", "every", "in", "with", "as", "contains"})  # more has to follow


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    first: bool  # of its line
    depth: int  # how many brackets are open around it


def problems(modules: Mapping[str, str]) -> list[str]:
    """What is not allowed in these modules (name -> source), as `module: what`; empty if nothing is."""
    read = {name: list(_tokens(source)) for name, source in modules.items()}
    functions = {f"{_package(tokens)}.{each}" for tokens in read.values() for each in _functions(tokens)}
    return [f"{name}: {problem}" for name, tokens in read.items() for problem in _of_one(tokens, functions)]


def _tokens(source: str) -> Iterator[Token]:
    depth, first = 0, True
    for match in _TOKEN.finditer(source):
        kind, text = str(match.lastgroup), match[0]
        if kind == "line":
            first = True
        if kind in ("line", "space", "aside"):
            continue
        depth -= kind == "close"
        yield Token(kind, re.sub(r"\s", "", text) if kind == "name" else text, first, depth)
        depth += kind == "open"
        first = False


def _package(tokens: Sequence[Token]) -> str:
    for word, name in pairwise(tokens):
        if word.text == "package" and name.kind == "name":
            return f"data.{name.text}"
    return "data"


def _called(tokens: Sequence[Token]) -> Iterator[int]:
    """Positions of the names that stand before a bracket."""
    for position, (name, bracket) in enumerate(pairwise(tokens)):
        if name.kind == "name" and bracket.text == "(":
            yield position


def _defined(tokens: Sequence[Token], position: int) -> bool:
    """Whether the name at the position begins the definition of a function, rather than a call."""
    token = tokens[position]
    before = tokens[position - 1] if position else None
    if before is not None and before.text == "default" and before.first:
        token, before = before, tokens[position - 2] if position > 1 else None
    complete = before is None or before.kind in ("name", "close", "string") or before.text[0].isalnum()
    if not token.first or token.depth or not complete or (before is not None and before.text in UNFINISHED):
        return False
    ends = (n for n in range(position + 1, len(tokens)) if tokens[n].text == ")" and tokens[n].depth == 0)
    after = next(ends, len(tokens)) + 1
    return after < len(tokens) and tokens[after].text in (":=", "=", "if", "{")


def _functions(tokens: Sequence[Token]) -> Iterator[str]:
    return (tokens[position].text for position in _called(tokens) if _defined(tokens, position))


def _imports(tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
    """(what it is called here, what it is)"""
    for position, (word, name) in enumerate(pairwise(tokens)):
        if word.text == "import" and word.first and name.kind == "name":
            more = [token.text for token in tokens[position + 2 : position + 4]]
            yield (more[1] if more[:1] == ["as"] else name.text.rpartition(".")[2]), name.text


def _of_one(tokens: Sequence[Token], functions: set[str]) -> Iterator[str]:
    imported, own = dict(_imports(tokens)), _package(tokens)
    for name in dict.fromkeys(_functions(tokens)):
        if name in BUILTIN or "." in name:
            yield f"{name} is defined, and its name is taken"
    for name in imported.keys() & (NAMESPACES - {"rego"}):
        yield f"{name} is imported, and its name is taken"
    for name in dict.fromkeys(tokens[position].text for position in _called(tokens)):
        first, _, rest = name.partition(".")
        full = f"{imported[first]}.{rest}" if first in imported and rest else imported.get(name, name)
        known = full in functions or ("." not in name and f"{own}.{name}" in functions)
        if name not in KEYWORDS and name not in ALLOWED and not known:
            yield f"{name} is no function that both engines evaluate alike"
    for word, name_ in pairwise(tokens):
        if word.text == "with" and name_.text.partition(".")[0] not in ("input", "data"):
            yield f"{name_.text} is replaced by `with`"
        if word.text in ("]", ")") and name_.text == "(":
            yield "a function is called by brackets"
    if any(token.text == "$" for token in tokens):
        yield "a template string"
