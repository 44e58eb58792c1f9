"""Who sets the number of replicas, between which limits and how fast.

`behavior` has the shape and the meaning of the HorizontalPodAutoscaler v2; of several policies the
most permissive wins.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from thinkscale.api.base import Replicas, Resource, atomic


class ScalingMode(StrEnum):
    """Who sets the replicas."""

    AUTO = "Auto"
    ADVISORY = "Advisory"
    MANUAL = "Manual"


class PolicyType(StrEnum):
    """What a policy counts in."""

    PODS = "Pods"
    PERCENT = "Percent"


class ScalingPolicy(Resource):
    """A limit on how many replicas may come or go in a period."""

    type: PolicyType
    """Pods: an absolute number. Percent: a share of the replicas at the start of the period."""
    value: Annotated[int, Field(ge=1, le=10_000)]
    """Replicas or percent."""
    period_seconds: Annotated[int, Field(ge=1, le=1800)]
    """Length of the period."""


Policies = Annotated[tuple[ScalingPolicy, ...], Field(max_length=8, json_schema_extra=atomic())]


class ScalingRules(Resource):
    """How fast the replicas may change in one direction."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)]
    """Act only on what was wished all through this window."""
    policies: Policies = ()
    """Limits on the step; the most permissive one wins. None: no limit."""


class ScaleUpRules(ScalingRules):
    """How fast the replicas may grow."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """Grow only to what was wished all through this window."""


class ScaleDownRules(ScalingRules):
    """How fast the replicas may shrink."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    """Shrink only to what was enough all through this window."""


class BehaviorSpec(Resource):
    """How fast the replicas may change; the shape of the HorizontalPodAutoscaler v2."""

    scale_up: ScaleUpRules = ScaleUpRules()
    """Growing."""
    scale_down: ScaleDownRules = ScaleDownRules()
    """Shrinking."""


class ScalingSpec(Resource):
    """Replicas of the model."""

    mode: ScalingMode = ScalingMode.AUTO
    """Auto: the operator sets the replicas. Advisory: it decides and publishes, `spec.replicas`
    holds. Manual: `spec.replicas` holds.
    """
    min_replicas: Replicas = 1
    """Replicas at least: those that Auto sets, and those that Advisory advises; 0 needs
    scaleToZeroAfterSeconds.
    """
    max_replicas: Annotated[int, Field(ge=1, le=10_000)]
    """Replicas at most, in every mode."""
    scale_to_zero_after_seconds: Annotated[int, Field(ge=10, le=604_800)] | None = None
    """Go to zero after this long without a request; needs minReplicas 0."""
    behavior: BehaviorSpec = BehaviorSpec()
    """How fast the replicas may change."""
