"""Known-bad installations by the local driver. See environments.drivers.defects."""

from __future__ import annotations

from environments.drivers.defects import Replace, driver_defect
from environments.drivers.local import postgres


@driver_defect(kills=("ISO-22",), drivers=("local",), modes=("A", "B", "Ct", "Ca"))
def engine_without_fixes(replace: Replace) -> None:
    """The database is PostgreSQL 16.2, from an image that nobody built anew: statistics leak past row security."""
    replace(postgres, "WHEEL", "pgserver")
