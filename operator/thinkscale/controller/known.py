"""An owned object as it is in the cluster, cut down to what a tick needs, so that twenty services
cost kilobytes.

The fingerprint answers one question: is this still what the API server made of our last apply? It
covers everything but what changes by itself (status, bookkeeping), so any edit by anybody shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from thinkscale.api import names
from thinkscale.resources.objects import digest

BOOKKEEPING: Final = frozenset({"managedFields", "resourceVersion", "generation"})
REVISION: Final = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What a Deployment says of itself."""

    replicas: int
    """`spec.replicas`."""
    existing: int
    updated: int
    current: bool
    """Its controller has seen the latest spec."""
    failure: str
    """Why pods could not be created (quota, admission), in Kubernetes' words; empty: they could."""

    @property
    def rolling(self) -> bool:
        """Pods of an older template still exist, or may."""
        return not self.current or self.updated < self.existing


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One object that carries our label."""

    kind: str
    name: str
    uid: str
    owner_uid: str
    """Of its controller; empty: it has none."""
    version: int
    fingerprint: str
    deleting: bool
    annotations: Mapping[str, str]
    """Ours only."""
    data: Mapping[str, str]
    """Of a ConfigMap."""
    rollout: Rollout | None = None
    """Of a Deployment."""


def known_of(manifest: Mapping[str, Any]) -> Known:
    """An object as the API server tells it."""
    metadata = manifest["metadata"]
    kind = manifest["kind"]
    return Known(
        kind=kind,
        name=metadata["name"],
        uid=metadata["uid"],
        owner_uid=controller_uid(metadata),
        version=int(metadata["resourceVersion"]),
        fingerprint=fingerprint(manifest),
        deleting="deletionTimestamp" in metadata,
        annotations={
            key: value
            for key, value in (metadata.get("annotations") or {}).items()
            if key.startswith(names.GROUP)
        },
        data=dict(manifest.get("data") or {}) if kind == "ConfigMap" else {},
        rollout=_rollout(manifest) if kind == "Deployment" else None,
    )


def controller_uid(metadata: Mapping[str, Any]) -> str:
    """The uid of the object's one controller, or nothing."""
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return ""


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """Digest of all that does not change by itself."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in BOOKKEEPING}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != REVISION}
    rest = {k: v for k, v in manifest.items() if k not in ("metadata", "status")}
    return digest({**rest, "metadata": metadata | {"annotations": annotations}})


def _rollout(manifest: Mapping[str, Any]) -> Rollout:
    status = manifest.get("status") or {}
    failures = [
        str(condition.get("message", ""))
        for condition in status.get("conditions") or ()
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
    ]
    return Rollout(
        replicas=int(manifest["spec"].get("replicas", 1)),
        existing=int(status.get("replicas", 0)),
        updated=int(status.get("updatedReplicas", 0)),
        current=int(status.get("observedGeneration", 0))
        >= int(manifest["metadata"].get("generation", 0)),
        failure=failures[0] if failures else "",
    )
