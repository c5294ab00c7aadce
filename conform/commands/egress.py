"""conform egress: what has tried to leave a deployment that runs in another shell, and who tried."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from conform import catalogue
from conform.console import completes, out, print_json, say
from conform.egresstable import lines, tables
from conform.found import ask, find, running
from conform.settings import BadArguments, refuse
from reports.egress import grouped


def _sites() -> list[str]:
    return [site for each in running() for site in ask(each, "egress", command="show")["sites"]]


def egress(
    run: Annotated[
        str | None,
        typer.Option("--run", help="Run id, where several deployments run. Default: the newest of `conform up`."),
    ] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="Of this site only.", autocompletion=completes(_sites))
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: groups, and every row.")] = False,
) -> None:
    """Show what has tried to leave a running deployment, grouped: process, service, destination, count.

    What the columns mean and what cannot be seen: docs/egress.md.
    """
    deployment = find(run, "egress")
    why = deployment.document.get("missing", {}).get("egress-ledger")
    if why:
        raise BadArguments(f"egress: untestable here: egress-ledger: {why}")
    shown = ask(deployment, "egress", command="show")
    if site is not None:
        refuse(catalogue.unknown("site", [site], shown["sites"]))

    from environments.network import ledger
    from environments.network.egress import sync

    sync(lambda: int(ask(deployment, "egress", command="sync").get("unanswered", 0)))
    rows = [row for row in ledger.read(deployment.workdir, site) if row["phase"] != ledger.CANARY]
    found = grouped(rows)
    if as_json:
        print_json(
            {
                "run_id": deployment.run_id,
                "profile": deployment.profile,
                "answer": shown["mode"],
                "groups": [asdict(each) for each in found],
                "rows": rows,
            }
        )
        return
    say(f"{deployment.profile}  run {deployment.run_id}  the sentinel's answer: {shown['mode']}")
    if not found:
        say("nothing has tried to leave")
    elif out.is_terminal:
        for each in tables(found):
            out.print(each)
    else:
        for line in lines(found):
            say(line)
