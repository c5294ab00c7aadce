"""FUN-03: is one introspected schema a strict subset of another, and which operations does it lack?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.contract import vacuous
from suites.product import literal, type_text

Types = Mapping[str, Mapping[str, Any]]
BUILT_IN = {"String", "Int", "Float", "Boolean", "ID"}


def _members(found: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    return {member["name"]: member for member in found.get(key) or []}


def judge_subset(edge: Types, core: Types) -> list[str]:
    """Every type, field, argument and enum value of `edge` is in `core`, of the same type and nullability."""
    if not set(edge) - BUILT_IN or not set(core) - BUILT_IN:
        vacuous("a schema without types was compared")
    problems = []
    for name, found in edge.items():
        other = core.get(name)
        if other is None:
            problems.append(f"type {name} is not in core")
            continue
        if found["kind"] != other["kind"]:
            problems.append(f"type {name} is {found['kind']}, in core {other['kind']}")
        for key in ("fields", "inputFields", "enumValues"):
            theirs = _members(other, key)
            for member_name, member in _members(found, key).items():
                where = f"{name}.{member_name}"
                if member_name not in theirs:
                    problems.append(f"{where} is not in core")
                    continue
                problems += _member(where, member, theirs[member_name])
        if found["kind"] == "INPUT_OBJECT":  # an input that core requires and edge lacks would break core's clients
            problems += [
                f"{name}.{m} is required in core and absent on edge"
                for m, member in _members(other, "inputFields").items()
                if type_text(member["type"]).endswith("!") and m not in _members(found, "inputFields")
            ]
    return problems


def _member(where: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    problems = []
    if "type" in ours and type_text(ours["type"]) != type_text(theirs["type"]):
        problems.append(f"{where}: {type_text(ours['type'])}, in core {type_text(theirs['type'])}")
    if ours.get("defaultValue") != theirs.get("defaultValue"):
        problems.append(f"{where}: default {ours.get('defaultValue')}, in core {theirs.get('defaultValue')}")
    arguments = _members(theirs, "args")
    for name, argument in _members(ours, "args").items():
        if name not in arguments:
            problems.append(f"{where}({name}) is not in core")
        else:
            problems += _member(f"{where}({name})", argument, arguments[name])
    required = [
        n for n, a in arguments.items() if type_text(a["type"]).endswith("!") and n not in _members(ours, "args")
    ]
    return problems + [f"{where}({name}) is required in core and absent on edge" for name in required]


def missing_operations(edge: Mapping[str, Any], core: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(operation name, a valid core document that calls it) for each root field of core that edge lacks."""
    found = []
    for kind in ("query", "mutation"):
        ours = _members(edge["types"].get(edge[kind], {}), "fields")
        for name, field in _members(core["types"].get(core[kind], {}), "fields").items():
            if name not in ours:
                found.append(
                    (name, f"{kind} {{ {name}{_arguments(field, core['types'])}{_selection(field, core['types'])} }}")
                )
    return found


def _named(reference: Mapping[str, Any]) -> str:
    while reference.get("ofType"):
        reference = reference["ofType"]
    return str(reference["name"])


def _arguments(field: Mapping[str, Any], types: Types) -> str:
    needed = {a["name"]: _value(a["type"], types) for a in field["args"] if type_text(a["type"]).endswith("!")}
    return "(" + ", ".join(f"{name}: {value}" for name, value in needed.items()) + ")" if needed else ""


def _value(reference: Mapping[str, Any], types: Types) -> str:
    if reference["kind"] == "NON_NULL":
        return _value(reference["ofType"], types)
    if reference["kind"] == "LIST":
        return "[]"
    found = types[str(reference["name"])]
    if found["kind"] == "INPUT_OBJECT":
        parts = {m["name"]: m["type"] for m in found["inputFields"] if type_text(m["type"]).endswith("!")}
        return "{" + ", ".join(f"{name}: {_value(type_, types)}" for name, type_ in parts.items()) + "}"
    if found["kind"] == "ENUM":
        return str(found["enumValues"][0]["name"])
    samples: dict[str, object] = {"Int": 1, "Float": 1.0, "Boolean": True}
    return literal(samples.get(str(found["name"]), "00000000-0000-4000-8000-000000000000"))


def _selection(field: Mapping[str, Any], types: Types) -> str:
    return " { __typename }" if types[_named(field["type"])]["kind"] in {"OBJECT", "INTERFACE", "UNION"} else ""
