"""What a run was asked to do, validated once; the same in the controller and in every xdist worker."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

import profiles
from conform import catalogue
from environments import DRIVERS, adapters, unusable
from environments.schedules.model import Schedule, ScheduleError
from profiles import LinkSpec, Profile, ProfileError
from profiles.load import preset, presets

Clocks = Literal["knob", "faketime"]
CLOCKS: tuple[Clocks, ...] = get_args(Clocks)
SOAK_S = 20.0  # long enough for a verdict; hours of it find smaller leaks
LONGEST_SOAK_S = 7 * 86400.0
SCHEDULE = "schedule.yaml"  # in the folder of a run: the compiled schedule


class BadArguments(Exception):
    """Arguments that cannot be used; `str()` is the one line for the user, exit code 254."""


@dataclass(frozen=True)
class Settings:
    run_id: str
    run_dir: Path
    profiles: tuple[Profile, ...]
    profile_names: tuple[str, ...]  # as given: ids or paths of files
    driver: str
    seed: int
    only: tuple[str, ...]
    suites: tuple[str, ...]
    service_defects: tuple[str, ...]
    network_defects: tuple[str, ...]
    strict: bool
    link: str | None
    keep: bool
    report: bool
    calibrate: bool
    until_red: bool
    soak_s: float = SOAK_S
    schedule: Schedule | None = None  # played from the start of each check
    clocks: Clocks = "knob"

    @property
    def defects(self) -> tuple[str, ...]:
        return self.service_defects + self.network_defects

    def selects(self, requirement: str, suite: str) -> bool:
        return (not self.only or requirement in self.only) and (not self.suites or suite in self.suites)

    def repro(self, requirement: str, profile: str) -> str:
        """The one line that runs this check again in the same circumstances."""
        given = dict(zip((each.id for each in self.profiles), self.profile_names, strict=True))
        parts = ["conform", "run", "--profile", given.get(profile, profile)]
        parts += ["--only", requirement, "--seed", str(self.seed)]
        if self.driver != DRIVERS[0]:
            parts += ["--driver", self.driver]
        if self.link:
            parts += ["--link", self.link]
        if self.clocks != CLOCKS[0]:
            parts += ["--clocks", self.clocks]
        if self.soak_s != SOAK_S:
            parts += ["--soak", f"{self.soak_s:g}"]
        if self.schedule is not None:
            parts += ["--schedule", str(self.run_dir / SCHEDULE)]  # as it was played; the file it came from may change
        for name in self.defects:
            parts += ["--defect", name]
        return shlex.join(parts)


def new_run_id() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("conform", "CompanyOS conformance (checks under suites/)")
    add = group.addoption
    add("--profile", action="append", default=[], metavar="ID", help="profile id or file; repeatable (default: all)")
    add(
        "--driver",
        default=DRIVERS[0],
        help="how a profile becomes real: local (the default), containers, or package.module:Adapter",
    )
    add("--only", action="append", default=[], metavar="REQ", help="requirement id; repeatable")
    add("--suite", action="append", default=[], metavar="NAME", help="suite name; repeatable")
    add("--defect", action="append", default=[], metavar="NAME", help="switch on a known-bad behaviour; repeatable")
    add("--seed", type=int, default=None, help="seed of everything random (default: a fresh one, recorded)")
    add("--conform-strict", action="store_true", help="hold the run to all that applies, verified here or not")
    add("--run-dir", default=None, metavar="DIR", help="where journal and report go (default: runs/<run id>)")
    add("--link", default=None, metavar="PRESET", help="a preset of links.yaml for every link of the profiles")
    add("--clocks", default=CLOCKS[0], help="how clocks of nodes are set: knob (the product's own) or faketime")
    add("--schedule", default=None, metavar="FILE", help="play this schedule from the start of each check; one profile")
    add("--soak", type=float, default=SOAK_S, metavar="SECONDS", help="length of the soak of an edge node")
    add("--keep", action="store_true", help="keep the deployment's files after the run")
    add("--no-report", action="store_true", help="write the journal only")
    add("--uncalibrated", action="store_true", help="kill matrix only: do not measure the links first")
    add("--until-red", action="store_true", help="kill matrix only: leave an id at its first failing check")
    add("--run-id", default=None, help="id that labels everything made (default: a fresh one)")


def settle(option: Any, here: Path) -> Settings:
    """Settings of the parsed options; fills in what was open, so that workers get the same. Raises BadArguments."""
    option.run_id = option.run_id or new_run_id()
    option.run_dir = str(Path(here, option.run_dir or Path("runs", option.run_id)))
    option.seed = secrets.randbelow(2**31) if option.seed is None else option.seed
    names = tuple(dict.fromkeys(option.profile or profiles.ids()))
    loaded = tuple(load_profile(name, option.link) for name in names)
    try:
        entries = catalogue.catalogue()
    except catalogue.CatalogueError as error:
        raise BadArguments(str(error)) from None
    refuse(catalogue.unknown("only", option.only, entries, "requirement"))
    refuse(catalogue.unknown("suite", option.suite, catalogue.suites(entries.values())))
    refuse_driver(option)
    refuse(catalogue.unknown("clocks", [option.clocks], CLOCKS, "way to set clocks"))
    if not 1 <= option.soak <= LONGEST_SOAK_S:
        raise BadArguments(f"--soak: expected 1 to {LONGEST_SOAK_S:g} seconds, not {option.soak:g}.")
    service, network = split_defects(option.defect)
    if option.schedule is not None and len(loaded) != 1:
        raise BadArguments(f"--schedule: is for one profile, not {len(loaded)}. Name it with --profile.")
    return Settings(
        run_id=option.run_id,
        run_dir=Path(option.run_dir),
        profiles=loaded,
        profile_names=names,
        driver=option.driver,
        seed=option.seed,
        only=tuple(option.only),
        suites=tuple(option.suite),
        service_defects=service,
        network_defects=network,
        strict=option.conform_strict,
        link=option.link,
        keep=option.keep,
        report=not option.no_report,
        calibrate=not option.uncalibrated,
        until_red=option.until_red,
        clocks=option.clocks,
        soak_s=option.soak,
        schedule=None if option.schedule is None else load_schedule(Path(here, option.schedule), loaded[0]),
    )


def refuse(problem: str | None) -> None:
    if problem is not None:
        raise BadArguments(problem)


def refuse_driver(option: Any) -> None:
    """A driver of ours that this machine can run, or an adapter (`module:attribute`) that fits."""
    if not adapters.is_adapter(option.driver):
        refuse(catalogue.unknown("driver", [option.driver], DRIVERS))
        refuse_unusable(option.driver)
        return
    for name in ("defect", "schedule", "link"):
        if getattr(option, name):
            raise BadArguments(f"--{name}: is for deployments that the suite stands up, not for an adapter's.")
    try:
        adapters.load(option.driver)
    except adapters.AdapterError as error:
        raise BadArguments(f"--driver: {error}") from None


def refuse_adapter(driver: str, command: str) -> None:
    """For commands that stand something up themselves."""
    if adapters.is_adapter(driver):
        raise BadArguments(f"--driver {driver}: {command} stands a profile up itself. Choose {' or '.join(DRIVERS)}.")


def refuse_unusable(driver: str) -> None:
    why = unusable(driver)
    refuse(f"--driver {driver}: {why}" if why else None)


def load_profile(name: str, link: str | None = None) -> Profile:
    """The profile, with every link at the preset if one is given. Raises BadArguments."""
    try:
        profile = profiles.load(name)
        if link is None:
            return profile
        refuse(catalogue.unknown("link", [link], presets(), "link preset"))
        forward, back = preset(link, "--link")
    except ProfileError as error:
        raise BadArguments(str(error)) from None
    links = [LinkSpec(between=each.between, forward=forward, back=back, preset=link) for each in profile.links]
    return profile.model_copy(update={"links": links})


def load_schedule(path: Path, profile: Profile) -> Schedule:
    """The compiled schedule. Raises BadArguments, with file, line and key, for one that the profile cannot play."""
    from environments.schedules.reader import read
    from environments.schedules.targets import of_profile

    try:
        return read(path, of_profile(profile))
    except OSError as error:
        raise BadArguments(f"--schedule: {path}: {error.strerror or error}") from None
    except ScheduleError as error:
        raise BadArguments(f"--schedule: {error}") from None


def keep_schedule(schedule: Schedule, run_dir: Path) -> None:
    """The flat list beside the evidence: it replays exactly."""
    from environments.schedules.reader import written

    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / SCHEDULE).write_text(written(schedule), encoding="utf-8")


def split_defects(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(defects of the simulated CompanyOS and of its installation, defects of the network) of the names. Raises
    BadArguments."""
    if not names:
        return (), ()
    from environments.companyos.defects import registry
    from environments.drivers.defects import registry as of_drivers
    from environments.network.defects import DEFECTS

    service = {**registry(), **of_drivers()}
    refuse(catalogue.unknown("defect", names, [*service, *DEFECTS]))
    wanted: Iterable[str] = dict.fromkeys(names)
    return tuple(n for n in wanted if n in service), tuple(n for n in names if n in DEFECTS)
