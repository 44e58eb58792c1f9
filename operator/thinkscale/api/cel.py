"""One CEL rule as data, and the rules that several nodes share.

A message says what is wrong and how to mend it; `field` moves the error to the field that should
change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class CelRule:
    """One rule; `field` is relative to the node that the rule sits at, `.spec.replicas` style."""

    rule: str
    message: str
    field: str = ""

    def as_schema(self) -> dict[str, Any]:
        """The rule as an item of `x-kubernetes-validations`."""
        place = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.rule, "message": self.message} | place


LABEL_KEY: Final = (
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)


def exactly_one(message: str, *fields: str) -> CelRule:
    """The node has exactly one of these fields."""
    return CelRule(
        rule=f"[{', '.join(f'has(self.{field})' for field in fields)}].exists_one(x, x)",
        message=message,
    )


QUANTITY: Final = CelRule(
    rule="isQuantity(string(self))",
    message='must be a quantity, for example 8, "500m" or 64Gi',
)


def resource_rules(path: str) -> Mapping[str, Sequence[CelRule]]:
    """Rules of requests and limits at this path: quantities, and no request beyond its limit
    (Kubernetes would refuse that only in the Deployment).
    """
    within = CelRule(
        rule=(
            "!has(self.requests) || !has(self.limits) || self.requests.all(k, "
            "!(k in self.limits) || !isQuantity(string(self.requests[k])) "
            "|| !isQuantity(string(self.limits[k])) "
            "|| quantity(string(self.requests[k]))"
            ".compareTo(quantity(string(self.limits[k]))) <= 0)"
        ),
        message="must not be more than the limit of the same resource: lower the request, or raise "
        "the limit",
        field=".requests",
    )
    return {
        path: (within,),
        f"{path}.requests.*": (QUANTITY,),
        f"{path}.limits.*": (QUANTITY,),
    }
