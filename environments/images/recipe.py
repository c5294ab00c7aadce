"""How each image is made: `<name>/image.yaml`, and beside it files that go in as they are."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from environments.images.errors import LockError
from environments.images.lockfile import FOLDER

ORDER = ("pause", "companyos", "postgres", "neo4j", "opa", "toxiproxy", "directory", "idp", "llama", "tpm")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Health(Strict):
    """A command without a shell; the engine runs it in the container."""

    test: list[str]
    interval_s: float = 30.0
    timeout_s: float = 5.0
    retries: int = 3
    start_period_s: float = 0.0


class Folder(Strict):
    """A folder that the image's user writes to: a mount goes there, since the root is read-only."""

    path: str
    mode: str = Field("0755", pattern=r"^0[0-7]{3,4}$")


class GoSource(Strict):
    """A program of a Go module. `folder`: of this package, with the go.mod and go.sum that pin it."""

    folder: str
    package: str
    binary: str  # path in the image
    ldflags: str = ""
    module: str = ""  # whose program it is, where `package` is a command of ours around it


class Recipe(Strict):
    title: str
    version_of: str  # the input (or Go module) whose version is the image's; `suite`: this suite's own
    base: str | None = None  # a list of packages in bases.yaml that several images share as their lowest layer
    suite: str | None = None
    packages: list[str] = []
    skip: list[str] = []  # packages that are left out, with all that only they need
    wheels: list[str] = []
    wheel_skip: list[str] = []  # patterns of what they need and the image does not
    wheel_target: str = "usr/local/lib/python3.13/dist-packages"
    bytecode: bool = True  # make it, where there are modules
    jars: list[str] = []  # Maven coordinates group:artifact:version
    jar_skip: list[str] = []  # patterns of group:artifact
    go: list[GoSource] = []
    omit: list[str] = []  # paths left out; `!` before one keeps it
    links: dict[str, str] = {}  # path -> target
    model: str = ""  # path of the model that model.py makes
    user: str
    uid: int = Field(ge=1000, le=60000)
    home: str = "/"
    folders: list[Folder] = []
    entrypoint: list[str]
    command: list[str] = []
    env: dict[str, str] = {}
    health: Health
    code: bool = False  # the simulated CompanyOS goes in, as a layer of its own
    stop_signal: str = "SIGTERM"


class Base(Strict):
    suite: str
    packages: list[str]
    skip: list[str] = []
    omit: list[str] = []


@cache
def recipe(name: str) -> Recipe:
    """Raises LockError: no such image, or a recipe that cannot be used."""
    path = FOLDER / name / "image.yaml"
    if name not in ORDER or not path.is_file():
        raise LockError(f"there is no image {name!r}; images are {', '.join(names())}")
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise LockError(f"{name}/image.yaml: {_first(error)}. Correct the recipe") from None


@cache
def bases() -> dict[str, Base]:
    path = FOLDER / "bases.yaml"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {name: Base.model_validate(each) for name, each in document.items()}
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise LockError(f"bases.yaml: {_first(error)}. Correct the recipe") from None


def names() -> list[str]:
    """The images, in the order in which they are built."""
    return [name for name in ORDER if (FOLDER / name / "image.yaml").is_file()]


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error).replace("\n", " ")


def own_files(name: str) -> dict[str, Path]:
    """Files of ours that go into the image, by their path in it."""
    root = FOLDER / name / "root"
    found = [path for path in sorted(root.rglob("*")) if path.is_file() and path.parent.name != "__pycache__"]
    return {str(path.relative_to(root)): path for path in found}
