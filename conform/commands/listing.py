"""conform list"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from conform import catalogue
from conform.console import complete_suite, out, print_json


class What(StrEnum):
    PROFILES = "profiles"
    SUITES = "suites"
    REQUIREMENTS = "requirements"
    DEFECTS = "defects"


def list_(
    what: Annotated[str, typer.Argument(help="profiles, suites, requirements or defects")] = "profiles",
    suite: Annotated[
        str | None, typer.Option(help="Requirements of this suite only.", autocompletion=complete_suite)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """List profiles, suites, requirements or defects."""
    from conform.settings import BadArguments, refuse

    kinds = [kind.value for kind in What]
    if what not in kinds:
        raise BadArguments(f"list: there is nothing called {what!r} to list. {catalogue.nearest(what, kinds)}")
    if suite is not None:
        refuse(catalogue.unknown("suite", [suite], catalogue.suites(catalogue.catalogue().values())))
    rows = {
        What.PROFILES: _profiles,
        What.SUITES: _suites,
        What.REQUIREMENTS: lambda: _requirements(suite),
        What.DEFECTS: _defects,
    }[What(what)]()
    if as_json:
        print_json(rows)
        return
    out.print(_table(rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(rows[0] if rows else ()):
        table.add_column(name.replace("_", " "), no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    return table


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "-"
    return str(value)


def _profiles() -> list[dict[str, Any]]:
    import profiles

    entries = catalogue.catalogue().values()
    rows = []
    for name in profiles.ids():
        profile = profiles.load(name)
        count = sum(catalogue.applies(entry, profile).applies for entry in entries)
        mode = profile.path or profile.mode
        rows.append(
            {"id": name, "mode": mode, "title": profile.title, "requirements": count, "sites": list(profile.sites)}
        )
    return rows


def _suites() -> list[dict[str, Any]]:
    entries = catalogue.catalogue().values()
    checked = {check.requirement for check in catalogue.checks()}
    rows = []
    for name in catalogue.suites(entries):
        ids = [entry.id for entry in entries if entry.suite == name]
        rows.append({"suite": name, "requirements": len(ids), "with_a_check": sum(each in checked for each in ids)})
    return rows


def _requirements(suite: str | None) -> list[dict[str, Any]]:
    checked = {check.requirement for check in catalogue.checks()}
    return [
        {
            "id": entry.id,
            "level": entry.level,
            "applies_to": list(entry.paths or entry.modes or ["all"]),
            "check": entry.id in checked,
            "statement": entry.statement,
        }
        for entry in catalogue.catalogue().values()
        if suite is None or entry.suite == suite
    ]


def _defects() -> list[dict[str, Any]]:
    from conform.defects import known

    return [
        {
            "name": each.name,
            "kills": list(each.kills),
            "modes": list(each.modes) or ["all"],
            "phase": each.phase,
            "what_goes_wrong": each.says,
        }
        for each in known().values()
    ]
