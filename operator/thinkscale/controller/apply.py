"""Makes owned objects as they ought to be: writes only differences, never over what is not ours.

An object is written when what we want differs from what we last applied, or when what is there
differs from what the API server made of that: a lost watch event costs nothing, an edit by hand is
put right, an orphan with our label is adopted. An object that was never seen under our label is
looked for first: if somebody else has that name, it is theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from thinkscale.api import names
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.controller.known import controller_uid, fingerprint
from thinkscale.controller.store import Service, Store
from thinkscale.errors import ApiNotFound, ThinkscaleError
from thinkscale.kube.client import KubeClient
from thinkscale.kube.resources import BY_KIND, REASONING_SERVICES, Resource
from thinkscale.resources.objects import Object, digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An object as it ought to be, and the digest that says whether it is still the same wish."""

    object: Object
    digest: str


def wish(intended: Object) -> Wish:
    """The wish for this object."""
    return Wish(object=intended, digest=digest(intended))


class NameConflict(ThinkscaleError):
    """An object of that name exists and is not ours."""

    def __init__(self, kind: str, name: str, owner: str) -> None:
        super().__init__(
            f"{kind} {name} exists and belongs to {owner}; rename or delete it, "
            f"or rename this ReasoningService"
        )


class Departed(ThinkscaleError):
    """The resource itself is gone, or another one has its name: nothing may be made for it."""


class Leaving(ThinkscaleError):
    """An object of an earlier life of the same name is still being removed: try again soon."""


class Applier:
    """Applies objects and remembers what became of them."""

    def __init__(self, kube: KubeClient, store: Store, on_write: Callable[[str], None]) -> None:
        self._kube = kube
        self._store = store
        self._on_write = on_write
        self._applied: Final[dict[str, tuple[str, str]]] = {}
        """By the object's uid: digest of what we wanted, fingerprint of what it became."""

    async def ensure(self, service: ReasoningService, wish: Wish) -> bool:
        """Make this object so. Returns whether it had to be written.

        Raises NameConflict, Departed, Leaving, and what the API raises.
        """
        intended, wanted = wish.object, wish.digest
        kind, name = intended["kind"], intended["metadata"]["name"]
        resource = BY_KIND[kind]
        entry = self._store.service(f"{service.metadata.namespace}/{service.metadata.name}")
        known = entry.known(kind, name)
        if known is None:
            await self._may_create(service, resource, name)
        elif known.owner_uid not in (service.metadata.uid, ""):
            # Our label, another owner: what a deleted resource of this name has left behind.
            raise Leaving(f"{kind} {name} belongs to an earlier resource of this name")
        elif known.deleting:
            raise Leaving(f"{kind} {name} is being deleted")
        if known is not None and self._applied.get(known.uid) == (wanted, known.fingerprint):
            return False
        answer = await self._kube.apply(resource, intended)
        self._on_write(kind)
        self._applied[answer["metadata"]["uid"]] = (wanted, fingerprint(answer))
        self._store.put(answer)
        return True

    async def adopt(self, service: ReasoningService, resource: Resource, name: str) -> None:
        """Look for an object of ours that nothing is known of, since somebody took its label off.

        Raises what the API raises.
        """
        key = f"{service.metadata.namespace}/{service.metadata.name}"
        try:
            found = await self._kube.get(resource, service.metadata.namespace, name)
        except ApiNotFound:
            return
        if controller_uid(found["metadata"]) == service.metadata.uid:
            self._store.adopt(key, found)

    def wrote(self, answer: Object) -> None:
        """Somebody wrote an object by other means, and this is what it became."""
        self._on_write(answer["kind"])
        self._store.put(answer)

    def forget(self, service: Service) -> None:
        """The service is gone: so is what was known of its objects."""
        for known in service.objects.values():
            self._applied.pop(known.uid, None)

    async def _may_create(self, service: ReasoningService, resource: Resource, name: str) -> None:
        namespace = service.metadata.namespace
        try:
            live = await self._kube.get(REASONING_SERVICES, namespace, service.metadata.name)
        except ApiNotFound:
            raise Departed("the ReasoningService is gone") from None
        if live["metadata"]["uid"] != service.metadata.uid:
            raise Departed("another ReasoningService has this name now")
        if "deletionTimestamp" in live["metadata"]:
            raise Departed("the ReasoningService is being deleted")
        try:
            found = await self._kube.get(resource, namespace, name)
        except ApiNotFound:
            return
        metadata = found["metadata"]
        if controller_uid(metadata) == service.metadata.uid:
            return  # ours; somebody took the label off, or the watch is a moment behind
        raise NameConflict(resource.kind, name, _owner(metadata))


def _owner(metadata: Object) -> str:
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            return f"{reference['kind']} {reference['name']}"
    by = (metadata.get("labels") or {}).get(names.MANAGED_BY_LABEL)
    return f"somebody else ({by})" if by else "somebody else"
