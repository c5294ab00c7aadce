"""conform images build, list, verify, export, import, lock: what `--driver containers` runs"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from conform.console import EXIT_BAD_ARGUMENTS, completes, err, out, print_json, say
from conform.settings import BadArguments

if TYPE_CHECKING:
    from environments.images.manifest import Built

app = typer.Typer(help="The container images: build, list, verify, carry into a lab without a network.")


def _names() -> Iterable[str]:
    from environments.images import recipe

    return recipe.names()


Names = Annotated[
    list[str] | None,
    typer.Argument(help="Images; all, if none is named.", show_default=False, autocompletion=completes(_names)),
]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


def _telling() -> Any:
    """What a build tells of itself: bars on a terminal, lines elsewhere."""
    from environments.images import building

    class Told(building.Progress):
        def __init__(self) -> None:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self.bars = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
            self.task = self.bars.add_task("fetching", total=None, visible=False)

        def fetching(self, count: int, total_bytes: int) -> None:
            say(f"fetching {count} files, {total_bytes / 1e6:.0f} MB")
            self.bars.update(self.task, total=total_bytes, visible=True)

        def fetched(self, size_bytes: int) -> None:
            self.bars.update(self.task, advance=size_bytes)

        def building(self, name: str) -> None:
            self.bars.update(self.task, visible=False)
            say(f"{name}: making its layers")

        def loading(self, name: str) -> None:
            say(f"{name}: giving it to the engine")

        def done(self, image: Built, fresh: bool) -> None:
            say(f"{image.name}: {image.reference} {'built' if fresh else 'is there already'}", "green" if fresh else "")

        def note(self, line: str) -> None:
            say(line, "yellow")

    return Told()


@app.command("build")
def build(
    names: Names = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="Refuse another package where a pinned one has left the mirror.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Write the lock anew first, so that the newest inputs are taken.")
    ] = False,
    from_registry: Annotated[
        str | None,
        typer.Option(metavar="PREFIX", help="Pull the published images, by the ids in the lock, instead of building."),
    ] = None,
) -> None:
    """Build the images without a registry, and give them to the engine. What is there already is not built again."""
    from environments.images import building, engine, lockfile, locking, published

    if from_registry and (locked or update):
        raise BadArguments("--from-registry takes what the lock names: leave out --locked and --update")
    client, told = engine(), _telling()
    with told.bars:
        if from_registry:
            published.pull(names or (), from_registry, client, progress=told)
            return
        if update:
            lockfile.save(locking.lock(names or (), say))
            lockfile.load.cache_clear()
        building.build(names or (), client, locked=locked, progress=told)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The images: version, digest, size, whether they are as the lock says."""
    from environments.images import lockfile, manifest, recipe

    lock, held, found = lockfile.load(), manifest.entries(), manifest.current()
    if as_json:
        print_json({name: asdict(found[name]) if name in found else None for name in recipe.names()})
        return
    table = Table("image", "version", "id", "size", "state", box=None, pad_edge=False)
    for name in recipe.names():
        image = found.get(name)
        if image is None:
            state = "built from other inputs" if name in held else "not built"
            table.add_row(name, "", "", "", Text(state, "yellow"))
            continue
        state = "as locked" if image.as_locked else f"not as locked: {'; '.join(image.replaced) or 'another digest'}"
        if image.as_locked and lock.images[name].pinned(image.inputs_sha256) is None:
            state = "inputs as locked"  # our code, or a recipe, changed since
        size = f"{image.size_bytes / 1e6:.0f} MB"
        table.add_row(name, image.version, image.image_id, size, Text(state, "green" if image.as_locked else "yellow"))
    out.print(table)


@app.command("verify")
def verify(
    names: Names = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every layer back from the engine, and digest it anew.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Whether the engine has the very images that were built from what is here. Exit 254 if not."""
    from environments.images import engine, verifying

    findings = verifying.verify(names or (), engine(), deep=deep)
    if as_json:
        print_json([asdict(each) for each in findings])
    else:
        width = max(len(each.name) for each in findings)
        for each in findings:
            mark = ("ok", "green") if each.ok else ("BAD", "bold red")
            line = Text.assemble((f"{mark[0]:4}", mark[1]), (f"{each.name:{width}}  ", "bold"), each.detail)
            out.print(line, soft_wrap=True)
    if not all(each.ok for each in findings):
        raise typer.Exit(EXIT_BAD_ARGUMENTS)


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="The archive to write (.tar).", dir_okay=False)],
    names: Names = None,
) -> None:
    """One archive of the images, of this suite and of all that it depends on, for a machine without a network."""
    from environments.images import carrying, engine, manifest, verifying

    if not file.absolute().parent.is_dir():
        raise BadArguments(f"there is no folder {file.parent} to write the archive into. Make it, or name another")
    images = manifest.built(*(names or ()))
    bad = [each for each in verifying.verify(images, engine()) if not each.ok]
    if bad:
        raise BadArguments(f"{bad[0].name}: {bad[0].detail}")
    digest = carrying.export(file, images, say)
    say(f"wrote {file}, {file.stat().st_size / 1e6:.0f} MB; its sha256: {digest}", "green")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An archive that `conform images export` wrote.", dir_okay=False)],
    sha256: Annotated[str | None, typer.Option(help="What the export printed: the archive must be that one.")] = None,
) -> None:
    """Verify an archive, and give its images to the engine."""
    from environments.images import carrying, engine

    for each in carrying.import_(file, engine(), sha256=sha256, say=say):
        say(f"{each.name}: {each.reference}", "green")


@app.command("lock")
def lock(
    names: Names = None,
    ids: Annotated[
        bool, typer.Option("--ids", help="Only write in the ids of the images as they are built here.")
    ] = False,
) -> None:
    """Write the lock file anew from today's package indexes (for maintainers). Images not named keep their inputs."""
    from environments.images import lockfile, locking, manifest

    if ids:
        lockfile.save(locking.with_ids(lockfile.load(), manifest.built(*(names or ()))))
        say(f"wrote the ids into {lockfile.LOCK.name}")
        return
    lockfile.save(locking.lock(names or (), say))
    say(f"wrote {lockfile.LOCK.name}. Now `conform images build`, then `conform images lock --ids`")
