from __future__ import annotations

from graphql import print_schema

from environments.companyos import graphql_api, operations, retrieval


def test_edge_schema_is_a_subset_of_core() -> None:
    core, edge = graphql_api.schema(False), graphql_api.schema(True)
    assert set(edge.type_map) < set(core.type_map)
    for name, type_ in edge.type_map.items():
        for field, definition in (getattr(type_, "fields", None) or {}).items():
            assert str(definition.type) == str(core.type_map[name].fields[field].type)  # type: ignore[attr-defined]
    assert "Investigation" not in print_schema(edge) and "@core" not in print_schema(core)


def test_every_root_field_has_an_operation() -> None:
    core = graphql_api.schema(False)
    for root in (core.query_type, core.mutation_type):
        assert root is not None
        for name in root.fields:
            snake = graphql_api.snake(name)
            assert callable(getattr(operations, snake, None) or getattr(retrieval, snake))


def test_what_core_alone_offers_is_named() -> None:
    assert graphql_api.prepared(True, "{ investigations { id } }")[1] == "UNSUPPORTED_IN_MODE"
    assert graphql_api.prepared(True, "{ nothing { id } }")[1] == "INVALID"
    assert graphql_api.prepared(False, "{ investigations { id } }")[0] is not None
    assert graphql_api.prepared(True, "{ " * 3000)[1] == "INVALID"
