"""The lock and the recipes: they fit each other, and each way of being wrong has its one error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from environments.images import building, content, golang, lockfile, recipe
from environments.images.errors import LockError

LOCK = json.loads(lockfile.LOCK.read_text())


def written(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "images.lock"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_each_image_is_locked_with_all_its_inputs() -> None:
    lock = lockfile.load()
    assert set(recipe.names()) == set(lock.images) == set(recipe.ORDER)
    for name in recipe.names():
        made = recipe.recipe(name)
        kinds = {item.kind for item in lock.images[name].inputs}
        wanted = {"deb": made.packages, "wheel": made.wheels, "jar": made.jars}
        assert kinds == {kind for kind, asked in wanted.items() if asked}, name
        assert content.version(name, lock, {})
        assert [pinned.files for pinned in lock.images[name].go] == [golang.source_digest(each) for each in made.go]


def test_inputs_are_named_once_and_sized() -> None:
    lock = lockfile.load()
    for name, image in lock.images.items():
        files = [item.file for item in image.inputs]
        assert len(files) == len(set(files)), name
        for item in image.inputs:
            assert item.where or item.kind == "wheel"


def test_no_image_runs_as_root_or_carries_a_shell_by_name() -> None:
    for name in recipe.names():
        made = recipe.recipe(name)
        assert made.uid >= 1000
        for command in (made.entrypoint, made.health.test[1:]):
            assert Path(command[0]).name not in ("sh", "bash", "dash", "busybox"), name
        assert made.health.test[0] == "CMD", name
    uids = [recipe.recipe(name).uid for name in recipe.names()]
    assert len(uids) == len(set(uids))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lock: lock.update(format=2), "format: Input should be 1"),
        (lambda lock: lock["images"]["tpm"]["inputs"][0].update(sha256="x"), r"images.tpm.inputs.0.sha256"),
        (lambda lock: lock["images"]["tpm"]["inputs"][0].update(size_bytes=0), r"images.tpm.inputs.0.size_bytes"),
        (lambda lock: lock["images"]["tpm"].update(inptus=[]), r"images.tpm.inptus: Extra inputs"),
        (lambda lock: lock.pop("toolchain"), "toolchain: Field required"),
    ],
)
def test_a_lock_that_is_wrong_says_where(tmp_path: Path, change, said: str) -> None:  # type: ignore[no-untyped-def]
    document = json.loads(json.dumps(LOCK))
    change(document)
    with pytest.raises(LockError, match=f"{said}.*conform images lock"):
        lockfile.load(written(tmp_path, document))


def test_a_lock_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=r"is missing"):
        lockfile.load(tmp_path / "images.lock")
    with pytest.raises(LockError, match=r"Invalid JSON"):
        lockfile.load(written(tmp_path, "{"))


def test_an_image_that_the_lock_does_not_have_is_refused() -> None:
    lock = lockfile.load()
    less = lock.model_copy(update={"images": {}})
    with pytest.raises(LockError, match=r"no inputs for tpm.*conform images lock tpm"):
        building.require_locked("tpm", less)


def test_go_sources_that_changed_since_are_refused() -> None:
    lock = lockfile.load()
    image = lock.images["opa"]
    other = image.go[0].model_copy(update={"files": {**image.go[0].files, "go.sum": "0" * 64}})
    changed = lock.model_copy(update={"images": {"opa": image.model_copy(update={"go": (other,)})}})
    with pytest.raises(LockError, match=r"opa/go is not what the lock says"):
        building.require_locked("opa", changed)


def test_an_unknown_image_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LockError, match=r"no image 'postgers'; images are pause, companyos, postgres"):
        recipe.recipe("postgers")


def test_an_id_counts_for_its_inputs_alone() -> None:
    locked = lockfile.Locked(image_id="sha256:a", inputs_sha256="b")
    assert (locked.pinned("b"), locked.pinned("c")) == ("sha256:a", None)


def test_saving_and_loading_a_lock_changes_nothing(tmp_path: Path) -> None:
    lockfile.save(lockfile.load(), tmp_path / "images.lock")
    assert (tmp_path / "images.lock").read_bytes() == lockfile.LOCK.read_bytes()
