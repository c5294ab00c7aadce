"""FUN-06: the sequences that are tried: corners where databases are known to differ, and generated ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from suites.functional.metadata import SPELLINGS, Step, step

# Texts that collations, folds, patterns and encodings treat apart.
PIECES = (
    *("a", "A", "b", "i", "I", "İ", "ı", "é", "e\u0301", "É", "ß", "ẞ", "ss", "SS", "σ", "ς", "Σ", "ﬁ", "ǆ", "ǅ", "Ä"),
    *("%", "_", "\\", "*", "?", "[a-z]", "^", "'", '"', ";", "--", "$1", ":text", "{scope}", "\u2028"),
    *(" ", "\t", "\u00a0", "\u200b", "\u200d", "\u00ad", "\u0301", "\ufeff", "\uffff", "\u0001", "\x7f"),
    *("👩‍🚀", "👩🚀", "שלום", "日本", "ﷺ", "\U0010ffff", "0", "1", "10", "-1", "1e3", "null", "NULL", "true"),
)
REFUSED = ("\0", "a\0b", "\ud800", "\udfff\ud800")  # by every database, or by none
NUMBERS = (
    *(0, -1, 1, 2**31, -(2**31), 2**53, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**40),
    *(0.0, -0.0, 0.1, 1.0, 100.0, 1e-7, 1e21, 5e-324, 1.7976931348623157e308, 0.30000000000000004, 123456789.123456789),
)
BEYOND = (float("inf"), float("-inf"))  # sent as 1e400: beyond a double
NAMES = ("a", "b", "c", "d")


ODD_PROPS: tuple[Any, ...] = ([], "text", 1, None, {})
ODD_LABELS: tuple[Any, ...] = (None, [])
ODD_VALUES: tuple[Any, ...] = ("1", True, None, [], {}, "", " ")


def corners() -> list[Sequence[Step]]:
    """Short sequences, each about one thing that PostgreSQL and SQLite do differently unless somebody sees to it."""
    return [
        [
            *(step("create", **{"as": f"k{n}"}, kind="<m>" + tail) for n, tail in enumerate(KINDS)),
            *(step("list", kind="<m>" + tail) for tail in KINDS),
            step("list", kind="<M>"),
        ],
        [
            *(step("create", kind="k", labels=[f"<m>{piece}", f"<m>{piece}"]) for piece in PIECES),
            step("create", kind="k", props={"deep": [{"text": "<m>-Straße-%_\\-e\u0301"}]}),
            *(step("search", text=each) for each in SEARCHES),
        ],
        [
            *(step("create", kind="<m>", props={"n": each, "in": [each]}) for each in (*NUMBERS, *BEYOND)),
            *(step("create", kind="<m>", props={"n": each}) for each in ODD_VALUES),
            step("list", kind="<m>"),
        ],
        [
            *(step("create", kind="<m>", labels=[each]) for each in (*REFUSED, "", "x" * 200, "x" * 201, "日" * 200)),
            *(step("create", kind="<m>", props={"text": each}) for each in (*REFUSED, "x" * 20_000, "日" * 5000)),
            *(step("create", kind="<m>", props={each: 1}) for each in (*REFUSED, "", " ", "A", "a", "id", "tenant_id")),
            *(step("create", kind=each) for each in (*REFUSED, "")),
            *(step("search", text="<m>" + each) for each in REFUSED),
            step("create", kind="<m>", props=nested(31)),
            step("create", kind="<m>", props=nested(33)),
            *(step("create", kind="<m>", props=each) for each in ODD_PROPS),
            *(step("create", kind="<m>", labels=each) for each in ODD_LABELS),
            step("list", kind="<m>"),
        ],
        [
            step("create", **{"as": "a"}, kind="<m>", labels=["l"], props={"p": 1}),
            *(step("update", id="a", **each) for each in CHANGES),
            step("read", id="a"),
            *(step("read", id=f"a {spelling}") for spelling in SPELLINGS if spelling),
            *(step("update", id=f"a {spelling}", labels=[spelling]) for spelling in SPELLINGS if spelling),
            *(step("create", kind="<m>", id=f"a {spelling}") for spelling in SPELLINGS if spelling),
            step("create", kind="<m>", id="a"),
            *(
                step("create", **{"as": "n"}, kind="<m>", id=f"new{n} {each}")
                for n, each in enumerate(SPELLINGS)
                if each
            ),
            step("list", kind="<m>"),
            *(step("delete", id=f"a {spelling}") for spelling in SPELLINGS if spelling not in ("", "upper")),
            step("delete", id="a upper"),
            step("delete", id="a"),
            step("create", kind="<m>", id="a"),
            step("read", id="a"),
        ],
        [
            *(step("create", **{"as": name}, kind="<m>") for name in "abc"),
            step("relate", **{"as": "ab"}, src="a", dst="b", type="<m> ", props={"n": 2**53 + 1, "none": None}),
            step("relate", **{"as": "aB"}, src="a upper", dst="b", type="<M>"),
            step("relate", **{"as": "ca"}, src="c", dst="a", type="x"),
            step("relate", src="c", dst="c", type="x"),
            *(
                step("relate", src=src, dst=dst, type="x")
                for src, dst in (("a", "none"), ("none", "a"), ("a braces", "b"))
            ),
            step("relate", src="a", dst="none", type=""),
            *(step("incident", id=each) for each in ("a", "a upper", "a braces", "b", "c", "none")),
            step("unrelate", id="ca upper"),
            step("unrelate", id="ca"),
            step("delete", id="b"),
            *(step("incident", id=each) for each in ("a", "b", "c")),
            step("relate", src="a", dst="b", type="x"),
            step("unrelate", id="ab"),
        ],
        [
            *(step("create", kind="<m>", props={"n": n}) for n in range(5)),
            *(step("list", kind="<m>", limit=limit, offset=offset) for limit, offset in PAGES),
            *(step("search", text="<m>", limit=limit) for limit in (0, 1, 4, 5, 6, None)),
        ],
    ]


KINDS = (
    "",
    " ",
    "  ",
    "a",
    "A",
    "a ",
    " a",
    "é",
    "e\u0301",
    "É",
    "ß",
    "ss",
    "%",
    "_",
    "\\",
    "\u200b",
    "0",
    "00",
    "0.0",
)
SEARCHES = (
    *(
        "<m>a",
        "<M>A",
        "<m>%",
        "<m>_",
        "<m>\\",
        "<m>*",
        "<m>?",
        "%<m>",
        "_<m>",
        "<m>-%e%",
        "<m>-straße",
        "<m>-STRASSE-%_",
    ),
    *("<m>é", "<m>É", "<m>E\u0301", "<m>ß", "<m>SS", "<m>i", "<m>I", "<m>İ", "<m>ı", "<m>ς", "<m>Σ", "<m>FI", "<m>Ǆ"),
    *(
        "<m>ä",
        "<m> ",
        "<m>  ",
        "<m>\t",
        "<m>\u200d",
        "<m>👩🚀",
        "<m>👩",
        "<m>שלום",
        "<m>\uffff",
        "<m>'",
        '<m>"',
        "<m>[a-z]",
    ),
    *("<m>:text", "<m>$1", "<m>{scope}", "<m>--", "<m>-strasse-%_\\-É", "<m>1", "<m>null"),
)
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"labels": None, "props": None, "kind": None},
    {"labels": []},
    {"props": {}},
    {"props": {"p": None}},
    {"props": {"p": ""}},
    {"kind": ""},
    {"labels": ["b", "a", "b", "A", "b "]},
    {"props": []},
)
PAGES = (
    (0, 0),
    (1, 0),
    (2, 1),
    (5, 0),
    (6, 0),
    (5, 4),
    (5, 5),
    (1, 2**31 - 1),
    (-1, 0),
    (1, -1),
    (None, None),
    (None, 3),
)


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"in": found}
    return found


# generated


def texts() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(PIECES), max_size=3).map("".join)


def marked() -> st.SearchStrategy[str]:
    return texts().map(lambda tail: f"<m>{tail}")


def values() -> st.SearchStrategy[Any]:
    leaf = st.one_of(marked(), texts(), st.sampled_from(NUMBERS), st.none(), st.booleans())
    return st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts(), inner, max_size=2), max_leaves=4
    )


def references() -> st.SearchStrategy[str]:
    names = st.sampled_from(NAMES)
    return st.one_of(names, names, names.map("{} upper".format), st.builds("{} {}".format, names, SPELLED))


SPELLED = st.sampled_from([spelling for spelling in SPELLINGS if spelling])


@st.composite
def steps(draw: Any) -> Step:
    """One operation; most create or find something, so that the others have something to meet."""
    do = draw(st.sampled_from(("create",) * 4 + ("update", "delete", "relate", "relate", "unrelate") + LOOKS))
    given: dict[str, Any] = {}
    if do in ("update", "delete", "read", "incident"):
        given["id"] = draw(references())
    if do == "unrelate":
        given["id"] = draw(st.sampled_from(("r", "s", "r upper")))
    if do in ("create", "update"):
        given |= draw(content())
    if do == "create":
        given |= {"as": draw(st.sampled_from(NAMES)), "kind": draw(marked())}
        given |= {"id": draw(references())} if draw(st.integers(0, 3)) == 0 else {}
    if do == "relate":
        given |= {"as": draw(st.sampled_from(("r", "s"))), "src": draw(references()), "dst": draw(references())}
        given |= {"type": draw(marked()), "props": draw(st.none() | st.dictionaries(texts(), values(), max_size=2))}
    if do == "list":
        given |= {
            "kind": draw(marked()),
            "limit": draw(st.none() | st.integers(0, 3)),
            "offset": draw(st.integers(0, 2)),
        }
    if do == "search":
        given |= {"text": draw(marked()), "limit": draw(st.none() | st.integers(0, 3))}
    return step(do, **given)


LOOKS = ("read", "list", "search", "search", "incident")


@st.composite
def content(draw: Any) -> dict[str, Any]:
    """Labels and props, each given, null, or absent."""
    found: dict[str, Any] = {}
    if draw(st.booleans()):
        found["labels"] = draw(st.none() | st.lists(marked(), max_size=3))
    if draw(st.booleans()):
        found["props"] = draw(st.none() | st.dictionaries(texts(), values(), max_size=3))
    return found


def sequences() -> st.SearchStrategy[tuple[Step, ...]]:
    return st.lists(steps(), min_size=1, max_size=12).map(tuple)
