"""The CustomResourceDefinition of GPUPool: its rules, its columns, its schema."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from thinkscale.api.cel import LABEL_KEY, CelRule
from thinkscale.api.definition import Kind, column, condition, definition, object_schema
from thinkscale.api.names import POOL_KIND, POOL_PLURAL, POOL_SHORT_NAME
from thinkscale.api.pool import GPUPoolSpec, GPUPoolStatus
from thinkscale.api.schema import Schema

POOL: Final = Kind(
    kind=POOL_KIND,
    plural=POOL_PLURAL,
    short=POOL_SHORT_NAME,
    scope="Cluster",
    categories=("thinkscale",),
)
DESCRIPTION: Final = (
    "A limit on the GPUs that several ReasoningServices hold together, shared by what each replica "
    "keeps from being late."
)
RULES: Final[Mapping[str, Sequence[CelRule]]] = {
    "spec": (
        CelRule(
            rule="has(self.namespaceSelector) || (has(self.members) && size(self.members) > 0)",
            message="names no service: list some in members, or set namespaceSelector ({} selects "
            "every namespace)",
        ),
    ),
    "spec.namespaceSelector.matchLabels": (
        CelRule(
            rule=f"self.all(k, k.matches('{LABEL_KEY}'))",
            message="each key must be a label name, with or without a DNS prefix: "
            "[example.com/]name",
        ),
    ),
    "spec.namespaceSelector.matchExpressions[]": (
        CelRule(
            rule=(
                "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)"
            ),
            message="In and NotIn need values, Exists and DoesNotExist take none: add or remove "
            "them",
            field=".values",
        ),
    ),
}
COLUMNS: Final = (
    column("Limit", ".spec.maxGPUs", "integer", "GPUs that the members may hold together"),
    column("Used", ".status.usedGPUs", "integer", "GPUs that they hold"),
    column("Granted", ".status.grantedGPUs", "integer", "GPUs that they were granted"),
    column("Wished", ".status.wishedGPUs", "integer", "GPUs that they would hold without it"),
    column("Members", ".status.memberCount", "integer", "Services that share it"),
    column("Limiting", condition("Limiting", "status"), "string", "Whether somebody gets less"),
    column("Reason", condition("Limiting", "reason"), "string", "Why", 1),
    column("Age", ".metadata.creationTimestamp", "date", "Since it was created"),
)


def schema() -> Schema:
    """The openAPIV3Schema: models, limits, defaults and rules."""
    return object_schema(DESCRIPTION, GPUPoolSpec, GPUPoolStatus, RULES)


def crd() -> dict[str, Any]:
    """The whole CustomResourceDefinition as a plain object."""
    return definition(POOL, schema(), COLUMNS, {})
