"""What is known of the cluster, by service: the resources, the objects they own, their pods.

Filled by watches and by the answers to our own writes, read by ticks. A change tells whether it is
worth a tick: our own echo is not. Nothing here talks to anybody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from thinkscale.api import names
from thinkscale.api.v1alpha1 import ObjectMeta, ReasoningService
from thinkscale.controller.known import Known, known_of
from thinkscale.controller.pods import Pod, pod_of
from thinkscale.kube.resources import Resource

POD_KIND: Final = "Pod"


@dataclass(slots=True, kw_only=True)
class Service:
    """One ReasoningService and what is there of it."""

    metadata: ObjectMeta | None = None
    """None: the resource is gone."""
    resource: ReasoningService | None = None
    """None: gone, or not to be read."""
    invalid: str = ""
    """Why the resource could not be read, in words for its owner."""
    deleting: bool = False
    objects: dict[tuple[str, str], Known] = field(default_factory=dict)
    """By kind and name."""
    pods: dict[str, Pod] = field(default_factory=dict)

    def known(self, kind: str, name: str) -> Known | None:
        """The owned object of this kind and name, if it is there."""
        return self.objects.get((kind, name))

    def component(self, component: str) -> list[Pod]:
        """The pods of one component, by name."""
        return [pod for _, pod in sorted(self.pods.items()) if pod.component == component]


class Store:
    """All services, by NAMESPACE/NAME."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}

    def service(self, key: str) -> Service:
        """What is known of this service; an empty one if nothing is."""
        return self.services.setdefault(key, Service())

    def put_resource(self, manifest: Mapping[str, Any]) -> tuple[str, bool]:
        """Remember a resource. Returns its key, and whether the law or the renderers could see a
        difference (a new status is none).
        """
        metadata = manifest["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        service = self.service(key)
        before = service.resource
        service.metadata = ObjectMeta.model_validate(metadata)
        deleting = "deletionTimestamp" in metadata
        try:
            resource, invalid = ReasoningService.model_validate(manifest), ""
        except ValidationError as error:
            resource, invalid = None, _words(error)
        same = (
            before is not None
            and resource is not None
            and before.metadata.uid == resource.metadata.uid
            and before.metadata.generation == resource.metadata.generation
            and service.deleting == deleting
        )
        service.resource, service.invalid, service.deleting = resource, invalid, deleting
        return key, not same

    def drop_resource(self, key: str) -> None:
        """The resource is gone; what it owned is dropped as the garbage collector removes it."""
        service = self.service(key)
        service.metadata, service.resource = None, None
        service.invalid, service.deleting = "", False
        self._prune(key)

    def put(self, manifest: Mapping[str, Any]) -> str | None:
        """Remember an owned object or a pod. Returns the key of its service if that is worth a
        tick, else None.
        """
        key = key_of(manifest)
        if key is None:
            return None
        service = self.service(key)
        if manifest["kind"] == POD_KIND:
            before = service.pods.get(manifest["metadata"]["name"])
            pod = pod_of(manifest, before)
            changed = before != pod
            service.pods[pod.name] = pod
            return key if changed else None
        new = known_of(manifest)
        old = service.known(new.kind, new.name)
        if old is not None and old.uid == new.uid and old.version >= new.version:
            return None  # an echo of what our own write has told us already
        service.objects[new.kind, new.name] = new
        same = old is not None and (old.uid, old.fingerprint, old.rollout, old.deleting) == (
            new.uid,
            new.fingerprint,
            new.rollout,
            new.deleting,
        )
        return None if same else key

    def adopt(self, key: str, manifest: Mapping[str, Any]) -> None:
        """Remember an object of this service that does not carry our label."""
        known = known_of(manifest)
        self.service(key).objects[known.kind, known.name] = known

    def drop(self, manifest: Mapping[str, Any]) -> str | None:
        """Forget an owned object or a pod that was deleted. Returns the key of its service."""
        key = key_of(manifest)
        if key is None:
            return None
        service = self.service(key)
        name = manifest["metadata"]["name"]
        if manifest["kind"] == POD_KIND:
            service.pods.pop(name, None)
        else:
            known = service.known(manifest["kind"], name)
            if known is not None and known.uid == manifest["metadata"]["uid"]:
                del service.objects[manifest["kind"], name]
        self._prune(key)
        return key

    def replace(
        self, resource: Resource, namespace: str | None, manifests: Iterable[Mapping[str, Any]]
    ) -> set[str]:
        """This is all there is of one kind in one namespace (None: in all of them). Returns the
        keys of the services that saw a change.
        """
        listed = list(manifests)
        present = {(key_of(m), m["metadata"]["name"]) for m in listed}
        changed = {key for key in (self.put(m) for m in listed) if key is not None}
        for key, service in list(self.services.items()):
            if namespace is not None and not key.startswith(f"{namespace}/"):
                continue
            for name in self._names(service, resource.kind):
                if (key, name) not in present:
                    self._forget(service, resource.kind, name)
                    changed.add(key)
            self._prune(key)
        return changed

    @staticmethod
    def _names(service: Service, kind: str) -> list[str]:
        if kind == POD_KIND:
            return list(service.pods)
        return [name for of_kind, name in service.objects if of_kind == kind]

    @staticmethod
    def _forget(service: Service, kind: str, name: str) -> None:
        if kind == POD_KIND:
            service.pods.pop(name, None)
        else:
            service.objects.pop((kind, name), None)

    def _prune(self, key: str) -> None:
        service = self.services.get(key)
        if service and not (service.metadata or service.objects or service.pods):
            del self.services[key]


def key_of(manifest: Mapping[str, Any]) -> str | None:
    """NAMESPACE/NAME of the service that an object is labelled with."""
    name = (manifest["metadata"].get("labels") or {}).get(names.SERVICE_LABEL)
    return f"{manifest['metadata']['namespace']}/{name}" if name else None


def _words(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"
