"""`GPUPool` of `thinkscale.dev/v1alpha1`: one limit on the GPUs of several services.

Cluster-scoped, because it bounds what namespaces may take from each other: who may edit a service
must not be able to raise its limit. A service that several pools hold gets what the tightest
leaves. Everything a pool divides by is the services' own; it has no setting but limit, members and
their priorities.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from thinkscale.api.base import DnsLabel, ObjectName, Resource, atomic, keyed_by
from thinkscale.api.cel import LABEL_KEY
from thinkscale.api.status import Condition

DEFAULT_PRIORITY: Final = 100
MOST_MEMBERS: Final = 512
"""That a pool lists, and that its status tells of."""
LabelKey = Annotated[str, Field(min_length=1, max_length=317, pattern=LABEL_KEY)]
LabelValue = Annotated[
    str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
]


class LabelRequirement(Resource):
    """One condition on a label."""

    key: LabelKey
    """Label that the condition is about."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value relates to the values."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64, json_schema_extra=atomic())] = ()
    """Values for In and NotIn; none for the others."""


class NamespaceSelector(Resource):
    """Namespaces by their labels; all conditions must hold. An empty one selects every
    namespace.
    """

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """Labels that a namespace must have, with these values."""
    match_expressions: Annotated[
        tuple[LabelRequirement, ...], Field(max_length=32, json_schema_extra=atomic())
    ] = ()
    """Conditions on labels."""


class PoolMember(Resource):
    """One service that shares the limit."""

    namespace: DnsLabel
    """Namespace of the ReasoningService."""
    name: ObjectName
    """Name of the ReasoningService."""
    priority: Annotated[int, Field(ge=1, le=10_000)] = DEFAULT_PRIORITY
    """What one of its late requests weighs against another member's. With twice the priority a
    replica goes here although it keeps only half as many requests from being late.
    """


class GPUPoolSpec(Resource):
    """The limit, and who shares it."""

    max_gpus: Annotated[int, Field(alias="maxGPUs", ge=0, le=1_000_000)]
    """GPUs that all members together may hold. A member that holds more than its share lets go of
    replicas as in any other scale-down: first they get no new requests, then they are removed.
    """
    namespace_selector: NamespaceSelector | None = None
    """Every ReasoningService of these namespaces is a member, those listed in `members` with their
    priority, the others with priority 100. Absent: only the listed ones are.
    """
    members: Annotated[
        tuple[PoolMember, ...],
        Field(max_length=MOST_MEMBERS, json_schema_extra=keyed_by("namespace", "name")),
    ] = ()
    """Services that share the limit, wherever they are. One that does not exist takes nothing."""


class MemberStatus(Resource):
    """What one member has of the pool."""

    namespace: Annotated[str, Field(max_length=63)]
    """Namespace of the ReasoningService."""
    name: Annotated[str, Field(max_length=253)]
    """Name of the ReasoningService."""
    used: Annotated[int, Field(alias="usedGPUs", ge=0)]
    """GPUs that its replicas hold, those of draining ones too."""
    granted: Annotated[int, Field(alias="grantedGPUs", ge=0)]
    """GPUs that it may hold."""
    wished: Annotated[int, Field(alias="wishedGPUs", ge=0)]
    """GPUs that it would hold if nothing were shared."""


class GPUPoolStatus(Resource):
    """What was last seen of the pool."""

    observed_generation: int | None = None
    """Generation of the spec that the operator has acted on."""
    used: Annotated[int | None, Field(alias="usedGPUs")] = None
    """GPUs that the members hold."""
    granted: Annotated[int | None, Field(alias="grantedGPUs")] = None
    """GPUs that the members may hold."""
    wished: Annotated[int | None, Field(alias="wishedGPUs")] = None
    """GPUs that the members would hold if nothing were shared."""
    member_count: int | None = None
    """Members that exist."""
    members: Annotated[
        tuple[MemberStatus, ...],
        Field(max_length=MOST_MEMBERS, json_schema_extra=keyed_by("namespace", "name")),
    ] = ()
    """The members; of more than 512 those that are limited come first, and the rest is left out."""
    conditions: Annotated[
        tuple[Condition, ...], Field(max_length=16, json_schema_extra=keyed_by("type"))
    ] = ()
    """Limiting: whether somebody gets less than it wishes."""


class PoolMeta(Resource):
    """The part of Kubernetes' metadata that the operator reads."""

    name: str
    uid: str = ""
    generation: int = 0


class GPUPool(Resource):
    """A limit on the GPUs that several ReasoningServices hold together, shared by what each replica
    keeps from being late.
    """

    api_version: Literal["thinkscale.dev/v1alpha1"] = "thinkscale.dev/v1alpha1"
    kind: Literal["GPUPool"] = "GPUPool"
    metadata: PoolMeta
    spec: GPUPoolSpec
    status: GPUPoolStatus = GPUPoolStatus()
