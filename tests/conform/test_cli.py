"""The command line: what bad input gets, and what scripts get. Nothing here stands anything up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conform import cli
from reports.journal import JournalWriter


def conform(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    said = capsys.readouterr()
    return code, said.out, " ".join(said.err.split())


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["rum"], "run"),
        (["run", "--profle", "saas"], "--profile"),
        (["run", "--profile", "edge-dill"], "'edge-dil'"),
        (["run", "--profile", "saas", "--only", "iso-8"], "ISO-"),
        (["run", "--profile", "saas", "--suite", "isolaton"], "'isolation'"),
        (["run", "--profile", "saas", "--defect", "rls_not_forcd"], "'rls_not_forced'"),
        (["run", "--profile", "edge-dil", "--link", "geo-vsta"], "'geo-vsat'"),
        (["run", "--profile", "saas", "--driver", "lokal"], "'local'"),
        (["run", "--profile", "saas", "--driver", "no_such_module:Adapter"], "no_such_module cannot be imported"),
        (["run", "--profile", "saas", "--driver", "json:Adapter"], "module json has no Adapter"),
        (
            ["run", "--profile", "saas", "--driver", "environments.adapters.http_only:HttpOnyl"],
            "Did you mean HttpOnly?",
        ),
        (["run", "--profile", "saas", "--driver", "json:__doc__"], "not a class or function"),
        (["run", "--profile", "saas", "--driver", "os.path:join"], "is not to be called as join(profile, "),
        (["run", "--profile", "saas", "--driver", ":"], "package.module:Adapter"),
        (["up", "saas", "--driver", "environments.adapters.http_only:HttpOnly"], "Choose local or containers"),
        (["run", "--driver", "environments.adapters.http_only:HttpOnly", "--defect", "rls_not_forced"], "--defect"),
        (["kill-matrix", "--driver", "environments.adapters.http_only:HttpOnly"], "driver"),
        (["run", "--profile", "saas", "-n", "many"], "auto"),
        (["run", "--profile", "saas", "--seed", "x"], "--seed"),
        (["list", "requirement"], "'requirements'"),
        (["list", "requirements", "--suite", "synk"], "'sync'"),
        (["explain", "SYN01"], "'SYN-01'"),
        (["up", "sas"], "'saas'"),
        (["up", "saas", "--defect", "acks_before_persit"], "'acks_before_persist'"),
        (["link", "sett"], "set"),
        (["link", "set", "edge-1--saas", "--delay", "soon"], "300ms"),
        (["link", "set", "edge-1--saas", "--loss", "2"], "2%"),
        (["link", "set", "edge-1--saas", "--rate", "fast"], "512k"),
        (["link", "set", "edge-1--saas"], "--delay"),
        (["link", "cut", "edge-1"], "a--b"),
        (["kill-matrix", "--defect", "sentinel_is_def"], "'sentinel_is_deaf'"),
        (["egress", "--rum", "x"], "--run"),
        (["egress", "--run", "no-such-run"], "--run: no deployment of run 'no-such-run'"),
        (["report", "no/such/journal.jsonl"], "no/such/journal.jsonl"),
    ],
)
def test_bad_input_gets_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], arguments: list[str], near: str
) -> None:
    code, _, error = conform(capsys, *arguments)
    assert code == 254
    assert error.startswith("conform: ")
    assert near in error
    assert "Traceback" not in error


def test_a_misspelt_key_of_a_profile_names_file_line_and_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = Path("profiles/saas.yaml").read_text().replace("tenants:", "tenant:")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "tenant:" in each)
    code, _, error = conform(capsys, "run", "--profile", str(path))
    assert code == 254
    assert f"{path}:{line}" in error
    assert "tenants" in error


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "10.0.0", "https://vendor.example", "vendor example", "-x.example"])
def test_what_a_profile_cannot_allow_is_refused_with_file_and_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, entry: str
) -> None:
    text = (
        Path("profiles/saas.yaml").read_text().replace("allow: []", f"allow: [10.1.2.3/8, Vendor.example, {entry!r}]")
    )
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "egress:" in each)
    code, _, error = conform(capsys, "run", "--profile", str(path))
    assert code == 254
    assert f"{path}:{line}" in error
    assert f"{entry!r} is neither a CIDR (10.1.0.0/16, fd00::/8) nor a host name" in error


@pytest.mark.parametrize(
    ("event", "near"),
    [
        ("{at_s: 1, link: edge-2--saas, cut: true}", "no link 'edge-2--saas'; links: edge-1--saas"),
        ("{at_s: 1, link: edge-1--saas, state: {loss: 2}}", "state.loss"),
        ("{at_s: soon, heal: true}", "at_s"),
        ("{at_s: 1, heal: true, after: 3}", "unknown key"),
    ],
)
def test_a_bad_schedule_is_refused_with_file_and_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, event: str, near: str
) -> None:
    path = tmp_path / "storm.yaml"
    path.write_text(f"- {{at_s: 0, link: edge-1--saas, cut: true}}\n- {event}\n")
    code, _, error = conform(capsys, "up", "edge-dil", "--schedule", str(path))
    assert code == 254
    assert f"{path}:2" in error
    assert near in error


def test_a_truncated_journal_is_refused_with_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with JournalWriter(path) as journal:
        journal.write("header", run_id="r", profiles=[], catalogue=[])
        journal.write("event", what="something")
    path.write_bytes(path.read_bytes()[:-30])
    code, _, error = conform(capsys, "report", str(path))
    assert code == 254
    assert f"{path}:3" in error


def test_an_unexpected_error_is_one_line_and_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("no idea")

    monkeypatch.setattr("environments.doctor.findings", broken)
    code, _, error = conform(capsys, "doctor")
    assert code == 255
    assert "no idea" in error
    assert "Traceback" not in error
    log = Path(error.rsplit("details are in ", 1)[1].replace(" ", ""))
    assert "Traceback" in log.read_text()
    log.unlink()


@pytest.mark.parametrize("what", ["profiles", "suites", "requirements", "defects"])
def test_lists_are_for_people_and_for_scripts(capsys: pytest.CaptureFixture[str], what: str) -> None:
    code, out, _ = conform(capsys, "list", what, "--json")
    assert code == 0
    rows = json.loads(out)
    assert rows
    code, out, _ = conform(capsys, "list", what)
    assert code == 0
    first = next(iter(rows[0].values()))
    assert first in out


def test_explain_tells_promise_clause_checks_and_defects(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = conform(capsys, "explain", "iso-08", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["id"] == "ISO-08"
    assert "tenant" in told["promise"]
    assert told["clause"]
    assert any("trusts_tenant_header" in each for each in told["defects"])
    assert any("test_tenant_channels.py" in each for each in told["checks"])


@pytest.mark.parametrize(
    "command",
    ["run", "list", "explain", "up", "replay", "link", "schedule", "doctor", "clean", "kill-matrix", "report"],
)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = conform(capsys, command, "--help")
    assert code == 0
    assert f"conform {command}" in out


def test_completion_knows_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_CONFORM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "conform kil")
    monkeypatch.setenv("COMP_CWORD", "1")
    code, out, _ = conform(capsys)
    assert code == 0
    assert "kill-matrix" in out
