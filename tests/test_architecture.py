"""The directions of dependence hold, and modules stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("conform", "profiles", "environments", "suites", "reports")
LINES = 500
FORBIDDEN = {
    # A check sees a deployment through the contract alone; then any implementation can stand behind it.
    "suites": (
        "environments.drivers",
        "environments.companyos",
        "environments.network",
        "environments.facts",
        "reports",
    ),
    "reports": ("suites", "environments", "conform", "profiles"),
    "profiles": ("suites", "environments", "conform", "reports"),
    "environments": ("suites", "conform", "reports"),
    # What stands in for the product is not written against the suite's view of it, nor against a driver.
    "environments/companyos": (
        "suites",
        "conform",
        "reports",
        "profiles",
        "environments.drivers",
        "environments.network",
    ),
    "environments/contract": ("environments.drivers", "environments.companyos", "environments.network", "profiles"),
    "environments/network": ("environments.drivers", "environments.companyos"),
    "environments/link": ("environments.network", "environments.contract", "pydantic", "yaml"),
}
ALLOWED = {"profiles": ("environments.link",)}  # what a profile says of a link, in the words of whoever makes it real


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def violations(root: Path) -> list[str]:
    found = []
    for folder, forbidden in FORBIDDEN.items():
        for path in sorted((root / folder).rglob("*.py")):
            for line, name in imported(path):
                allowed = any(within(name, package) for package in ALLOWED.get(folder, ()))
                if not allowed and any(within(name, package) for package in forbidden):
                    found.append(f"{path.relative_to(root)}:{line} imports {name}")
    return found


def test_dependences_point_the_right_way() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("suites/sync/test_x.py", "from environments.drivers.local import node"),
        ("suites/sync/test_x.py", "def f():\n    import environments.companyos.policy"),
        ("suites/sync/test_x.py", "from environments import drivers"),
        ("reports/x.py", "import profiles"),
    ],
)
def test_a_wrong_import_is_seen(tmp_path: Path, path: str, source: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(source)
    assert len(violations(tmp_path)) >= 1


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES
