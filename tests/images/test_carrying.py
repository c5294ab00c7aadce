"""An archive brings the images that were exported, or nothing and one line that says what is wrong with it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import own_images
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from environments.images import carrying, loading, manifest, store
from environments.images.errors import ArchiveError
from environments.images.manifest import Built

fixtures_too = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def image(cache: Path, tmp_path: Path, engine: docker.DockerClient) -> Iterator[Built]:
    image = own_images.made(tmp_path, b"one" * 500)
    yield image
    own_images.removed(engine, image)


@pytest.fixture
def archive(image: Built, tmp_path: Path) -> tuple[Path, str]:
    """(file, what the export printed)"""
    wheel = tmp_path / "thing-1-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    target = tmp_path / "x.tar"
    return target, carrying.export(target, {"pause": image}, wheels=[wheel])


def test_what_was_exported_is_imported(
    engine: docker.DockerClient,
    archive: tuple[Path, str],
    image: Built,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    (found,) = carrying.import_(archive[0], engine, sha256=archive[1])
    assert own_images.alike(found, image)
    assert loading.present(engine, image)
    assert manifest.entries()["pause"] == [found]
    for path in (*found.layer_paths, found.config_path):
        assert Path(path).is_relative_to(store.root())
    assert carrying.import_(archive[0], engine) == [found]


def test_the_archive_is_the_same_for_the_same_images(archive: tuple[Path, str], image: Built, tmp_path: Path) -> None:
    before = archive[0].read_bytes()
    again = carrying.export(archive[0], {"pause": image}, wheels=[tmp_path / "thing-1-py3-none-any.whl"])
    assert (again, archive[0].read_bytes()) == (archive[1], before)


def test_it_tells_how_to_install_there(archive: tuple[Path, str]) -> None:
    with tarfile.open(archive[0]) as tar:
        assert tar.getnames()[:2] == ["contents.json", "README.txt"]
        assert "wheels/thing-1-py3-none-any.whl" in tar.getnames()
        text = tar.extractfile("README.txt").read().decode()  # type: ignore[union-attr]
    assert "--no-index" in text
    assert "conform images import x.tar" in text


def test_another_archive_than_the_one_expected_is_refused(
    engine: docker.DockerClient, archive: tuple[Path, str]
) -> None:
    with pytest.raises(ArchiveError, match=r"is another archive: its sha256 is .*, expected 0000"):
        carrying.import_(archive[0], engine, sha256="0" * 64)


@fixtures_too
@given(st.floats(0, 1))
def test_an_archive_cut_anywhere_is_refused(
    engine: docker.DockerClient, archive: tuple[Path, str], image: Built, where: float
) -> None:
    whole = archive[0].read_bytes()
    needed = whole.rstrip(b"\0")  # the zeros at the end of a tar are padding
    cut = archive[0].with_name("cut.tar")
    cut.write_bytes(whole[: int(where * (len(needed) - 1))])
    with pytest.raises(ArchiveError):
        carrying.import_(cut, engine)
    assert not loading.present(engine, image)
    assert manifest.entries() == {}


@fixtures_too
@given(st.floats(0, 1), st.integers(1, 255))
def test_an_altered_archive_is_refused_or_means_the_same(
    engine: docker.DockerClient, archive: tuple[Path, str], image: Built, where: float, flip: int
) -> None:
    data = bytearray(archive[0].read_bytes())
    data[int(where * (len(data) - 1))] ^= flip
    altered = archive[0].with_name("altered.tar")
    altered.write_bytes(data)
    try:
        (found,) = carrying.import_(altered, engine, sha256=archive[1])
    except ArchiveError as error:
        assert "\n" not in str(error)
    else:  # a byte of padding, or of a time stamp
        assert own_images.alike(found, image)


@pytest.mark.parametrize("member", ["layers/", "configs/", "wheels/"])
def test_each_kind_of_member_is_digested(engine: docker.DockerClient, archive: tuple[Path, str], member: str) -> None:
    with tarfile.open(archive[0]) as tar:
        found = next(each for each in tar if each.name.startswith(member))
        at = found.offset_data + found.size // 2
        name = found.name
    data = bytearray(archive[0].read_bytes())
    data[at] ^= 1
    archive[0].write_bytes(data)
    with pytest.raises(ArchiveError, match=rf"{name} was altered: its sha256 is .*, expected"):
        carrying.import_(archive[0], engine)


def test_a_member_too_many_is_refused(engine: docker.DockerClient, archive: tuple[Path, str], tmp_path: Path) -> None:
    with tarfile.open(archive[0], "a") as tar:
        info = tarfile.TarInfo("layers/../../evil")
        tar.addfile(info)
    with pytest.raises(ArchiveError, match=r"'layers/../../evil' is not in its list"):
        carrying.import_(archive[0], engine)


def test_a_configuration_of_other_layers_is_refused(
    engine: docker.DockerClient, image: Built, archive: tuple[Path, str], tmp_path: Path
) -> None:
    """Somebody who writes the list anew, with digests that fit, does not get another image past the import."""
    document = json.loads(Path(image.config_path).read_bytes())
    document["rootfs"]["diff_ids"].reverse()
    Path(image.config_path).write_text(json.dumps(document))
    target = tmp_path / "z.tar"
    carrying.export(target, {"pause": image}, wheels=[])
    with pytest.raises(ArchiveError, match=r"the configuration of pause names other layers"):
        carrying.import_(target, engine)


def test_what_is_no_archive_is_refused(engine: docker.DockerClient, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with tarfile.open(tmp_path / "tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("thing"))
    refusals = {
        tmp_path / "text": "no archive of ours",
        tmp_path / "tar": "was not made by `conform images",
        tmp_path / "none": "cannot be read: No such file",
        tmp_path: "cannot be read: Is a directory",
    }
    for path, said in refusals.items():
        with pytest.raises(ArchiveError, match=said):
            carrying.import_(path, engine)
