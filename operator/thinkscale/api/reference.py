"""The reference of the resource as a page: every field with type, default, limits and what it does.

Made from the CRD's schema, so it says what the API server does. Rules that compare fields are
listed under the object that they belong to.
"""

from collections.abc import Iterator
from typing import Any, Final

from thinkscale.api.definition import Kind
from thinkscale.api.names import API_VERSION
from thinkscale.api.schema import Schema

RULES_KEY: Final = "x-kubernetes-validations"


def page(kind: Kind, schema: Schema) -> str:
    """The page of one kind in Markdown."""
    scope = "" if kind.scope == "Namespaced" else ", cluster-scoped"
    parts = [
        f"# {kind.kind}",
        "",
        f"`{API_VERSION}`, short name `{kind.short}`{scope}. {schema['description']}",
        "",
        f"This page is generated from the CRD (`scripts/gen`); `kubectl explain {kind.short}.spec` "
        "tells the same. Fields in **bold** are required. Rules are checked by the API server when "
        "the resource is applied.",
        "",
    ]
    root_rules = list(_rules(schema))
    if root_rules:
        parts += ["## metadata", "", *root_rules, ""]
    for name in ("spec", "status"):
        for path, node in _objects(schema["properties"][name], name):
            parts += list(_section(path, node))
    return "\n".join(parts).rstrip() + "\n"


def _objects(node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every object with named fields, parents first."""
    inner, suffix = _inside(node)
    if "properties" not in inner:
        return
    yield path + suffix, inner
    for name, child in inner["properties"].items():
        yield from _objects(child, f"{path}{suffix}.{name}")


def _inside(node: Schema) -> tuple[Schema, str]:
    return (node["items"], "[]") if "items" in node else (node, "")


def _section(path: str, node: Schema) -> Iterator[str]:
    yield f"## {path}"
    yield ""
    if "description" in node:
        yield node["description"]
        yield ""
    yield "| field | type | default | what it does |"
    yield "|---|---|---|---|"
    for name, child in node["properties"].items():
        label = f"**{name}**" if name in node.get("required", ()) else name
        cells = (label, _type(child), _default(child), child.get("description", ""))
        yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"
    yield ""
    rules = list(_rules(node))
    if rules:
        yield from rules
        yield ""


def _rules(node: Schema) -> Iterator[str]:
    for rule in node.get(RULES_KEY, ()):
        place = rule.get("fieldPath", "").removeprefix(".")
        yield f"- `{place}` {rule['message']}" if place else f"- {rule['message']}"


def _type(node: Schema) -> str:
    if "enum" in node:
        return " or ".join(f"`{value}`" if value else '`""`' for value in node["enum"])
    if "items" in node:
        keys = node.get("x-kubernetes-list-map-keys")
        inner = "objects" if "properties" in node["items"] else f"{node['items']['type']}s"
        return f"list of {inner}" + (f", by {' and '.join(keys)}" if keys else "")
    if "additionalProperties" in node:
        return f"map of {_type(node['additionalProperties'])}"
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return "object (free-form)"
    return str(node["type"]) + _range(node)


def _range(node: Schema) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is None and high is None:
        return ""
    if high is None:
        return f" ≥ {low:,}"
    return f" ≤ {high:,}" if low is None else f" {low:,} to {high:,}"


def _default(node: Schema) -> str:
    value: Any = node.get("default")
    return "" if value is None or value == {} else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
