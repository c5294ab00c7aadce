"""Inputs are what the lock says, or are refused; a package that has left the mirror is replaced aloud, or never."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest
from mirror import Mirror, serving

from environments.images import building, debian, fetching, lockfile, recipe, store
from environments.images.errors import FetchError
from environments.images.lockfile import Input, Lock

STANZA = "Package: {0}\nVersion: {1}\nFilename: pool/{0}_{1}.deb\nSHA256: {2}\nSize: {3}\n\n"


@pytest.fixture
def mirror(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    with serving() as mirror:
        monkeypatch.setenv("CONFORM_DEBIAN_MIRROR", mirror.address)
        yield mirror


def no_gone(item: Input) -> None:
    raise AssertionError(f"{item.file} was said to be gone")


def test_an_input_is_fetched_once_and_counted(mirror: Mirror) -> None:
    items = [mirror.deb(f"p{number}", "1", b"content" * number * 1000) for number in range(1, 12)]
    told: list[int] = []
    fetching.fetch_all(items, told.append, no_gone)
    assert sum(told) == sum(item.size_bytes for item in items)
    assert [fetching.place(item).read_bytes() for item in items] == [mirror.files[item.where] for item in items]
    count = len(mirror.asked)
    fetching.fetch_all(items, told.append, no_gone)
    assert len(mirror.asked) == count


def test_another_content_is_refused_and_not_kept(mirror: Mirror) -> None:
    item = mirror.deb("thing", "1", b"good")
    mirror.files[item.where] = b"evil"
    with pytest.raises(FetchError, match=r"is not what the lock says: sha256 .*, expected"):
        fetching.fetch(item)
    assert not fetching.have(item)
    assert not list(store.folder("parts").iterdir())


def test_a_mirror_that_is_busy_is_asked_again(mirror: Mirror) -> None:
    item = mirror.deb("thing", "1", b"good")
    mirror.failing[item.where] = 2
    assert fetching.fetch(item).read_bytes() == b"good"


def test_an_answer_that_is_cut_short_is_refused(mirror: Mirror) -> None:
    item = mirror.deb("thing", "1", b"good" * 1000)
    mirror.cut.add(item.where)
    with pytest.raises(FetchError, match=r"cannot be fetched"):
        fetching.fetch(item)
    assert not fetching.have(item)


def test_a_mirror_that_is_away_is_one_line_with_the_ways_out(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFORM_DEBIAN_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setattr(fetching, "RETRIES", 0)
    item = Input(kind="deb", name="a", version="1", file="a.deb", where="debian/a.deb", sha256="0" * 64, size_bytes=1)
    with pytest.raises(FetchError, match=r"cannot be fetched: .*mirror .*conform images import") as refused:
        fetching.fetch(item)
    assert "\n" not in str(refused.value)


@pytest.fixture
def moved(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> tuple[Lock, Input]:
    """The only input of `tpm` has left the mirror, which has a newer one."""
    old = mirror.deb("swtpm", "1", b"old")
    del mirror.files[old.where]
    new = mirror.deb("swtpm", "2", b"newer")
    index = lzma.compress(STANZA.format("swtpm", "2", new.sha256, 5).encode())
    for _, address in debian.index_urls("trixie"):
        mirror.files[address.removeprefix(f"{mirror.address}/")] = index
    lock = lockfile.load()
    image = lock.images["tpm"].model_copy(update={"inputs": (old,)})
    monkeypatch.setattr(recipe, "bases", dict)
    monkeypatch.setattr(building, "inputs", lambda name, lock: [*lock.images[name].inputs])
    monkeypatch.setattr(building, "require_room", lambda *_: None)
    return lock.model_copy(update={"images": {"tpm": image}}), old


class Noted(building.Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)


def test_the_newest_is_taken_where_the_pinned_one_is_gone_and_said(moved: tuple[Lock, Input]) -> None:
    lock, old = moved
    told = Noted()
    replaced = building.fetch_inputs(["tpm"], lock, None, False, told)  # type: ignore[arg-type]
    assert [(before.version, after.version) for before, after in replaced.items()] == [("1", "2")]
    assert fetching.place(replaced[old]).read_bytes() == b"newer"
    assert told.notes == ["swtpm 1 has left the mirror; 2 was taken, so not as locked"]


def test_locked_refuses_another_package(moved: tuple[Lock, Input]) -> None:
    lock, _ = moved
    with pytest.raises(FetchError, match=r"does not have swtpm 1 any more. Build without --locked"):
        building.fetch_inputs(["tpm"], lock, None, True, Noted())  # type: ignore[arg-type]
