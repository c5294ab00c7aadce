"""Decisions by a real OPA: those of the engine in the process, and none where there is nothing to ask."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import servers
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nodes import free_port
from starlette.applications import Starlette

from environments.companyos import opa_bundle, policy, policy_server, rego_lint
from environments.companyos.clock import Clock
from environments.companyos.policy import PROBE, PolicyAway, PolicyEngine
from environments.companyos.policy_server import ServedPolicy
from environments.companyos.vendor import VendorAuthority

HEAD = "package companyos.authz\nimport rego.v1\n"
EXAMPLES = Path(__file__).parents[1] / "companyos" / "rego_examples.json"
OTHERS = {
    "several modules": {
        "a": HEAD
        + "import data.lib.text\nallow if text.own(input.subject.sub)\nallow if count(input.subject.roles) > 2",
        "b": 'package lib.text\nimport rego.v1\nown(x) if startswith(x, "a")\nown(x) if endswith(trim_space(x), "z")',
    },
    "negation and sets": {
        "a": HEAD + 'default allow := false\nbad := {r | some r in input.subject.roles; not r in {"admin", "viewer"}}\n'
        'allow if {\n\tcount(bad) == 0\n\tobject.get(input.resource, ["tenant"], "") == input.subject.tenant\n}'
    },
    "conflict": {
        "a": HEAD + 'allow := true if input.action == "entity.read"\nallow := false if input.subject.sub == "ann"'
    },
    "numbers and text": {
        "a": HEAD + "allow if to_number(input.action) + count(input.subject.sub) > 3\n"
        'allow if glob.match("*.read", ["."], input.action)\nallow if sum([1 | some _ in input.subject.roles]) == 1'
    },
    "no boolean": {"a": HEAD + "allow := input.subject.sub"},
    "undefined": {"a": HEAD + "other := true"},
}


class Node:
    """What OPA fetches its bundle from, as the data service serves it."""

    def __init__(self, home: Path, opa_port: int) -> None:
        self.port = free_port()
        self.vendor = VendorAuthority()
        self.policy = ServedPolicy(Clock(), f"http://127.0.0.1:{opa_port}", home)
        self.services = SimpleNamespace(policy=self.policy, ending=lambda: self.server.should_exit)
        app = Starlette(routes=policy_server.routes(self.services))
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_config=None, lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()

    def load(self, modules: dict[str, str], key: str = "vendor") -> int:
        revision = self.policy.revision + 1
        self.policy.load(modules, revision, f"digest {revision}", self.vendor.sign_bundle(revision, modules, key=key))
        return revision


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, servers.Server]]:
    home = tmp_path_factory.mktemp("opa")
    servers.executable("CONFORM_OPA", "opa")
    port = free_port()
    node = Node(home, port)
    server = servers.opa(home, port, f"http://127.0.0.1:{node.port}", node.vendor.policy_pem())
    node.policy.live = True
    yield node, server
    server.kill()
    node.server.should_exit = True
    node.thread.join()


@pytest.fixture
def node(served: tuple[Node, servers.Server]) -> Node:
    served[0].load({"authz.rego": policy.default()[0]})
    return served[0]


def ask(role: str = "analyst", action: str = "entity.create", tenant: str = "acme") -> dict[str, Any]:
    subject = {"sub": "ann", "tenant": "acme", "roles": [role]}
    return {"subject": subject, "action": action, "resource": {"type": "entity", "id": None, "tenant": tenant}}


def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    ends = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < ends, "the condition did not come true"
        time.sleep(0.02)  # the pace of asking


TEXT = st.text(max_size=5) | st.sampled_from(["ann", "acme", "globex", " z", "añz", "7", "1e1", "\u0000", "\ud7ff"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT, lambda inner: st.lists(inner, max_size=2), max_leaves=4
)
INPUTS = st.fixed_dictionaries(
    {
        "subject": st.fixed_dictionaries(
            {
                "sub": TEXT,
                "tenant": TEXT,
                "roles": st.lists(
                    st.sampled_from(["admin", "analyst", "viewer", "operator", "node"]) | TEXT, max_size=3
                )
                | JSON,
            }
        ),
        "action": st.sampled_from(["entity.read", "entity.create", "relationship.create", "export.create", "x", "5"]),
        "resource": st.fixed_dictionaries({"type": TEXT, "id": st.none() | TEXT, "tenant": TEXT}) | JSON,
    }
)


@pytest.mark.parametrize("name", ["shipped", *OTHERS])
def test_both_engines_decide_alike(node: Node, name: str) -> None:
    """Any input, and those that the policy allows."""
    modules = OTHERS.get(name) or {"authz.rego": policy.default()[0]}
    local = PolicyEngine(Clock())
    local.load(modules, 1, "d")
    node.load(modules)
    for role in ("viewer", "analyst", "admin", "operator"):
        for action in ("entity.read", "entity.create", "export.create", "me.read"):
            assert node.policy.decide(ask(role, action)) == local.decide(ask(role, action))

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(INPUTS)
    def alike(document: dict[str, Any]) -> None:
        assert node.policy.decide(document) == local.decide(document)

    alike()


def test_every_allowed_function_is_evaluated_as_recorded(tmp_path: Path) -> None:
    program = servers.executable("CONFORM_OPA", "opa")
    examples = [pair for pairs in json.loads(EXAMPLES.read_text()).values() for pair in pairs]
    rules = "\n".join(f"r{number} := {expression}" for number, (expression, _) in enumerate(examples))
    (tmp_path / "m.rego").write_text(f"package t\nimport rego.v1\n{rules}\nnow := time.now_ns()\n")
    command = [program, "eval", "--format", "values", "--data", "m.rego", "data.t"]
    said = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)[0]
    assert said.pop("now") > 1 << 60
    assert said == {f"r{number}": value for number, (_, value) in enumerate(examples)}


def test_names_that_the_lint_reserves_are_those_of_opa() -> None:
    program = servers.executable("CONFORM_OPA", "opa")
    said = json.loads(subprocess.run([program, "capabilities", "--current"], check=True, capture_output=True).stdout)
    names = {each["name"] for each in said["builtins"]}
    assert {name for name in names if "." not in name} <= rego_lint.BUILTIN
    assert {name.partition(".")[0] for name in names if "." in name} <= rego_lint.NAMESPACES


def test_a_bundle_of_a_stranger_is_refused_by_opa_itself(node: Node) -> None:
    """The node would have taken it; the policy in force stays, and decides."""
    revision = node.policy.revision
    everything = {"authz.rego": HEAD + "allow := true"}
    with pytest.raises(PolicyAway, match="did not take"):
        node.load(everything, key="stranger")
    assert node.policy.revision == revision
    assert node.policy.decide(ask()) and not node.policy.decide(ask("viewer"))
    node.load(everything)
    assert node.policy.decide(ask("viewer"))


def test_a_bundle_whose_module_was_changed_is_refused_by_opa_itself(node: Node) -> None:
    good = {"authz.rego": policy.default()[0]}
    revision = node.policy.revision + 1
    signature = node.vendor.sign_bundle(revision, good)
    with pytest.raises(PolicyAway):
        node.policy.load({"authz.rego": good["authz.rego"] + "\nallow if true\n"}, revision, "d", signature)
    assert not node.policy.decide(ask("viewer"))


def test_updates_leave_no_moment_without_decisions(node: Node) -> None:
    """While twenty policies follow each other, whoever asks is answered, and as one of them says."""
    stop, refused = threading.Event(), []

    def asking() -> None:
        while not stop.is_set():
            try:
                if not node.policy.decide(ask()):
                    refused.append("denied")
            except PolicyAway as error:
                refused.append(str(error))

    thread = threading.Thread(target=asking)
    thread.start()
    for number in range(20):
        node.load({"authz.rego": policy.default()[0] + f"\n# {number}\n"})
    stop.set()
    thread.join()
    assert refused == []


@pytest.mark.parametrize(
    "body",
    ["allow := 1", 'allow := "true"', "allow := [true]", "other := true", "allow if 1 / 0 > 0", "allow if input.no"],
)
def test_anything_but_true_denies(node: Node, body: str) -> None:
    node.load({"p": HEAD + body})
    assert node.policy.decide(ask("admin", "entity.read")) is False


def test_an_error_in_the_policy_denies_and_is_told(node: Node) -> None:
    node.load({"p": HEAD + 'allow := true if input.action == "a"\nallow := false if input.action == "a"'})
    assert node.policy.decide(ask(action="a")) is False
    assert str(node.policy.last_error).startswith("POLICY_EVALUATION")


def test_an_older_policy_than_the_one_in_force_is_no_answer(node: Node) -> None:
    node.policy.revision += 1
    with pytest.raises(PolicyAway, match="revision"):
        node.policy.decide(ask())
    node.policy.revision -= 1
    assert node.policy.decide(ask()) and node.policy.check()[0]


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_away_is_no_decision_and_comes_back(node: Node, served: tuple[Node, servers.Server], how: str) -> None:
    server = served[1]
    assert node.policy.decide(ask())
    server.kill() if how == "killed" else server.pause()
    try:
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(PolicyAway):
                node.policy.decide(ask())
            assert time.monotonic() - began < 5 * policy_server.BOUND_S  # a bound, not a measure
        assert not node.policy.check()[0]
    finally:
        server.start() if how == "killed" else server.resume()
    until(lambda: node.policy.check()[0])
    assert node.policy.decide(ask()) and not node.policy.decide(ask("viewer"))


def test_opa_starts_with_what_it_kept(node: Node, served: tuple[Node, servers.Server]) -> None:
    """Its node is not there; what it kept was signed, and it decides."""
    server = served[1]
    kept = server.home / "kept" / "bundles" / opa_bundle.NAME / "bundle.tar.gz"
    until(lambda: kept.exists() and kept.read_bytes() == node.policy.bundle)
    server.kill()
    bundle, node.policy.bundle = node.policy.bundle, b""
    try:
        server.start()
        until(lambda: node.policy.check()[0])
        assert node.policy.decide(ask())
    finally:
        node.policy.bundle = bundle


def answering(raw: bytes, pause_s: float = 0.0) -> tuple[int, Callable[[], None]]:
    """A server that says these bytes to everybody, a few at a time if it pauses: its port, and how to end it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65536)
                    for part in [raw] if not pause_s else [raw[n : n + 1] for n in range(len(raw))]:
                        connection.sendall(part)
                        time.sleep(pause_s)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1], listener.close


def http(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


YES = {"result": True, "provenance": {"bundles": {opa_bundle.NAME: {"revision": "7"}}}}


@pytest.mark.parametrize(
    ("raw", "pause_s"),
    [
        (b"", 0),
        (b"SSH-2.0-x\r\n", 0),
        (http(b"not json"), 0),
        (http(b"[]"), 0),
        (http(b'"true"'), 0),
        (http(b'{"result": true}'), 0),
        (http(b'{"result": true, "provenance": {"bundles": null}}'), 0),
        (http(json.dumps({**YES, "provenance": {"bundles": {opa_bundle.NAME: {"revision": "6"}}}}).encode()), 0),
        (http(json.dumps({**YES, "provenance": {"bundles": {opa_bundle.NAME: {"revision": "x"}}}}).encode()), 0),
        (http(json.dumps({**YES, "provenance": {"bundles": {"other": {"revision": "7"}}}}).encode()), 0),
        (http(json.dumps(YES).encode(), "404 Not Found"), 0),
        (http(json.dumps(YES).encode(), "302 Found", "Location: http://127.0.0.1/\r\n"), 0),
        (http(json.dumps(YES).encode(), "503 Unavailable"), 0),
        (http(json.dumps({**YES, "x": "y" * policy_server.MAX_BYTES}).encode()), 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + json.dumps(YES).encode(), 0),
        (http(json.dumps(YES).encode()), 0.1),
    ],
)
def test_whatever_is_no_answer_of_a_policy_server_is_no_decision(tmp_path: Path, raw: bytes, pause_s: float) -> None:
    """The one answer that counts is served too, so that the refusals are for what is wrong with the others."""
    for said, good in ((http(json.dumps(YES).encode()), True), (raw, False)):
        port, end = answering(said, 0.0 if good else pause_s)
        served = ServedPolicy(Clock(), f"http://127.0.0.1:{port}", tmp_path)
        served.revision = 7
        try:
            if good:
                assert served.decide(PROBE) is True
            else:
                began = time.monotonic()
                with pytest.raises(PolicyAway):
                    served.decide(PROBE)
                assert time.monotonic() - began < 5 * policy_server.BOUND_S  # a bound, not a measure
        finally:
            end()
