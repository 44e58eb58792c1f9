"""What all CustomResourceDefinitions of the group share: the envelope, columns, rules in their
places, and how they are written.

Which kind has which fields, rules and columns is told in `crd` and `pool_crd`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from pydantic import BaseModel

from thinkscale.api.cel import CelRule
from thinkscale.api.names import GROUP, VERSION
from thinkscale.api.schema import Schema, node_at, structural


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The names of a kind."""

    kind: str
    plural: str
    short: str
    scope: Literal["Namespaced", "Cluster"]
    categories: Sequence[str]

    @property
    def crd_name(self) -> str:
        """Name of the definition."""
        return f"{self.plural}.{GROUP}"


def column(name: str, path: str, type_: str, what: str, priority: int = 0) -> dict[str, Any]:
    """A column of `kubectl get`; with a priority above 0 only of `-o wide`."""
    made = {"name": name, "type": type_, "jsonPath": path, "description": what}
    return made | ({"priority": priority} if priority else {})


def condition(type_: str, part: str) -> str:
    """JSON path of a condition's part."""
    return f'.status.conditions[?(@.type=="{type_}")].{part}'


def object_schema(
    description: str,
    spec: type[BaseModel],
    status: type[BaseModel],
    rules: Mapping[str, Sequence[CelRule]],
) -> Schema:
    """The openAPIV3Schema: models, limits, defaults, and the rules by the path of their node."""
    root: Schema = {
        "description": description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": structural(spec),
            "status": structural(status),
        },
    }
    for path, of_node in rules.items():
        node = node_at(root, path) if path else root
        node["x-kubernetes-validations"] = [rule.as_schema() for rule in of_node]
    return root


def definition(
    kind: Kind,
    schema: Schema,
    columns: Sequence[Mapping[str, Any]],
    subresources: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole CustomResourceDefinition as a plain object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": list(kind.categories),
            },
            "scope": kind.scope,
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": list(columns),
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}, **subresources},
                }
            ],
        },
    }


class _PlainDumper(yaml.SafeDumper):
    """YAML without anchors, which `kubectl` takes but people do not."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(value: Any) -> str:
    """An object as YAML in the order given, lines at most 100 characters where they can break."""
    return yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, width=100, allow_unicode=True)
