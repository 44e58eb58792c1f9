"""The pod template of the model servers: what changes here rolls GPUs, so it depends on
`spec.model` and `spec.engine` alone.

Everything else (budgets, SLOs, scaling, gateway) travels in the runtime ConfigMap, which no model
pod mounts.
"""

import math
from typing import Final

from thinkscale.api import names
from thinkscale.api.v1alpha1 import EngineSpec, ModelSpec, ReasoningService
from thinkscale.engines import adapter_for
from thinkscale.engines.adapter import LaunchPlan
from thinkscale.errors import SpecInvalid
from thinkscale.resources.intent import served_model
from thinkscale.resources.objects import Object, plain, quantities

CONTAINER: Final = "engine"
MODEL_VOLUME: Final = "thinkscale-model"
CACHE_VOLUME: Final = "thinkscale-cache"
SHM_VOLUME: Final = "thinkscale-shm"
MODEL_DIRECTORY: Final = "/models"
SHM_DIRECTORY: Final = "/dev/shm"
STARTUP_PERIOD_SECONDS: Final = 2
GRACE_MARGIN_SECONDS: Final = 30
"""Beyond the drain: for the engine's own exit."""


def model_source(model: ModelSpec) -> tuple[str, str | None]:
    """(what the engine is told to load, the claim to mount for it or None).

    Raises SpecInvalid for a uri that is neither hf://ORG/NAME nor pvc://CLAIM/PATH.
    """
    scheme, _, rest = model.uri.partition("://")
    if scheme == "hf" and rest:
        return rest, None
    claim, _, path = rest.partition("/")
    if scheme == "pvc" and claim:
        return f"{MODEL_DIRECTORY}/{path}".rstrip("/"), claim
    raise SpecInvalid("spec.model.uri", f"{model.uri} is not hf://ORG/NAME or pvc://CLAIM/PATH")


def model_pod_template(service: ReasoningService) -> Object:
    """The pod template, made anew from the resource."""
    engine = service.spec.engine
    extra = engine.pod_template
    pod: Object = {
        "serviceAccountName": names.model_name(service.metadata.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": engine.drain_seconds + GRACE_MARGIN_SECONDS,
        "containers": [_container(service)],
    }
    pod |= plain(extra.spec)
    spread = pod.get("topologySpreadConstraints")
    if spread:
        selector = {"matchLabels": names.selector(service.metadata.name, names.COMPONENT_MODEL)}
        pod["topologySpreadConstraints"] = [item | {"labelSelector": selector} for item in spread]
    volumes = _volumes(service.spec.model, engine) + pod.get("volumes", [])
    if volumes:
        pod["volumes"] = volumes
    labels = names.service_labels(service.metadata.name, names.COMPONENT_MODEL)
    metadata: Object = {"labels": dict(extra.metadata.labels) | labels}
    if extra.metadata.annotations:
        metadata["annotations"] = dict(extra.metadata.annotations)
    return {"metadata": metadata, "spec": pod}


def _container(service: ReasoningService) -> Object:
    engine, model = service.spec.engine, service.spec.model
    adapter = adapter_for(engine.type.value)
    source, claim = model_source(model)
    plan = LaunchPlan(
        model=source,
        revision=model.revision if claim is None else None,
        served_name=served_model(service),
        port=names.MODEL_PORT,
        context_tokens=engine.context_tokens,
        seats=engine.max_concurrent_requests,
        gpus=engine.gpus.count,
        reasoning_parser=engine.reasoning_parser,
        drain_seconds=engine.drain_seconds,
        extra_args=engine.args,
    )
    health = {"httpGet": {"path": adapter.health_path, "port": names.MODEL_PORT}}
    drain = adapter.drain_command(names.MODEL_PORT, engine.drain_seconds)
    container: Object = {
        "name": CONTAINER,
        "image": engine.image,
        "args": list(adapter.arguments(plan)),
        "ports": [{"name": "http", "containerPort": names.MODEL_PORT, "protocol": "TCP"}],
        "startupProbe": health
        | {
            "periodSeconds": STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": 2,
            "failureThreshold": math.ceil(engine.startup_seconds / STARTUP_PERIOD_SECONDS),
        },
        "readinessProbe": health | {"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": health
        | {"periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": list(drain)}}},
    }
    if command := engine.command or adapter.command:
        container["command"] = list(command)
    optional = {
        "env": _environment(model, engine),
        "envFrom": [plain(source) for source in engine.env_from],
        "resources": _resources(engine),
        "volumeMounts": _mounts(model, engine),
        "securityContext": plain(engine.security_context) if engine.security_context else {},
    }
    return container | {key: value for key, value in optional.items() if value}


def _environment(model: ModelSpec, engine: EngineSpec) -> list[Object]:
    """Ours first; a variable that the user sets too is the user's."""
    ours: list[Object] = []
    if model.token_secret_ref is not None:
        reference = {"secretKeyRef": plain(model.token_secret_ref)}
        ours.append({"name": "HF_TOKEN", "valueFrom": reference})
    if model.cache is not None:
        adapter = adapter_for(engine.type.value)
        ours += [
            {"name": name, "value": value}
            for name, value in adapter.cache_environment(model.cache.mount_path).items()
        ]
    theirs = [plain(variable) for variable in engine.env]
    taken = {variable["name"] for variable in theirs}
    return [variable for variable in ours if variable["name"] not in taken] + theirs


def _resources(engine: EngineSpec) -> Object:
    resources = quantities(engine.resources)
    if engine.gpus.count > 0:
        gpus = {engine.gpus.resource_name: str(engine.gpus.count)}
        for part in ("requests", "limits"):
            resources[part] = resources.get(part, {}) | gpus
    return resources


def _needs_shm(engine: EngineSpec) -> bool:
    """Tensor-parallel workers talk through shared memory; a container's default is 64 MB."""
    mounted = {mount.mount_path.rstrip("/") for mount in engine.volume_mounts}
    return engine.gpus.count > 1 and SHM_DIRECTORY not in mounted


def _volumes(model: ModelSpec, engine: EngineSpec) -> list[Object]:
    volumes: list[Object] = []
    _, claim = model_source(model)
    if claim is not None:
        source: Object = {"claimName": claim, "readOnly": True}
        volumes.append({"name": MODEL_VOLUME, "persistentVolumeClaim": source})
    if model.cache is not None:
        source = {"claimName": model.cache.claim_name}
        volumes.append({"name": CACHE_VOLUME, "persistentVolumeClaim": source})
    if _needs_shm(engine):
        volumes.append({"name": SHM_VOLUME, "emptyDir": {"medium": "Memory"}})
    return volumes


def _mounts(model: ModelSpec, engine: EngineSpec) -> list[Object]:
    mounts: list[Object] = []
    if model_source(model)[1] is not None:
        mounts.append({"name": MODEL_VOLUME, "mountPath": MODEL_DIRECTORY, "readOnly": True})
    if model.cache is not None:
        mounts.append({"name": CACHE_VOLUME, "mountPath": model.cache.mount_path})
    if _needs_shm(engine):
        mounts.append({"name": SHM_VOLUME, "mountPath": SHM_DIRECTORY})
    return mounts + [plain(mount) for mount in engine.volume_mounts]
