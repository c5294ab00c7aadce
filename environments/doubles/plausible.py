"""Answers to GraphQL documents that have the form of the contract's schema and no truth in them."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    build_schema,
    graphql_sync,
)

SDL = Path(__file__).parents[1] / "companyos" / "schema.graphql"
SCHEMA = build_schema(SDL.read_text(encoding="utf-8"))


def answer_of(query: str, rng: random.Random, wrong: Callable[[], Any] | None = None) -> bytes:
    """The body of an answer. wrong: its value takes the place of every field of the root."""

    def resolve(source: Any, info: GraphQLResolveInfo[Any], **_: Any) -> Any:
        if isinstance(source, dict) and info.field_name in source:
            return source[info.field_name]
        return _made(info.return_type, rng)

    try:
        result = graphql_sync(SCHEMA, query, field_resolver=resolve)
    except (GraphQLError, RecursionError, TypeError):
        return b'{"data": {}}'
    if result.errors or not isinstance(result.data, dict):
        return b'{"errors": [{"message": "no", "extensions": {"code": "INVALID"}}]}'
    data = {name: wrong() for name in result.data} if wrong else result.data
    return json.dumps({"data": data}).encode()


def _made(type_: Any, rng: random.Random) -> Any:
    if isinstance(type_, GraphQLNonNull):
        return _made(type_.of_type, rng)
    if isinstance(type_, GraphQLList):
        return [_made(type_.of_type, rng) for _ in range(rng.randrange(3))]
    if isinstance(type_, GraphQLObjectType):
        return {}
    if isinstance(type_, GraphQLEnumType):
        return rng.choice(list(type_.values))
    made: dict[str, Any] = {
        "Int": rng.randrange(9),
        "Boolean": rng.random() < 0.5,
        "JSON": {},
        "DateTime": "2026-01-01T00:00:00Z",
        "ID": str(uuid.UUID(int=rng.getrandbits(128))),
    }
    return made.get(type_.name, rng.choice(["acme", "globex", "admin"]))
