"""From models to structural schemas: what is dropped, kept and unfolded."""

from typing import Annotated, Any

import pytest
from pydantic import Field

from thinkscale.api.base import Quantity, Resource, free_form, keyed_by
from thinkscale.api.schema import leaves, node_at, structural


class Inner(Resource):
    """An inner object."""

    size: int = 3
    """Its size."""


class Bare(Resource):
    """An object without defaults."""

    text: str | None = None


class Outer(Resource):
    """An outer object,
    over two lines.

    And a second paragraph.
    """

    needed: Annotated[int, Field(ge=1, le=5)]
    """Must be there."""
    inner_part: Inner = Inner()
    other: Inner | None = None
    """Another."""
    bare: Bare = Bare()
    items: Annotated[
        tuple[Inner, ...], Field(max_length=2, json_schema_extra=keyed_by("size"))
    ] = ()
    amounts: Annotated[dict[str, Quantity], Field(max_length=4)] = Field(default_factory=dict)
    anything: Annotated[dict[str, Any], Field(json_schema_extra=free_form())] | None = None


def test_optional_fields_are_plain_and_have_no_default() -> None:
    assert node_at(structural(Outer), "other") == {
        "description": "Another.",
        "type": "object",
        "properties": {"size": {"description": "Its size.", "type": "integer", "default": 3}},
    }


def test_an_object_of_defaults_defaults_to_nothing_which_the_api_server_fills() -> None:
    assert node_at(structural(Outer), "innerPart")["default"] == {}


def test_an_object_without_defaults_is_not_conjured_up() -> None:
    assert "default" not in node_at(structural(Outer), "bare")
    assert "default" not in node_at(structural(Outer), "items")
    assert "default" not in node_at(structural(Outer), "amounts")


def test_descriptions_have_one_line_per_paragraph() -> None:
    assert structural(Outer)["description"] == (
        "An outer object, over two lines.\nAnd a second paragraph."
    )


def test_limits_and_list_keys_are_kept() -> None:
    made = structural(Outer)
    assert made["required"] == ["needed"]
    assert node_at(made, "needed") == {
        "description": "Must be there.",
        "type": "integer",
        "minimum": 1,
        "maximum": 5,
    }
    assert node_at(made, "items")["x-kubernetes-list-map-keys"] == ["size"]


def test_quantities_are_numbers_or_strings() -> None:
    assert node_at(structural(Outer), "amounts.*") == {
        "maxLength": 64,
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
    }


def test_free_form_objects_keep_what_they_hold() -> None:
    node = node_at(structural(Outer), "anything")
    assert node == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def test_leaves_are_spelled_with_lists_and_maps() -> None:
    assert [path for path, _ in leaves(structural(Outer), "spec")] == [
        "spec.needed",
        "spec.innerPart.size",
        "spec.other.size",
        "spec.bare.text",
        "spec.items[].size",
        "spec.amounts.*",
        "spec.anything",
    ]


def test_a_path_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError):
        node_at(structural(Outer), "items[].nothing")
