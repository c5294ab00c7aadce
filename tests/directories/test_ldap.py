"""People in a real OpenLDAP: who is let in, with which roles, and who not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from environments.companyos.config import DirectoryConfig
from environments.companyos.directory import Away, Refused
from environments.companyos.directory.ldap import LdapDirectory
from environments.contract import SuiteError
from environments.directories import READER, ROLES, SUFFIX, slapd
from environments.directories.people import People
from environments.drivers.local.hosts import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[People, int]]:
    installed = slapd.installed()
    if installed is None:
        pytest.skip("no slapd is installed on this host (Debian: slapd)")
    home, port = tmp_path_factory.mktemp("directory"), free_port()
    layout = replace(installed, home=home)
    slapd.write_config(home, layout, "manager's")
    process = subprocess.Popen([str(each) for each in slapd.command(layout, port)])
    people = People(home / "run" / slapd.SOCKET, "manager's", "acme")
    try:
        people.prepare("reader's")
        yield people, port
    finally:
        process.terminate()
        process.wait(10)


def directory(port: int, **changes: str) -> LdapDirectory:
    fields = {"url": f"ldap://127.0.0.1:{port}", "base_dn": SUFFIX, "bind_dn": READER, "bind_password": "reader's"}
    return LdapDirectory(
        DirectoryConfig(kind="ldap", tenant="acme", roles=ROLES, answer_s=2.0, **{**fields, **changes})
    )


def test_in_with_the_roles_of_the_groups(server: tuple[People, int]) -> None:
    people, port = server
    user = people.add("ann", ["analyst", "viewer"])
    assert directory(port).authenticate("ann", user.password).roles == ("analyst", "viewer")
    assert directory(port).renew("ann", "").username == "ann"


@pytest.mark.parametrize("username", ["*", "ann)(uid=*", "ann*", "", "\x00", "ann\\2a", "(&)"])
def test_a_name_is_no_pattern(server: tuple[People, int], username: str) -> None:
    people, port = server
    user = people.add(f"victim-{username.encode().hex()}", ["admin"])
    with pytest.raises(Refused):
        directory(port).authenticate(username, user.password)


def test_names_with_odd_characters_are_people_too(server: tuple[People, int]) -> None:
    people, port = server
    for name in ("o'hara", "smith, john", "a+b", "zoë", "x(y)*z"):
        user = people.add(name, ["viewer"])
        assert directory(port).authenticate(name, user.password).username == name


def test_refused(server: tuple[People, int]) -> None:
    people, port = server
    user, stranger = people.add("bob", ["viewer"]), people.add("stranger", [])
    asked = directory(port)
    for name, password in (("bob", "wrong"), ("bob", ""), ("nobody", "x"), ("stranger", stranger.password)):
        with pytest.raises(Refused):
            asked.authenticate(name, password)
    people.disable("bob")
    for attempt in (lambda: asked.authenticate("bob", user.password), lambda: asked.renew("bob", "")):
        with pytest.raises(Refused):
            attempt()
    people.enable("bob")
    assert asked.authenticate("bob", user.password).roles == ("viewer",)
    people.remove("bob")
    with pytest.raises(Refused):
        asked.renew("bob", "")
    with pytest.raises(SuiteError, match="refused to remove bob"):
        people.remove("bob")


def test_the_nodes_own_account_refused_is_no_answer_about_people(server: tuple[People, int]) -> None:
    people, port = server
    user = people.add("carl", ["viewer"])
    with pytest.raises(Away):
        directory(port, bind_password="other").authenticate("carl", user.password)


def test_a_directory_that_is_gone_is_away(tmp_path: Path) -> None:
    with pytest.raises(Away):
        directory(free_port()).authenticate("ann", "x")
    with pytest.raises(SuiteError, match="does not answer"):
        People(tmp_path / "none", "m", "acme").disable("ann")
