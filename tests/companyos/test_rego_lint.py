"""The lint lets through what both engines evaluate alike, and finds the rest however it is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from regopy import Interpreter

from environments.companyos import policy, rego_lint
from environments.companyos.vendor import VendorAuthority

HEAD = "package companyos.authz\nimport rego.v1\n"


def told(*bodies: str) -> list[str]:
    return rego_lint.problems({f"m{number}.rego": body for number, body in enumerate(bodies)})


def test_the_shipped_policy_is_sound() -> None:
    assert told(policy.default()[0]) == []


@pytest.mark.parametrize(
    "body",
    [
        'allow if count([x | some x in input.a; startswith(x, "b")]) > 0',
        "allow if helper(input.x)\nhelper(x) := true if x == 1\nhelper(x) if {\n\tx == 2\n}",
        "default helper(_) := false\nhelper(x) if x > 1\nallow if (input.a; not (input.b == 1))",
        'allow if input.text == "http.send(1) # not a call"\n# nor this: http.send(1) "',
        'allow if `raw " http.send(1)` == input.x',
        'names contains (x) if some x in input.a\nallow if contains("abc", "b")',
        "allow if {\n\tsome i\n\tinput.a[i]\n\tevery x in input.a { is_string(x) }\n} else := false if (input.c)",
        "allow if data.companyos.authz.other(1)\nother(x) := x",
        "allow if true with input as {} with data.x as 1",
    ],
)
def test_what_is_written_in_allowed_words_is_sound(body: str) -> None:
    assert told(HEAD + body) == []


def test_functions_of_other_modules_are_known_by_their_import() -> None:
    lib = 'package lib.text\nimport rego.v1\nok(x) := true if startswith(x, "a")'
    for use in ("import data.lib.text\nallow if text.ok(input.a)", "import data.lib.text as t\nallow if t.ok(input.a)"):
        assert told(HEAD + use, lib) == []
    assert told(HEAD + "import data.lib.text.ok\nallow if ok(input.a)", lib) == []
    assert told(HEAD + "import data.lib.text\nallow if text.no(input.a)", lib) != []


@pytest.mark.parametrize(
    "body",
    [
        'allow if http.send({"url": "http://x"}).body',
        "allow if not net.cidr_contains(input.a, input.b)",
        "allow if {\n\thttp.send({})\n}",
        "allow if\n\thttp.send({})",
        "allow if {\n\tx := 1\n\thttp.send({}) = y\n}",
        "allow if x ==\nhttp.send({}) if true",
        "allow if http . send({})",
        "allow if http.send ({})",
        'allow if http["send"]({})',
        "allow if object.union(input.a, input.b) == {}",
        'allow if sprintf("%q", [1]) == ""',
        "allow if time.parse_rfc3339_ns(input.a) > 0",
        "allow if no_such(1)",
        "allow if rego.parse_module(input.a, input.b)",
        "allow if true with time.now_ns as 1",
        "lower(x) := x\nallow if lower(input.a) == 1",
        "http.send(x) := true\nallow if http.send(1)",
        "import data.http\nallow if http.send(1)",
        "import input.http\nallow if http.send(1)",
        'allow if $"{http.send({})}" == ""',
        "allow if [f | f := 1][0](1)",
    ],
)
def test_what_an_engine_lacks_or_gets_wrong_is_found(body: str) -> None:
    assert told(HEAD + body) != []


def test_neither_loaded_nor_signed_by_the_vendors_tool() -> None:
    bad = {"authz.rego": HEAD + 'allow if regex.match("(?i)a", input.a)'}
    with pytest.raises(policy.PolicyError, match=r"regex\.match"):
        policy.compile_modules(bad)
    with pytest.raises(ValueError, match=r"regex\.match"):
        VendorAuthority().sign_policy(1, bad)
    assert VendorAuthority().sign_policy(1, {"authz.rego": policy.default()[0]})


EXAMPLES: dict[str, list[list[Any]]] = json.loads((Path(__file__).parent / "rego_examples.json").read_text())


def test_every_allowed_function_has_an_example() -> None:
    """What time it is has none."""
    assert set(EXAMPLES) == rego_lint.ALLOWED - {"time.now_ns"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_engine_in_the_process_evaluates_it_as_recorded(name: str) -> None:
    """Recorded of OPA; tests/seams compares these with an OPA that runs."""
    for expression, expected in EXAMPLES[name]:
        interpreter = Interpreter()
        interpreter.add_module("m", f"package t\nimport rego.v1\nr := {expression}\n")
        output = interpreter.query_bundle_entrypoint(interpreter.build(None, ["t/r"]), "t/r")
        assert output.ok() and output.results[0].expressions[0] == expected, expression
