"""What every model of the resource is made of: one configuration, and the marks that only the CRD
reads.

The docstring under a field is its description: in the CRD, in `kubectl explain` and in the
reference. Objects read from the API server ignore fields that they do not know (a newer CRD may
have some); refusing them is the API server's part.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Resource(BaseModel):
    """Base of all parts of the resource: frozen, camelCase outside, snake_case inside."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )


def keyed_by(*keys: str) -> dict[str, Any]:
    """Schema marks of a list whose items are told apart by these fields (merged item by item)."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def as_set() -> dict[str, Any]:
    """Schema marks of a list of distinct values."""
    return {"x-kubernetes-list-type": "set"}


def atomic() -> dict[str, Any]:
    """Schema marks of a list that is only ever replaced as a whole."""
    return {"x-kubernetes-list-type": "atomic"}


def free_form() -> dict[str, Any]:
    """Schema marks of an object that Kubernetes itself will check, in the Deployment."""
    return {"x-kubernetes-preserve-unknown-fields": True}


def int_or_string(limit: int = 64) -> dict[str, Any]:
    """Schema marks of a value that may be a number or a string, as quantities are."""
    return {"x-kubernetes-int-or-string": True, "maxLength": limit}


NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=NAME_PATTERN)]
"""A DNS label."""
ObjectName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
]
"""The name of a Kubernetes object in the same namespace."""
Tokens = Annotated[int, Field(ge=0, le=10_000_000)]
Replicas = Annotated[int, Field(ge=0, le=10_000)]
Seconds = Annotated[int, Field(ge=0, le=86_400)]
Quantity = Annotated[int | str, Field(json_schema_extra=int_or_string())]
"""A Kubernetes quantity: `8`, `"500m"`, `64Gi`."""
