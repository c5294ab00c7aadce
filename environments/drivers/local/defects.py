"""Known-bad installations by the local driver. See environments.drivers.defects."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from environments.drivers.defects import Replace, driver_defect
from environments.drivers.local import postgres


@driver_defect(kills=("ISO-22",), drivers=("local",), modes=("A", "B", "Ct", "Ca"))
def engine_without_fixes(replace: Replace) -> None:
    """The database is PostgreSQL 16.2, from an image that nobody built anew: statistics leak past row security."""
    replace(postgres, "WHEEL", "pgserver")


@driver_defect(kills=("ISO-20",), drivers=("local",), modes=("B",))
def instances_are_clones_of_one_image(replace: Replace) -> None:
    """Each dedicated instance is a copy of one installed machine, the identity of its database included."""
    with TemporaryDirectory() as folder:  # the image is there before the first copy
        postgres.copy_template(Path(folder) / "image")
    replace(postgres, "initialise", postgres.copy_template)
