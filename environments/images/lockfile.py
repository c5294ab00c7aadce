"""The lock: every input of every image, pinned by version and sha256, and the image that comes out."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from environments.images.errors import LockError

FOLDER = Path(__file__).parent
LOCK = FOLDER / "images.lock"
FORMAT = 1
SHA256 = r"^[0-9a-f]{64}$"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(Strict):
    """One file that goes in. `where`: path below the mirror of its kind (deb: archive first; jar: Maven's layout)."""

    kind: Literal["deb", "wheel", "jar", "toolchain"]
    name: str
    version: str
    file: str  # its name
    where: str = ""  # empty: pip finds it
    sha256: str = Field(pattern=SHA256)
    size_bytes: int = Field(ge=1)
    suite: str = ""  # deb: the suite that it was pinned from


class GoBinary(Strict):
    """A program built from Go source: a module of ours, or one that pins another's program (`module`, path@version)."""

    folder: str
    files: dict[str, str]  # name -> sha256; go.sum is among them, and pins all the rest
    module: str


class Locked(Strict):
    """One image: its inputs, layer by layer, and the id that they give."""

    inputs: tuple[Input, ...] = ()
    go: tuple[GoBinary, ...] = ()
    image_id: str | None = None
    inputs_sha256: str | None = (
        None  # all that the id is of: with our code, or a recipe, changed since, it says nothing
    )

    def pinned(self, inputs_sha256: str) -> str | None:
        """The id that an image of these inputs must have; None: the lock was written before they were as they are."""
        return self.image_id if self.inputs_sha256 == inputs_sha256 else None


class Lock(Strict):
    format: Literal[1]
    created: str  # RFC 3339; the date in the images
    bases: dict[str, tuple[Input, ...]]
    toolchain: Input
    images: dict[str, Locked]


@cache
def load(path: Path = LOCK) -> Lock:
    """Raises LockError: where, what, and what to do."""
    remedy = "Take it from the repository again, or write it anew: conform images lock"
    try:
        return Lock.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise LockError(f"{path} is missing. {remedy}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LockError(f"{path.name}: {where or 'the file'}: {first['msg']}. {remedy}") from None


def save(lock: Lock, path: Path = LOCK) -> None:
    document = lock.model_dump(mode="json", exclude_defaults=True) | {"format": FORMAT}
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
