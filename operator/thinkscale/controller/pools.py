"""The GPU pools: who shares which limit, what each member claims, and what it is granted. No I/O.

A member's claim is its own law's decision, made as if nothing were shared. Grants are computed anew
from all claims whenever somebody asks, so nothing here must survive a restart: a member that has
not been ticked yet claims what it has. What was granted counts as held at once, before anybody has
written it, so two ticks at the same time cannot both take the last GPU.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from thinkscale.api import names
from thinkscale.api.pool import DEFAULT_PRIORITY, GPUPool, LabelRequirement, NamespaceSelector
from thinkscale.api.replicas import ScalingMode
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.controller.store import Service, Store
from thinkscale.scaling.sharing import Grant, Member, share


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a member's law wants while nothing is shared."""

    uid: str
    wished: int
    late_rates: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """How one pool is divided just now."""

    pool: GPUPool
    members: Mapping[str, Member]
    grants: Mapping[str, Grant]

    @property
    def used_gpus(self) -> int:
        """GPUs that the members hold."""
        return sum(m.held_replicas * m.gpus_per_replica for m in self.members.values())

    def is_limited(self, key: str) -> bool:
        """Whether this member gets less than it wishes."""
        return self.grants[key].now < self.members[key].wished_replicas

    def words(self, key: str) -> str:
        """Why this member has no more, for its owner."""
        limit = self.pool.spec.max_gpus
        wished, grant = self.members[key].wished_replicas, self.grants[key]
        others = len(self.members) - 1
        waits = f" ({grant.share} once others have let go)" if grant.now < grant.share else ""
        return (
            f"GPUPool {self.pool.metadata.name} grants {grant.now} of {wished} wished replicas"
            f"{waits}: {self.used_gpus} of {limit} GPUs are in use, shared with {others} other "
            f"{'service' if others == 1 else 'services'}."
        )


@dataclass(slots=True)
class _Standing:
    """What is remembered of a member."""

    claim: Claim | None = None
    stated: int = 0
    """Replicas that it was last told to have."""
    gpus_per_replica: int = 0
    """Remembered for the pods that a deleted service leaves behind for a while."""
    granted: dict[str, int] = field(default_factory=dict)
    """By pool, as it last heard."""


class Pools:
    """All pools and their members; `on_change` is told the key of a member that should look."""

    def __init__(self, store: Store, on_change: Callable[[str], None]) -> None:
        self._store = store
        self._on_change = on_change
        self.pools: Final[dict[str, GPUPool]] = {}
        self._labels: Final[dict[str, Mapping[str, str]]] = {}
        self._standings: Final[dict[str, _Standing]] = {}
        self._divided: Final[dict[str, Shared]] = {}
        """By pool, as it was divided last: mostly nothing has changed since."""
        self._listed: Final[dict[str, dict[str, int]]] = {}
        """By pool: the members that it names, and their priorities."""
        self.on_divided: Callable[[], None] = lambda: None
        """Told when a pool may have been divided another way."""

    def put(self, manifest: Mapping[str, Any]) -> None:
        """Remember a pool or a namespace."""
        metadata = manifest["metadata"]
        if manifest["kind"] == names.POOL_KIND:
            self._put_pool(manifest)
        elif self._labels.get(metadata["name"]) != (labels := metadata.get("labels") or {}):
            self._labels[metadata["name"]] = labels
            self._wake(bool(self.pools))

    def drop(self, manifest: Mapping[str, Any]) -> None:
        """Forget a pool or a namespace that was deleted."""
        known = self.pools if manifest["kind"] == names.POOL_KIND else self._labels
        gone = known.pop(manifest["metadata"]["name"], None)
        if known is self.pools:
            self._divided.pop(manifest["metadata"]["name"], None)
            self._listed.pop(manifest["metadata"]["name"], None)
        self._wake(gone is not None and known is self.pools)

    def replace(self, kind: str, manifests: Iterable[Mapping[str, Any]]) -> None:
        """These are all the pools, or all the namespaces, that there are."""
        listed = {manifest["metadata"]["name"]: manifest for manifest in manifests}
        known = self.pools if kind == names.POOL_KIND else self._labels
        for name in [name for name in known if name not in listed]:
            self.drop({"kind": kind, "metadata": {"name": name}})
        for manifest in listed.values():
            self.put(manifest)

    def claim(
        self,
        key: str,
        service: ReasoningService,
        wished: int,
        rates: tuple[float, ...],
        stated: int,
    ) -> None:
        """This service's law wants so much. `stated`: replicas that it has been told to have."""
        standing = self._standings.setdefault(key, _Standing())
        standing.claim = Claim(uid=service.metadata.uid, wished=wished, late_rates=rates)
        standing.stated = stated

    def state(self, key: str, replicas: int) -> None:
        """The service is about to have so many replicas; wakes those who get another grant by it.

        Does nothing for a service that claims nothing.
        """
        standing = self._standings.get(key)
        if standing is None:
            return
        standing.stated = max(standing.stated, replicas)
        for shared in self.shared_by(key):
            self._tell(shared, key)
        self.on_divided()

    def forget(self, key: str) -> None:
        """The service is gone: what it had is free as its pods go."""
        standing = self._standings.get(key)
        if standing is None:
            return
        standing.claim, standing.stated = None, 0
        entry = self._store.services.get(key)
        if entry is None or not entry.pods:
            del self._standings[key]
        for pool in self.pools.values():
            if self._is_in(pool, key):
                self._tell(self._divide(pool), key)
        self.on_divided()

    def has(self, key: str) -> bool:
        """Whether any pool holds this service."""
        return any(self._is_in(pool, key) for pool in self.pools.values())

    def shared_by(self, key: str) -> list[Shared]:
        """The pools that hold this service, divided, by name."""
        held = [pool for _, pool in sorted(self.pools.items()) if self._is_in(pool, key)]
        return [shared for pool in held if key in (shared := self._divide(pool)).members]

    def all_shared(self) -> list[Shared]:
        """Every pool, divided."""
        return [self._divide(pool) for _, pool in sorted(self.pools.items())]

    def _put_pool(self, manifest: Mapping[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        before = self.pools.get(name)
        try:
            pool = GPUPool.model_validate(manifest)
        except ValidationError:
            return  # NB: of a newer kind, say; the limit that was understood last still holds
        self.pools[name] = pool
        self._listed[name] = {f"{m.namespace}/{m.name}": m.priority for m in pool.spec.members}
        self._wake(before is None or before.spec != pool.spec or before.metadata != pool.metadata)

    def _wake(self, changed: bool) -> None:
        """A pool or who is in it has changed, which is rare: everybody looks."""
        if changed:
            for key, entry in self._store.services.items():
                if entry.resource is not None:
                    self._on_change(key)
            self.on_divided()

    def _tell(self, shared: Shared, by: str) -> None:
        """Wake the others whose grant is another than they last heard, where that matters."""
        name = shared.pool.metadata.name
        for key, grant in shared.grants.items():
            standing = self._standings.setdefault(key, _Standing())
            before = standing.granted.get(name)
            standing.granted[name] = grant.now
            wished = shared.members[key].wished_replicas
            if key != by and before != grant.now and min(before or 0, grant.now) < wished:
                self._on_change(key)

    def _is_in(self, pool: GPUPool, key: str) -> bool:
        namespace = key.partition("/")[0]
        selector = pool.spec.namespace_selector
        if selector is not None and selects(selector, self._labels.get(namespace)):
            return True
        return key in self._listed[pool.metadata.name]

    def _divide(self, pool: GPUPool) -> Shared:
        priorities = self._listed[pool.metadata.name]
        members: dict[str, Member] = {}
        for key, entry in sorted(self._store.services.items()):
            if self._is_in(pool, key):
                priority = priorities.get(key, DEFAULT_PRIORITY)
                member = self._member(key, entry, priority)
                if member is not None:
                    members[key] = member
        last = self._divided.get(pool.metadata.name)
        if last is not None and last.pool.spec == pool.spec and last.members == members:
            return Shared(pool=pool, members=members, grants=last.grants)
        grants = share(pool.spec.max_gpus, members.values())
        divided = Shared(pool=pool, members=members, grants=grants)
        self._divided[pool.metadata.name] = divided
        return divided

    def _member(self, key: str, entry: Service, priority: int) -> Member | None:
        standing, service = self._standings.get(key, _Standing()), entry.resource
        held, leaving = _held(key, entry, standing.stated)
        least, wished = 0, 0
        rates: tuple[float, ...] = ()
        if service is not None and not entry.deleting:
            standing.gpus_per_replica = service.spec.engine.gpus.count
            least, wished, rates = _claimed(service, standing.claim, held - leaving)
        elif not held:
            return None
        return Member(
            name=key,
            priority=priority,
            gpus_per_replica=standing.gpus_per_replica,
            min_replicas=least,
            wished_replicas=wished,
            held_replicas=held,
            leaving_replicas=leaving,
            late_rates=rates,
        )


def _claimed(
    service: ReasoningService, claim: Claim | None, held: int
) -> tuple[int, int, tuple[float, ...]]:
    """Minimum, wish and late rates: a person's number, the law's, or what there is."""
    scaling, replicas = service.spec.scaling, service.spec.replicas
    if scaling.mode is not ScalingMode.AUTO and replicas is not None:
        # It is no wish of the law: it goes with the minimums.
        stated = min(replicas, scaling.max_replicas)
        return stated, stated, ()
    if claim is None or claim.uid != service.metadata.uid:
        return scaling.min_replicas, max(scaling.min_replicas, held), ()
    return scaling.min_replicas, claim.wished, claim.late_rates


def selects(selector: NamespaceSelector, labels: Mapping[str, str] | None) -> bool:
    """Whether a namespace with these labels is selected; None: there is no such namespace."""
    if labels is None:
        return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(requirement, labels) for requirement in selector.match_expressions
    )


def _holds(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    """As Kubernetes has it: NotIn holds for a label that is not there."""
    match requirement.operator:
        case "In":
            return labels.get(requirement.key) in requirement.values
        case "NotIn":
            return labels.get(requirement.key) not in requirement.values
        case "Exists":
            return requirement.key in labels
        case "DoesNotExist":
            return requirement.key not in labels


def _held(key: str, entry: Service, stated: int) -> tuple[int, int]:
    """Replicas that have GPUs or are about to: those ordered, and those that are still there. Then
    those of them that are on their way out: a Deployment makes others in their place at once.
    """
    known = entry.known("Deployment", names.model_name(key.partition("/")[2]))
    ordered = known.rollout.replicas if known is not None and known.rollout is not None else 0
    pods = [pod for pod in entry.component(names.COMPONENT_MODEL) if not pod.ended]
    leaving = sum(pod.deleting for pod in pods)
    if entry.resource is None or entry.deleting:
        return max(stated, ordered, len(pods)), leaving  # nobody makes others
    return max(stated, ordered, len(pods) - leaving) + leaving, leaving
