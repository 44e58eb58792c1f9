"""The parts of a pod that a user may set: a curated subset of Kubernetes' own types, field for
field.

They mean what they mean in a pod; the operator copies them. A field is listed here only when
nothing that the operator itself must decide (ports, probes, grace period, host network, replicas'
names) depends on it. Affinity terms stay free-form: Kubernetes checks them when the Deployment is
applied.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from thinkscale.api.base import (
    DnsLabel,
    ObjectName,
    Quantity,
    Resource,
    as_set,
    atomic,
    free_form,
    keyed_by,
)

EnvName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
KeyName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
MountPath = Annotated[str, Field(min_length=2, max_length=256, pattern=r"^/[^:]*$")]
Text = Annotated[str, Field(max_length=4096)]
ShortText = Annotated[str, Field(max_length=316)]
FileMode = Annotated[int, Field(ge=0, le=511)]


class KeyReference(Resource):
    """One key of a Secret or ConfigMap in the same namespace."""

    name: ObjectName
    """Name of the object."""
    key: KeyName
    """Key within its data."""
    optional: bool | None = None
    """Start also when the object or the key does not exist."""


class EnvVarSource(Resource):
    """Where the value of an environment variable comes from: exactly one of the two."""

    secret_key_ref: KeyReference | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyReference | None = None
    """A key of a ConfigMap."""


class EnvVar(Resource):
    """One environment variable of the engine: `value` or `valueFrom`."""

    name: EnvName
    """Name of the variable."""
    value: Text | None = None
    """Its literal value."""
    value_from: EnvVarSource | None = None
    """A reference to its value."""


class ObjectReference(Resource):
    """An object of the same namespace, by name."""

    name: ObjectName
    """Name of the object."""


class OptionalObjectReference(ObjectReference):
    """An object of the same namespace, by name, that may be missing."""

    optional: bool | None = None
    """Start also when the object does not exist."""


class EnvFromSource(Resource):
    """All keys of one Secret or one ConfigMap as environment variables."""

    prefix: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")] | None = (
        None
    )
    """Put before each key."""
    secret_ref: OptionalObjectReference | None = None
    """The Secret."""
    config_map_ref: OptionalObjectReference | None = None
    """The ConfigMap."""


class VolumeMount(Resource):
    """Where a volume of `podTemplate.spec.volumes` appears in the engine's container."""

    name: DnsLabel
    """Name of the volume."""
    mount_path: MountPath
    """Directory in the container."""
    sub_path: Annotated[str, Field(max_length=256)] | None = None
    """Mount only this path of the volume."""
    read_only: bool | None = None
    """Forbid writes."""


class Capabilities(Resource):
    """Linux capabilities to add to, or drop from, the container runtime's default set."""

    add: Annotated[
        tuple[Annotated[str, Field(max_length=64)], ...],
        Field(max_length=64, json_schema_extra=as_set()),
    ] = ()
    """Capabilities to add."""
    drop: Annotated[
        tuple[Annotated[str, Field(max_length=64)], ...],
        Field(max_length=64, json_schema_extra=as_set()),
    ] = ()
    """Capabilities to drop."""


class SeccompProfile(Resource):
    """The seccomp profile of the container."""

    type: Literal["RuntimeDefault", "Localhost", "Unconfined"]
    """Which kind of profile."""
    localhost_profile: Annotated[str, Field(max_length=256)] | None = None
    """File of the profile on the node; only with Localhost."""


class SecurityContext(Resource):
    """Security settings of the engine's container."""

    run_as_user: Annotated[int, Field(ge=0)] | None = None
    """User id of the process."""
    run_as_group: Annotated[int, Field(ge=0)] | None = None
    """Group id of the process."""
    run_as_non_root: bool | None = None
    """Refuse to start as root."""
    privileged: bool | None = None
    """Give the container all of the node's rights."""
    allow_privilege_escalation: bool | None = None
    """Let the process gain more rights than its parent."""
    read_only_root_filesystem: bool | None = None
    """Mount the image read-only."""
    capabilities: Capabilities | None = None
    """Linux capabilities."""
    seccomp_profile: SeccompProfile | None = None
    """Seccomp profile."""


ResourceList = Annotated[
    dict[Annotated[str, Field(max_length=316)], Quantity],
    Field(max_length=32),
]


class ResourceRequirements(Resource):
    """What a container asks for and may use at most."""

    requests: ResourceList = Field(default_factory=dict)
    """Resources that must be free on the node."""
    limits: ResourceList = Field(default_factory=dict)
    """Resources that the container may use at most."""


class Toleration(Resource):
    """A taint that the pods tolerate."""

    key: ShortText | None = None
    """Key of the taint; empty with Exists: every taint."""
    operator: Literal["Exists", "Equal"] | None = None
    """How key and value are compared; Equal if absent."""
    value: ShortText | None = None
    """Value of the taint; only with Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; absent: every effect."""
    toleration_seconds: int | None = None
    """How long a NoExecute taint is tolerated."""


class Affinity(Resource):
    """Affinity of the pods, in Kubernetes' own terms."""

    node_affinity: Annotated[dict[str, Any], Field(json_schema_extra=free_form())] | None = None
    """As `pod.spec.affinity.nodeAffinity`."""
    pod_affinity: Annotated[dict[str, Any], Field(json_schema_extra=free_form())] | None = None
    """As `pod.spec.affinity.podAffinity`."""
    pod_anti_affinity: Annotated[dict[str, Any], Field(json_schema_extra=free_form())] | None = None
    """As `pod.spec.affinity.podAntiAffinity`."""


class TopologySpreadConstraint(Resource):
    """How this service's model pods are spread; the operator selects them by their labels."""

    max_skew: Annotated[int, Field(ge=1, le=10_000)]
    """How many more pods one domain may have than another."""
    topology_key: Annotated[str, Field(min_length=1, max_length=316)]
    """Node label whose values are the domains."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What to do with a pod that would break the rule."""
    min_domains: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Domains that must exist at least; only with DoNotSchedule."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether only nodes that match the affinity count."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether only nodes whose taints are tolerated count."""


class KeyToPath(Resource):
    """One key of a Secret or ConfigMap as a file."""

    key: KeyName
    """The key."""
    path: Annotated[str, Field(min_length=1, max_length=256)]
    """File name relative to the mount."""
    mode: FileMode | None = None
    """File mode (decimal)."""


Items = Annotated[tuple[KeyToPath, ...], Field(max_length=64, json_schema_extra=atomic())]


class ConfigMapVolume(Resource):
    """Files from a ConfigMap."""

    name: ObjectName
    """Name of the ConfigMap."""
    items: Items = ()
    """Only these keys; absent: all."""
    default_mode: FileMode | None = None
    """File mode (decimal)."""
    optional: bool | None = None
    """Start also when it does not exist."""


class SecretVolume(Resource):
    """Files from a Secret."""

    secret_name: ObjectName
    """Name of the Secret."""
    items: Items = ()
    """Only these keys; absent: all."""
    default_mode: FileMode | None = None
    """File mode (decimal)."""
    optional: bool | None = None
    """Start also when it does not exist."""


class ClaimVolume(Resource):
    """A PersistentVolumeClaim of the same namespace."""

    claim_name: ObjectName
    """Name of the claim."""
    read_only: bool | None = None
    """Mount it read-only."""


class EmptyDirVolume(Resource):
    """A directory that lives as long as the pod."""

    medium: Literal["", "Memory"] | None = None
    """Memory: a tmpfs (the usual way to a larger /dev/shm)."""
    size_limit: Quantity | None = None
    """Size at most."""


class HostPathVolume(Resource):
    """A path of the node."""

    path: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/")]
    """The path."""
    type: (
        Literal[
            "",
            "DirectoryOrCreate",
            "Directory",
            "FileOrCreate",
            "File",
            "Socket",
            "CharDevice",
            "BlockDevice",
        ]
        | None
    ) = None
    """What must be there."""


class NfsVolume(Resource):
    """An NFS export."""

    server: Annotated[str, Field(min_length=1, max_length=253)]
    """Host name or address."""
    path: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/")]
    """Exported path."""
    read_only: bool | None = None
    """Mount it read-only."""


class Volume(Resource):
    """A volume of the model pods: a name and exactly one source."""

    name: DnsLabel
    """Name that `engine.volumeMounts` refers to."""
    config_map: ConfigMapVolume | None = None
    """Files from a ConfigMap."""
    secret: SecretVolume | None = None
    """Files from a Secret."""
    persistent_volume_claim: ClaimVolume | None = None
    """A PersistentVolumeClaim."""
    empty_dir: EmptyDirVolume | None = None
    """A directory that lives as long as the pod."""
    host_path: HostPathVolume | None = None
    """A path of the node."""
    nfs: NfsVolume | None = None
    """An NFS export."""


Labels = Annotated[
    dict[
        Annotated[str, Field(max_length=316)],
        Annotated[str, Field(max_length=63)],
    ],
    Field(max_length=32),
]
Annotations = Annotated[
    dict[Annotated[str, Field(max_length=316)], Text],
    Field(max_length=32),
]


class PodMetadata(Resource):
    """Labels and annotations that the model pods carry in addition to the operator's own."""

    labels: Labels = Field(default_factory=dict)
    """Labels of the model pods."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations of the model pods."""


class PodSpec(Resource):
    """The scheduling and identity of the model pods."""

    service_account_name: ObjectName | None = None
    """Service account of the pods; absent: one that the operator makes, without any rights."""
    image_pull_secrets: Annotated[
        tuple[ObjectReference, ...], Field(max_length=16, json_schema_extra=keyed_by("name"))
    ] = ()
    """Secrets for pulling the engine's image."""
    node_selector: Labels = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: Annotated[
        tuple[Toleration, ...], Field(max_length=32, json_schema_extra=atomic())
    ] = ()
    """Taints that the pods tolerate."""
    affinity: Affinity | None = None
    """Affinity of the pods."""
    topology_spread_constraints: Annotated[
        tuple[TopologySpreadConstraint, ...],
        Field(max_length=8, json_schema_extra=keyed_by("topologyKey", "whenUnsatisfiable")),
    ] = ()
    """How the pods are spread over nodes and zones."""
    priority_class_name: ObjectName | None = None
    """Priority class of the pods."""
    runtime_class_name: ObjectName | None = None
    """Container runtime class of the pods, for example `nvidia`."""
    volumes: Annotated[
        tuple[Volume, ...], Field(max_length=32, json_schema_extra=keyed_by("name"))
    ] = ()
    """Volumes that `engine.volumeMounts` may mount."""


class PodTemplate(Resource):
    """What the model pods get in addition; changing it rolls them."""

    metadata: PodMetadata = PodMetadata()
    """Labels and annotations."""
    spec: PodSpec = PodSpec()
    """Scheduling and identity."""
