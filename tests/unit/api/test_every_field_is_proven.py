"""No field of the spec without a live test that proves its effect."""

import ast
from pathlib import Path

import pytest

from tests.field_registry import FIELDS, POOL_FIELDS, TABLE_DRIVEN
from thinkscale.api import pool_crd
from thinkscale.api.crd import schema
from thinkscale.api.schema import leaves

ROOT = Path(__file__).parents[3]
LEAVES = {path for path, _ in leaves(schema()["properties"]["spec"], "spec")}
POOL_LEAVES = {path for path, _ in leaves(pool_crd.schema()["properties"]["spec"], "spec")}
KINDS = pytest.mark.parametrize(
    ("fields", "leaves_of"),
    [(FIELDS, LEAVES), (POOL_FIELDS, POOL_LEAVES)],
    ids=["service", "pool"],
)


def nodes(file: str) -> list[ast.AST]:
    """What a test file is made of; nothing if it does not exist."""
    path = ROOT / file
    return list(ast.walk(ast.parse(path.read_text()))) if path.exists() else []


def functions(file: str) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in nodes(file) if isinstance(node, kinds)}


def strings(file: str) -> set[str]:
    values = (node.value for node in nodes(file) if isinstance(node, ast.Constant))
    return {value for value in values if isinstance(value, str)}


@KINDS
def test_every_leaf_of_the_schema_has_a_row(fields: dict[str, str], leaves_of: set[str]) -> None:
    assert sorted(leaves_of - fields.keys()) == []


@KINDS
def test_every_row_is_a_leaf_of_the_schema(fields: dict[str, str], leaves_of: set[str]) -> None:
    assert sorted(fields.keys() - leaves_of) == []


def test_every_row_names_a_test_that_exists() -> None:
    for test in sorted({*FIELDS.values(), *POOL_FIELDS.values()}):
        file, _, name = test.partition("::")
        assert name in functions(file), test


def test_a_test_with_a_table_has_the_field_in_its_table() -> None:
    for test in TABLE_DRIVEN:
        written = strings(test.partition("::")[0])
        assert [path for path, by in FIELDS.items() if by == test and path not in written] == []


def test_live_tests_run_on_a_live_cluster() -> None:
    every = [*FIELDS.values(), *POOL_FIELDS.values()]
    assert all(test.startswith(("tests/cluster/", "e2e/")) for test in every)
