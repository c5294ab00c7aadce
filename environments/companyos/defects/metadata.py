"""Known-bad behaviours of metadata on the edge's SQLite: what it would do if nobody saw to it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

from environments.companyos import clock, operations
from environments.companyos.defects import defect
from environments.companyos.services import Services
from environments.companyos.storage import sqlite
from environments.companyos.storage.base import Doc
from environments.companyos.storage.postgres import Postgres
from environments.companyos.storage.rows import search_text
from environments.companyos.storage.sql import SqlTx


def on_edge(*kills: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return defect(kills=kills, modes=("D",), roles=("edge",))


def _search_by(words: Callable[[Doc], str], fold: Callable[[str], str], pattern: Callable[[str], str]) -> None:
    """Search as SQLite's LIKE does it."""

    def search(self: SqlTx, text: str, limit: int = 50) -> list[Doc]:
        sql = "SELECT :words LIKE :pattern ESCAPE '\\'"
        asked = f"%{pattern(fold(text))}%"
        every = self.list_entities(limit=-1)
        return [doc for doc in every if self.rows(sql, words=words(doc), pattern=asked)[0][0]][:limit]

    SqlTx.search = search  # type: ignore[method-assign]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _as_written(doc: Doc) -> str:
    def strings(value: Any) -> list[str]:
        if isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            return [text for each in inner for text in strings(each)]
        return [value] if isinstance(value, str) else []

    return "\n".join([doc["kind"], *doc["labels"], *strings(doc["props"])])


@on_edge("FUN-01", "FUN-06")
def like_folds_ascii_alone(services: Services) -> None:
    """Search is left to SQLite's LIKE, which folds the case of ASCII letters and of no others (sqlite.org, "LIKE"). The
    golden corpus searches for an umlaut in capitals, and sees it too."""
    _search_by(_as_written, str, _escaped)


def _folded(doc: Doc) -> str:
    return search_text(doc["kind"], doc["labels"], doc["props"])


@on_edge("FUN-01", "FUN-06")
def like_takes_wildcards(services: Services) -> None:
    """What is searched for goes into LIKE as it is: % and _ match anything. The golden corpus searches for both."""
    _search_by(_folded, str.casefold, lambda text: text.replace("\\", "\\\\"))


@on_edge("FUN-01", "FUN-06")
def foreign_keys_are_off(services: Services) -> None:
    """SQLite checks no reference unless each connection asks for it, and this one does not: relationships lead nowhere.
    The golden corpus relates to an absent entity, and sees it too."""
    services.store.close()
    asked = tuple(each for each in sqlite.PRAGMAS if not each.startswith("foreign_keys"))
    sqlite.PRAGMAS = asked  # type: ignore[assignment]


@defect(kills=("FUN-06",), modes=("A",), roles=("data",))
def core_pads_kinds(services: Services) -> None:
    """In core the column is CHAR(200), to which trailing spaces mean nothing (PostgreSQL, 8.3); the edge has TEXT."""
    genuine = Postgres.run

    def run(self: Postgres, sql: str, params: dict[str, Any]) -> Any:
        return genuine(self, sql.replace("kind = :kind", "rtrim(kind) = rtrim(:kind)"), params)

    Postgres.run = run  # type: ignore[method-assign]


def _kinds_collated(collation: str) -> None:
    genuine = sqlite.Sqlite.run

    def run(self: sqlite.Sqlite, sql: str, params: dict[str, Any]) -> Any:
        return genuine(self, sql.replace("kind = :kind", f"kind = :kind COLLATE {collation}"), params)

    sqlite.Sqlite.run = run  # type: ignore[method-assign]


@on_edge("FUN-01", "FUN-06")
def kinds_without_case(services: Services) -> None:
    """The column was declared COLLATE NOCASE, as SQLite's manual offers it for names. The golden corpus lists a kind in
    capitals, and sees it too."""
    _kinds_collated("NOCASE")


@on_edge("FUN-06")
def trailing_spaces_do_not_count(services: Services) -> None:
    """Kinds are compared with COLLATE RTRIM, as a CHAR column of PostgreSQL would: `a` and `a ` are one."""
    _kinds_collated("RTRIM")


def _values_as(change: Callable[[Any], Any]) -> None:
    """Every value in props goes through `change` on its way in."""
    genuine = operations.json_object

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else change(value)

    operations.json_object = lambda value, what: walk(genuine(value, what))


def _number(value: Any) -> bool:
    return type(value) in (int, float)


@on_edge("FUN-01", "FUN-06")
def numbers_through_a_double(services: Services) -> None:
    """Numbers are kept as REAL: 9007199254740993 comes back as ...992 (RFC 8259, section 6, warns of it). It is in the
    golden corpus too."""
    _values_as(lambda value: _whole(float(value)) if _number(value) and abs(value) < 1e300 else value)


def _whole(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) > 1e15 else value


@on_edge("FUN-06")
def integers_of_64_bits(services: Services) -> None:
    """SQLite's INTEGER has 64 bits; larger ones become REAL there, and stay as they are in core."""
    _values_as(lambda value: float(value) if type(value) is int and not -(1 << 63) <= value < 1 << 63 else value)


@on_edge("FUN-06")
def negative_zero_is_zero(services: Services) -> None:
    """REAL values that are whole are kept as integers to save space, and the sign of -0.0 goes with it."""
    _values_as(lambda value: 0.0 if _number(value) and value == 0 and type(value) is float else value)


@on_edge("FUN-01", "FUN-06")
def empty_text_is_null(services: Services) -> None:
    """The data layer was written for a database to which '' is NULL (Oracle's oldest surprise). An empty text is in the
    golden corpus too."""
    _values_as(lambda value: None if value == "" else value)


@on_edge("FUN-01", "FUN-06")
def text_is_normalised(services: Services) -> None:
    """Texts are brought to NFC on the way in, as file systems do: two spellings are one. The golden corpus has both."""
    _values_as(lambda value: unicodedata.normalize("NFC", value) if isinstance(value, str) else value)
    genuine = operations.text
    operations.text = lambda value, what, limit=1000: unicodedata.normalize("NFC", genuine(value, what, limit))


@on_edge("FUN-06")
def text_ends_at_nul(services: Services) -> None:
    """What follows a NUL is cut off, as sqlite3_column_text() read as a C string does; core refuses it."""
    genuine = operations.text
    operations.text = lambda value, what, limit=1000: genuine(value.split("\0")[0], what, limit)


@on_edge("FUN-06")
def ids_in_capitals_are_others(services: Services) -> None:
    """PostgreSQL's uuid type takes an id of any case; the TEXT column of SQLite has only the one that was written."""
    genuine = SqlTx.lock_entity
    SqlTx.lock_entity = lambda self, id_: genuine(self, id_) if id_ == id_.lower() else None  # type: ignore[method-assign]


@on_edge("FUN-06")
def local_time_called_utc(services: Services) -> None:
    """datetime('now', 'localtime') with a Z behind it: the edge is in Helsinki, and two hours ahead of everyone."""
    services.clock.stamp = lambda: clock.stamp(services.clock.now() + 7200)  # type: ignore[method-assign]


@on_edge("FUN-01", "FUN-06")
def times_in_whole_seconds(services: Services) -> None:
    """CURRENT_TIMESTAMP of SQLite has no fraction: what was made in one second is listed in the order of its ids, which
    the golden corpus sees too."""
    services.clock.stamp = lambda: clock.stamp(int(services.clock.now()))  # type: ignore[method-assign]
