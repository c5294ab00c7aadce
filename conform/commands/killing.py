"""conform kill-matrix"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from conform import catalogue
from conform.console import DriverOption, complete_defect, complete_requirement, err, out, print_json, say


def kill_matrix(
    defect: Annotated[
        list[str] | None,
        typer.Option("--defect", help="Only this defect; repeatable. Default: all.", autocompletion=complete_defect),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            help="Only this requirement, and the defects that it claims; repeatable. Default: all.",
            autocompletion=complete_requirement,
        ),
    ] = None,
    driver: DriverOption = "local",
    parallel: Annotated[
        int | None,
        typer.Option(
            "-n",
            min=1,
            help="Defects at a time. Default: two per core, and up to four while a core is idle; one in containers.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
    clean_run: Annotated[
        bool, typer.Option("--clean/--no-clean", help="Run the claimed checks without defects too.")
    ] = True,
    run_dir: Annotated[Path | None, typer.Option(help="Where the runs go. Default: runs/kill-<run id>.")] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Make it the published one: META-01.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the matrix as JSON.")] = False,
) -> None:
    """Switch each defect on and see that its requirements turn red, and that a sample stays green.

    Exit 1 on a survivor (a defect that nothing caught) or a false alarm; the system without defects must pass too.
    A defect whose check this host cannot make (no browser, say) is untestable: neither, and told.
    """
    from conform import killmatrix
    from conform.admission import Admission
    from conform.defects import known
    from conform.matrixview import publish as write_docs
    from conform.matrixview import show
    from conform.settings import new_run_id, refuse, refuse_unusable
    from environments import DRIVERS

    refuse(catalogue.unknown("driver", [driver], DRIVERS))
    everything = {name: each for name, each in known().items() if each.lives_in(driver)}
    refuse(catalogue.unknown("defect", defect or [], everything))
    refuse(catalogue.unknown("only", only or [], catalogue.catalogue(), "requirement"))
    refuse_unusable(driver)
    chosen = [everything[name] for name in (defect or everything)]
    if only:
        chosen = [each.claiming(only) for each in chosen if set(each.kills) & set(only)]
        refuse(None if chosen else f"--only: no defect of driver {driver} claims {', '.join(only)}.")
    folder = (run_dir or Path("runs", f"kill-{new_run_id()}")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    console = err if as_json else out

    def told(line: str, style: str) -> None:
        console.print(line, style=style, soft_wrap=True, markup=False)

    cores = len(os.sched_getaffinity(0))
    least, most = (cores, cores) if driver == "containers" else (2 * cores, 4 * cores)
    admission = Admission(parallel or least, parallel or most)
    matrix = killmatrix.run(chosen, folder, driver=driver, admission=admission, seed=seed, clean=clean_run, tell=told)
    path = folder / "kill-matrix.json"
    path.write_text(matrix.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if publish and (not matrix.ok or matrix.untestable or not matrix.clean):
        told("not published: what is published holds, with its clean run, and nothing in it was untestable", "bold red")
    elif publish:
        written = write_docs(matrix, catalogue.SUITES.parent / "docs")
        told(f"published: {', '.join(map(str, written))}", "")
    if as_json:
        print_json(matrix.model_dump(mode="json"))
    else:
        show(matrix, out)
        say(f"matrix: {path}")
    raise typer.Exit(0 if matrix.ok else 1)
