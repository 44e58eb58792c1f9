"""`ReasoningService` of `thinkscale.dev/v1alpha1`: the whole resource, and all names of its parts.

The parts live in modules of their own (`workload`, `traffic`, `replicas`, `pods`, `status`); other
packages import them from here. The CRD is made from these models, so their limits and defaults are
those that the API server applies; what compares several fields is in `rules`.
"""

from typing import Annotated, Literal

from pydantic import Field

from thinkscale.api.base import Replicas, Resource, keyed_by
from thinkscale.api.pods import (
    Affinity,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    KeyReference,
    PodMetadata,
    PodSpec,
    PodTemplate,
    ResourceRequirements,
    SecurityContext,
    Toleration,
    TopologySpreadConstraint,
    Volume,
    VolumeMount,
)
from thinkscale.api.replicas import (
    BehaviorSpec,
    PolicyType,
    ScaleDownRules,
    ScaleUpRules,
    ScalingMode,
    ScalingPolicy,
    ScalingRules,
    ScalingSpec,
)
from thinkscale.api.status import Condition, LastDecision, ReasoningServiceStatus, SloStatus
from thinkscale.api.traffic import (
    AnswerSpec,
    AuthSpec,
    BudgetSpec,
    Effort,
    GatewaySpec,
    NativeBudgetCheck,
    OnExhausted,
    QueueSpec,
    SecretRef,
    ServiceSpec,
    ServiceType,
    SloIndicator,
    SloSpec,
    ThinkingSpec,
    TierSpec,
)
from thinkscale.api.workload import (
    CacheSpec,
    EngineSpec,
    EngineType,
    GpuProduct,
    GpusSpec,
    ModelSpec,
    SecretKeyRef,
)


class ReasoningServiceSpec(Resource):
    """What should run, what requests may use, what they are promised."""

    replicas: Replicas | None = None
    """Replicas of the model in Manual and Advisory (required there; `kubectl scale` writes it). In
    Auto the operator sets them and this must be absent.
    """
    model: ModelSpec
    """Which model is served."""
    engine: EngineSpec
    """How one replica of the model server runs."""
    thinking: ThinkingSpec = ThinkingSpec()
    """Thinking budgets."""
    answer: AnswerSpec | None = None
    """Limits of the answers; absent: only the context limits them."""
    slos: Annotated[
        tuple[SloSpec, ...], Field(max_length=16, json_schema_extra=keyed_by("name"))
    ] = ()
    """Objectives; all of them must hold."""
    scaling: ScalingSpec
    """Replicas of the model."""
    gateway: GatewaySpec = GatewaySpec()
    """The gateway that clients call."""


class ObjectMeta(Resource):
    """The part of Kubernetes' metadata that the operator reads."""

    name: str
    namespace: str
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class ReasoningService(Resource):
    """A reasoning model served on GPUs, scaled by the length of its thinking queue and by its SLOs.

    `ReasoningService.model_validate(object)` reads one as the API server returns it.
    """

    api_version: Literal["thinkscale.dev/v1alpha1"] = "thinkscale.dev/v1alpha1"
    kind: Literal["ReasoningService"] = "ReasoningService"
    metadata: ObjectMeta
    spec: ReasoningServiceSpec
    status: ReasoningServiceStatus = ReasoningServiceStatus()


__all__ = [
    "Affinity",
    "AnswerSpec",
    "AuthSpec",
    "BehaviorSpec",
    "BudgetSpec",
    "CacheSpec",
    "Condition",
    "Effort",
    "EngineSpec",
    "EngineType",
    "EnvFromSource",
    "EnvVar",
    "EnvVarSource",
    "GatewaySpec",
    "GpuProduct",
    "GpusSpec",
    "KeyReference",
    "LastDecision",
    "ModelSpec",
    "NativeBudgetCheck",
    "ObjectMeta",
    "OnExhausted",
    "PodMetadata",
    "PodSpec",
    "PodTemplate",
    "PolicyType",
    "QueueSpec",
    "ReasoningService",
    "ReasoningServiceSpec",
    "ReasoningServiceStatus",
    "ResourceRequirements",
    "ScaleDownRules",
    "ScaleUpRules",
    "ScalingMode",
    "ScalingPolicy",
    "ScalingRules",
    "ScalingSpec",
    "SecretKeyRef",
    "SecretRef",
    "SecurityContext",
    "ServiceSpec",
    "ServiceType",
    "SloIndicator",
    "SloSpec",
    "SloStatus",
    "ThinkingSpec",
    "TierSpec",
    "Toleration",
    "TopologySpreadConstraint",
    "Volume",
    "VolumeMount",
]
