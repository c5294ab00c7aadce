"""The pytest plugin: options, and nothing else unless the checks under suites/ are what pytest was asked to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from conform import settings as options
from conform.catalogue import SUITES


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "requirement(id, needs, only): binds a check to a requirement (environments.contract)"
    )
    if (
        not _concerned(config)
        or config.option.help
        or (config.option.collectonly and getattr(config.option, "numprocesses", None))
    ):
        return
    from conform import fixtures, interrupts
    from conform.checking import Checking
    from conform.controlling import Controller

    worker = getattr(config, "workerinput", None)
    if worker is not None:
        vars(config.option).update(worker["conform"])  # what the controller settled: see Controller
    elif config.pluginmanager.is_blocked("terminal"):
        config.option.tbstyle = "native"  # `conform run` shows no traceback; taking source apart for one costs seconds
    try:
        settings = options.settle(config.option, config.invocation_params.dir)
    except options.BadArguments as error:
        raise pytest.UsageError(str(error)) from None
    interrupts.first_only()
    distributed = worker is None and config.getoption("dist", "no") != "no"
    config.option.continue_on_collection_errors = True  # the ids of a broken module become errors, the others run
    if not distributed:
        name = worker["workerid"] if worker is not None else "main"
        config.pluginmanager.register(fixtures, "conform-fixtures")
        config.pluginmanager.register(Checking(settings, name), "conform-checking")
    if (
        worker is None and not config.option.collectonly
    ):  # registered last, so that it ends last: the parts are closed when it merges them
        config.pluginmanager.register(Controller(settings, config, distributed), "conform-controller")


def _concerned(config: pytest.Config) -> bool:
    """Whether one of the paths is the suites' folder or in it."""
    roots = {config.rootpath / "suites", SUITES}
    for argument in config.args:
        path = Path(config.invocation_params.dir, argument.split("::")[0]).resolve()
        if any(path == root or root in path.parents for root in roots):
            return True
    return False
