"""From pydantic models to the structural schema that the API server demands.

Pydantic's JSON Schema breaks the structural rules in a dozen ways (references, `anyOf` with null,
titles, `propertyNames`, `const`, ...); this module walks it and keeps what is allowed. Rules that
compare fields are not known to the models: they are put at their paths afterwards.

An object whose fields all have defaults gets the default `{}`: the API server then fills the
fields, one by one, so that `kubectl get -o yaml` shows each of them. Empty lists and maps are no
defaults: absent says the same with less noise.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

Schema: TypeAlias = dict[str, Any]

KEPT: Final = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
)


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model, without rules."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _node(raw, raw.get("$defs", {}))


def _node(raw: Schema, definitions: Mapping[str, Schema]) -> Schema:
    merged = _resolved(raw, definitions)
    node: Schema = {key: merged[key] for key in KEPT if key in merged}
    if "description" in node:
        node["description"] = _unwrapped(node["description"])
    if "const" in merged:
        node["enum"] = [merged["const"]]
    if node.get("x-kubernetes-int-or-string"):
        node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if "items" in merged:
        node["items"] = _node(merged["items"], definitions)
    if isinstance(merged.get("additionalProperties"), dict):
        node["additionalProperties"] = _node(merged["additionalProperties"], definitions)
    if "properties" in merged:
        node["properties"] = {
            name: _node(child, definitions) for name, child in merged["properties"].items()
        }
    if merged.get("required"):
        node["required"] = sorted(merged["required"])
    default = _default(merged, node)
    if default is not None:
        node["default"] = default
    return node


def _resolved(raw: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Follow references and take the null out of optional fields; the field's own words win."""
    own = {key: value for key, value in raw.items() if key not in ("$ref", "anyOf", "$defs")}
    if "$ref" in raw:
        return _resolved(definitions[raw["$ref"].rsplit("/", 1)[-1]], definitions) | own
    branches = [branch for branch in raw.get("anyOf", ()) if branch.get("type") != "null"]
    if len(branches) == 1:
        return _resolved(branches[0], definitions) | own
    return own


def _default(merged: Schema, node: Schema) -> Any:
    default = merged.get("default")
    if node.get("type") == "object" and "properties" in node:
        filled = any("default" in child for child in node["properties"].values())
        return {} if default is not None and filled else None
    return None if default in ((), [], {}) else default


def _unwrapped(text: str) -> str:
    """One line per paragraph: the source's line breaks mean nothing to a reader."""
    return "\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def leaves(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every leaf below a node with its path: `spec.engine.env[].name`, `spec.slos[].name`; map
    values are `KEY.*`.
    """
    if "properties" in schema:
        for name, child in schema["properties"].items():
            yield from leaves(child, f"{path}.{name}")
    elif "items" in schema:
        yield from leaves(schema["items"], f"{path}[]")
    elif "additionalProperties" in schema:
        yield from leaves(schema["additionalProperties"], f"{path}.*")
    else:
        yield path, schema


def node_at(schema: Schema, path: str) -> Schema:
    """The node at a path of the same spelling; KeyError if there is none."""
    node = schema
    for part in path.split("."):
        name = part.removesuffix("[]")
        if name == "*":
            node = node["additionalProperties"]
        elif name:
            node = node["properties"][name]
        if part.endswith("[]"):
            node = node["items"]
    return node
