"""What runs: the model and the engine that serves it.

Everything in these two specs rolls the model pods when it changes (the name that clients send too:
it is an argument of the engine), but for `gpus.product`, which no pod sees; nothing outside of them
does. The image has no default on purpose: an upgrade of the operator must never change what is
served.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from thinkscale.api.base import ObjectName, Resource, Seconds, atomic, keyed_by
from thinkscale.api.pods import (
    EnvFromSource,
    EnvVar,
    KeyName,
    MountPath,
    PodTemplate,
    ResourceRequirements,
    SecurityContext,
    VolumeMount,
)

Argument = Annotated[str, Field(min_length=1, max_length=1024)]


class SecretKeyRef(Resource):
    """One key of a Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: KeyName
    """Key within the Secret's data."""


class CacheSpec(Resource):
    """A volume shared by the replicas for downloaded weights and compiled kernels."""

    claim_name: ObjectName
    """PersistentVolumeClaim (ReadWriteMany if the replicas run on several nodes)."""
    mount_path: MountPath = "/cache"
    """Directory in the engine's container; HF_HOME and the caches of compiled code point below it.
    """


class ModelSpec(Resource):
    """Which model is served, and where its weights come from."""

    uri: Annotated[str, Field(min_length=6, max_length=512)]
    """`hf://ORG/NAME` (downloaded from Hugging Face) or `pvc://CLAIM/PATH` (a directory of a
    PersistentVolumeClaim in the same namespace).
    """
    revision: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Commit, tag or branch on Hugging Face. Pin a commit: otherwise replicas started on different
    days may serve different weights.
    """
    name: (
        Annotated[
            str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9._/:]*)$")
        ]
        | None
    ) = None
    """What clients send as `model`; the resource's own name if absent."""
    token_secret_ref: SecretKeyRef | None = None
    """Hugging Face token for gated models, given to the engine as HF_TOKEN."""
    cache: CacheSpec | None = None
    """Keep downloads and compiled kernels between starts: the cheapest way to a short lead time."""


class EngineType(StrEnum):
    """The model servers that the operator knows how to run."""

    VLLM = "VLLM"
    TGI = "TGI"
    SGLANG = "SGLang"


class GpuProduct(StrEnum):
    """The GPUs that the catalogue knows."""

    H100 = "H100"
    A100_80GB = "A100-80GB"
    L40S = "L40S"


class GpusSpec(Resource):
    """GPUs of one replica."""

    count: Annotated[int, Field(ge=0, le=64)] = 1
    """GPUs per replica; more than one: tensor parallelism over all of them."""
    resource_name: Annotated[
        str,
        Field(
            min_length=3,
            max_length=253,
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        ),
    ] = "nvidia.com/gpu"
    """Extended resource that the nodes' device plugin advertises."""
    product: GpuProduct | None = None
    """Which GPU it is, if it is one of these. With a model that the catalogue knows too, the
    scaling law begins with its speed and its KV cache, instead of learning both from nothing. It
    places no pod (`podTemplate.spec.nodeSelector` does) and rolls none.
    """


class EngineSpec(Resource):
    """How one replica of the model server runs."""

    type: EngineType = EngineType.VLLM
    """Which model server the image holds: VLLM (0.18 or later), TGI (3.3) or SGLang (0.5.20 or
    later). They differ in how budgets are held: see docs/engines.md.
    """
    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^\S+$")]
    """Container image of the model server, for example `vllm/vllm-openai:v0.33.0`."""
    command: Annotated[tuple[Argument, ...], Field(max_length=32, json_schema_extra=atomic())] = ()
    """Replaces what starts the engine (the image's entrypoint; for SGLang, `python3 -m
    sglang.launch_server`); the model and all flags follow it.
    """
    args: Annotated[tuple[Argument, ...], Field(max_length=64, json_schema_extra=atomic())] = ()
    """More flags for the model server, after those that the operator sets."""
    reasoning_parser: (
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")] | None
    ) = None
    """How the engine tells thinking from answering, for example `deepseek_r1` or `qwen3` (SGLang:
    `deepseek-r1`); TGI cannot.
    """
    context_tokens: Annotated[int, Field(ge=16, le=10_000_000)]
    """Longest prompt plus output of one request (--max-model-len, --max-total-tokens or
    --context-length of the engine).
    """
    max_concurrent_requests: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Seats: requests that one replica runs at once (--max-num-seqs, --max-batch-size or
    --max-running-requests of the engine). The scaling law reckons with them.
    """
    gpus: GpusSpec = GpusSpec()
    """GPUs of one replica."""
    resources: ResourceRequirements | None = None
    """CPU, memory and other resources of the engine's container (GPUs: see `gpus`)."""
    env: Annotated[
        tuple[EnvVar, ...], Field(max_length=128, json_schema_extra=keyed_by("name"))
    ] = ()
    """Environment variables of the engine's container."""
    env_from: Annotated[
        tuple[EnvFromSource, ...], Field(max_length=32, json_schema_extra=atomic())
    ] = ()
    """Secrets and ConfigMaps whose keys become environment variables."""
    volume_mounts: Annotated[
        tuple[VolumeMount, ...], Field(max_length=32, json_schema_extra=keyed_by("mountPath"))
    ] = ()
    """Volumes of `podTemplate.spec.volumes` in the engine's container."""
    security_context: SecurityContext | None = None
    """Security settings of the engine's container."""
    startup_seconds: Annotated[int, Field(ge=10, le=86_400)] = 1800
    """How long a replica may take to become ready before it is restarted and counts as stuck."""
    drain_seconds: Seconds = 1200
    """How long a replica that is being removed may take to finish its requests."""
    pod_template: PodTemplate = PodTemplate()
    """More about the model pods: labels, scheduling, volumes."""
