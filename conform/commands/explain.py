"""conform explain"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from conform import catalogue
from conform.console import complete_requirement, out, print_json


def explain(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="Requirement, e.g. ISO-08.", autocompletion=complete_requirement)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Tell a requirement: what is promised and where, how it is checked, which defects its checks catch."""
    from conform.settings import BadArguments

    entries = catalogue.catalogue()
    entry = entries.get(identifier.upper())
    if entry is None:
        hint = catalogue.nearest(identifier, entries)
        raise BadArguments(f"explain: there is no requirement {identifier!r}. {hint}")
    document = describe(entry)
    if as_json:
        print_json(document)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in document.items():
        if value:
            table.add_row(name.replace("_", " "), Text("\n".join(value) if isinstance(value, list) else str(value)))
    out.print(table)


def describe(entry: catalogue.Requirement) -> dict[str, Any]:
    """The requirement, its checks and its defects, as text."""
    import profiles
    from conform.defects import known

    loaded = [profiles.load(name) for name in profiles.ids()]
    applies = [profile.id for profile in loaded if catalogue.applies(entry, profile).applies]
    checks = [check for check in catalogue.checks() if check.requirement == entry.id]
    return {
        "id": entry.id,
        "suite": entry.suite,
        "level": entry.level,
        "promise": entry.statement,
        "clause": entry.basis,
        "applies_to": ", ".join(applies) or "no profile that ships",
        "how": entry.how,
        "checks": [f"{check.path.name}::{check.function}: {check.says}" for check in checks] or ["no check yet"],
        "typical_defect": entry.defect,
        "defects": [f"{each.name} ({each.phase}): {each.says}" for each in known().values() if entry.id in each.kills],
        "run": f"conform run --only {entry.id}" + (f" --profile {applies[0]}" if applies else ""),
    }
