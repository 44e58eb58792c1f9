"""No field of the spec without a live test that proves its effect."""

import ast
from pathlib import Path

from tests.field_registry import FIELDS, TABLE_DRIVEN
from thinkscale.api.crd import schema
from thinkscale.api.schema import leaves

ROOT = Path(__file__).parents[3]
LEAVES = {path for path, _ in leaves(schema()["properties"]["spec"], "spec")}


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


def test_every_leaf_of_the_schema_has_a_row() -> None:
    assert sorted(LEAVES - FIELDS.keys()) == []


def test_every_row_is_a_leaf_of_the_schema() -> None:
    assert sorted(FIELDS.keys() - LEAVES) == []


def test_every_row_names_a_test_that_exists() -> None:
    for test in sorted(set(FIELDS.values())):
        file, _, name = test.partition("::")
        assert name in functions(file), test


def test_a_test_with_a_table_has_the_field_in_its_table() -> None:
    for test in TABLE_DRIVEN:
        written = strings(test.partition("::")[0])
        assert [path for path, by in FIELDS.items() if by == test and path not in written] == []


def test_live_tests_run_on_a_live_cluster() -> None:
    assert all(test.startswith(("tests/cluster/", "e2e/")) for test in FIELDS.values())
