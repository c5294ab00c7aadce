"""Custody of keys: sealing, the three keepers, and what happens when one of them says no."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.companyos.config import KeyStoreConfig
from environments.companyos.errors import ApiError
from environments.companyos.keys import KeyStore, KeyUnavailable, filed, hsm, open_key_store, sealing, tpm
from environments.companyos.keys.sealing import MARK, Sealer
from environments.drivers.local.custody import softhsm


class Keys:
    """A transaction's view of the wrapped keys, and the table behind it."""

    def __init__(self, table: dict[str, str]) -> None:
        self.table, self.data_key = table, None
        self.writes = 0

    data_key: str | None

    def stored_key(self, tenant: str) -> str | None:
        return self.table.get(tenant)

    def store_key(self, tenant: str, wrapped: str) -> str:
        self.writes += 1
        return self.table.setdefault(tenant, wrapped)


class Keeper:
    """A key store that can be told to refuse, and counts what it is asked."""

    kind = "test"

    def __init__(self) -> None:
        self.refuses, self.asked = False, 0

    def wrap(self, data_key: bytes, context: str) -> bytes:
        return self._answer(context.encode() + b"|" + data_key)

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        return self._answer(wrapped.removeprefix(context.encode() + b"|"))

    def check(self) -> None:
        self._answer(b"")

    def _answer(self, value: bytes) -> bytes:
        self.asked += 1
        if self.refuses:
            raise KeyUnavailable("withdrawn")
        return value


def refused(action: object) -> str:
    with pytest.raises(ApiError) as caught:
        action()  # type: ignore[operator]
    assert caught.value.code == "KEY_UNAVAILABLE" and caught.value.status == 503
    return caught.value.message


@given(st.text(), st.text(), st.sampled_from(["acme", "globex"]))
def test_what_is_sealed_opens_for_the_same_tenant_and_field_alone(text: str, what: str, tenant: str) -> None:
    sealer, tx = Sealer(Keeper(), 60.0), Keys({})
    sealed = sealer.seal(tx, tenant, what, text)
    assert sealed.startswith(MARK)
    assert sealer.open(tx, tenant, what, sealed) == text
    refused(lambda: sealer.open(tx, tenant, what + "x", sealed))
    other = Keys({"acme": tx.table[tenant], "globex": tx.table[tenant]})
    refused(lambda: Sealer(Keeper(), 60.0).open(other, "initech", what, sealed))
    assert sealer.seal(tx, tenant, what, text) != sealed


def test_a_key_is_asked_for_again_after_its_time_and_its_refusal_ends_all_reading() -> None:
    keeper, tx = Keeper(), Keys({})
    sealer = Sealer(keeper, 0.0)  # every use asks
    sealed = sealer.seal(tx, "acme", "entity/1", "x")
    keeper.refuses = True
    assert refused(lambda: sealer.open(tx, "acme", "entity/1", sealed)) == "withdrawn"
    refused(lambda: sealer.seal(tx, "acme", "entity/1", "y"))
    assert sealer.check() == "withdrawn"
    keeper.refuses = False
    assert sealer.open(tx, "acme", "entity/1", sealed) == "x"
    assert sealer.check() == ""


def test_within_its_time_a_key_is_not_asked_for_and_a_refusal_is_not_repeated() -> None:
    keeper, tx = Keeper(), Keys({})
    sealer = Sealer(keeper, 3600.0)
    sealed = sealer.seal(tx, "acme", "entity/1", "x")
    asked = keeper.asked
    for _ in range(100):
        sealer.open(tx, "acme", "entity/1", sealed)
    assert keeper.asked == asked
    keeper.refuses = True
    fresh = Sealer(keeper, 3600.0)
    for _ in range(100):
        refused(lambda: fresh.open(tx, "acme", "entity/1", sealed))
    assert keeper.asked == asked + 1, "an HSM locks itself after so many wrong PINs"


def test_a_key_of_a_transaction_that_was_rolled_back_is_never_used_again() -> None:
    sealer, lost = Sealer(Keeper(), 60.0), Keys({})
    sealer.seal(lost, "acme", "entity/1", "x")
    kept = Keys({})
    sealed = sealer.seal(kept, "acme", "entity/1", "x")
    assert kept.writes == 1
    assert Sealer(Keeper(), 60.0).open(Keys(kept.table), "acme", "entity/1", sealed) == "x"


def test_a_key_that_another_process_stored_first_is_the_one_that_is_used() -> None:
    table: dict[str, str] = {}
    first, second = Keys(table), Keys(table)
    second.stored_key = lambda tenant: None  # type: ignore[method-assign]  # it looked before the other wrote
    one, two = Sealer(Keeper(), 60.0), Sealer(Keeper(), 60.0)
    one.seal(first, "acme", "a", "x")
    sealed = two.seal(second, "acme", "b", "y")
    assert one.open(Keys(table), "acme", "b", sealed) == "y"


def test_what_was_not_sealed_is_not_taken_for_content() -> None:
    sealer, tx = Sealer(Keeper(), 60.0), Keys({})
    sealer.seal(tx, "acme", "a", "x")
    refused(lambda: sealer.open(tx, "acme", "a", '{"planted": true}'))
    refused(lambda: sealer.open(tx, "acme", "a", MARK + base64.b64encode(os.urandom(40)).decode()))


def test_forgotten_keys_are_those_whose_time_is_over() -> None:
    sealer, tx = Sealer(Keeper(), 3600.0), Keys({})
    sealer.seal(tx, "acme", "a", "x")
    sealer.forget()
    assert len(sealer._held) == 1
    sealer.recheck_s = 0.0
    sealer.forget()
    assert sealer._held == {}


def test_a_keeper_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "ANSWER_S", 0.05)
    keeper, tx, wakes = Keeper(), Keys({}), threading.Event()
    sealer = Sealer(keeper, 0.0)
    sealed = sealer.seal(tx, "acme", "a", "x")
    keeper.unwrap = lambda wrapped, context: bytes(wakes.wait(30))  # type: ignore[method-assign]
    assert "does not answer within" in refused(lambda: sealer.open(tx, "acme", "a", sealed))
    assert "still does not answer" in refused(lambda: sealer.open(tx, "acme", "a", sealed))
    del keeper.unwrap
    wakes.set()
    assert sealer._asking is not None
    sealer._asking.exception()
    assert sealer.open(tx, "acme", "a", sealed) == "x"


# keepers


@pytest.fixture(params=["file", "pkcs11", "tpm"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyStoreConfig]:
    if request.param == "file":
        yield KeyStoreConfig(kind="file", path=tmp_path / "key")
    elif request.param == "pkcs11":
        yield hsm_config(tmp_path)
    else:
        yield from tpm_config(tmp_path)


def hsm_config(folder: Path) -> KeyStoreConfig:
    library = softhsm()
    if isinstance(library, str):
        pytest.skip(library)
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    (folder / "pin").write_text("123456")
    names = {"module": library, "module_config": folder / "softhsm2.conf", "pin_file": folder / "pin"}
    config = KeyStoreConfig(kind="pkcs11", token="companyos", **names)
    hsm.initialise(config, "654321", "123456")
    return config


def tpm_config(folder: Path) -> Iterator[KeyStoreConfig]:
    try:
        tpm.binding()
    except KeyUnavailable as why:
        pytest.skip(f"{why}. apt install python3-tpm2-pytss")
    if shutil.which("swtpm") is None:
        pytest.skip("swtpm is not installed. apt install swtpm")
    address = folder / "tpm.sock"
    arguments = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}", "--flags", "not-need-init,startup-clear"]
    arguments += ["--server", f"type=unixio,path={address}", "--ctrl", f"type=unixio,path={address}.ctrl"]
    process = subprocess.Popen(arguments)
    try:
        for _ in range(500):
            if address.exists():
                break
            process.poll()
            os.sched_yield()
            subprocess.run(["sleep", "0.01"], check=True)  # the pace of asking; the condition is the socket
        yield KeyStoreConfig(kind="tpm", tcti=f"swtpm:path={address}")
    finally:
        process.kill()
        process.wait()


def prepare(config: KeyStoreConfig) -> KeyStore:
    {"file": filed.prepare, "pkcs11": hsm.prepare, "tpm": tpm.prepare}[config.kind](config)
    return open_key_store(config)


def test_a_keeper_wraps_for_one_context_and_needs_its_key(config: KeyStoreConfig) -> None:
    store = open_key_store(config)
    with pytest.raises(KeyUnavailable):
        store.check()
    store = prepare(config)
    store.check()
    key = os.urandom(32)
    wrapped = store.wrap(key, "acme")
    assert key not in wrapped
    assert store.unwrap(wrapped, "acme") == key
    with pytest.raises(KeyUnavailable):
        store.unwrap(wrapped, "globex")
    with pytest.raises(KeyUnavailable):
        store.unwrap(wrapped[:-1] + bytes([wrapped[-1] ^ 1]), "acme")
    prepare(config)  # again: the same key
    assert store.unwrap(wrapped, "acme") == key


def test_a_withdrawn_key_unwraps_nothing_until_it_is_given_back(
    config: KeyStoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from environments.companyos.keys import __main__ as tool

    monkeypatch.setenv("COMPANYOS_SO_PIN", "654321")
    monkeypatch.setenv("COMPANYOS_USER_PIN", "123456")
    store, key = prepare(config), os.urandom(32)
    wrapped = store.wrap(key, "acme")
    assert tool.facts(config) == {"kind": config.kind, "extractable": config.kind == "file"}
    tool.withdraw(config)
    with pytest.raises(KeyUnavailable):
        store.unwrap(wrapped, "acme")
    with pytest.raises(KeyUnavailable):
        store.check()
    tool.give_back(config)
    assert store.unwrap(wrapped, "acme") == key


def test_settings_that_a_kind_needs_are_asked_for_by_name() -> None:
    with pytest.raises(SystemExit, match=r"key_store\.path is required for kind file"):
        open_key_store(KeyStoreConfig(kind="file"))
    with pytest.raises(SystemExit, match=r"key_store\.tcti is required for kind tpm"):
        open_key_store(KeyStoreConfig(kind="tpm"))
