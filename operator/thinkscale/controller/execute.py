"""What one tick decided, written in an order in which the process may die after any write.

1. What pods need (identities, endpoints, the gateway). 2. The runtime ConfigMap: the directive and
the memory of the decision are known before anybody acts on them. 3. The deletion cost of the
replicas that are to go. 4. The Deployment, with its replicas. Each step is a difference against the
cluster, so the next tick of whatever process finds what is missing and writes only that.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from thinkscale.api import names
from thinkscale.api.conditions import ConditionReason
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.controller.apply import Applier, Leaving, NameConflict, Wish, wish
from thinkscale.controller.debt import Debt
from thinkscale.controller.runtime import Published, next_publication
from thinkscale.controller.store import Service
from thinkscale.controller.trouble import Trouble
from thinkscale.errors import ApiConflict, ApiError, ApiNotFound, ApiUnavailable
from thinkscale.kube.client import KubeClient
from thinkscale.kube.resources import PODS
from thinkscale.model.decision import Blocked, Decision, Hold, Scale
from thinkscale.resources.gateway import GatewayImage, gateway_objects
from thinkscale.resources.intent import gateway_config_of
from thinkscale.resources.runtime import runtime_config_map
from thinkscale.resources.workload import Pin, model_deployment, model_support, pin_of
from thinkscale.scaling import State

COST_RETIRE: Final = "-200"
COST_CORDON: Final = "-100"
SETTLE_SECONDS: Final = 0.5
"""Between marking who is to go and lowering the replicas: the ReplicaSet's controller must have
seen the marks.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What executing came to."""

    published: Published
    replicas: int
    """Of the Deployment, as it is now."""
    scaled_from: int | None
    """The replicas before, if they changed."""
    rolled: bool
    """A new pod template was applied over an old one."""
    troubles: tuple[Trouble, ...]


def target_replicas(decision: Decision, live: int) -> int:
    """The replicas to state; a blocked decision restates what is there."""
    match decision.replicas:
        case Scale(to=to):
            return to
        case Hold(at=at):
            return at
        case Blocked():
            return live


@dataclass(slots=True, kw_only=True)
class _Workload:
    """The model Deployment of one generation, rendered once for each size in a row."""

    generation: int
    annotations: Mapping[str, str]
    """Of the live one."""
    pin: Pin
    rendered: tuple[int, Wish] | None = None

    def wish(self, service: ReasoningService, replicas: int) -> Wish:
        """The Deployment with so many replicas."""
        if self.rendered is None or self.rendered[0] != replicas:
            self.rendered = (replicas, wish(model_deployment(service, self.pin, replicas)))
        return self.rendered[1]


class Executor:
    """Writes what ticks decide."""

    def __init__(self, kube: KubeClient, applier: Applier, image: GatewayImage) -> None:
        self._kube = kube
        self._applier = applier
        self._image = image
        self._rendered: dict[str, tuple[tuple[int, int], tuple[Wish, ...]]] = {}
        self._workloads: dict[str, _Workload] = {}

    async def execute(
        self,
        service: ReasoningService,
        entry: Service,
        decision: Decision,
        state: State,
        debt: Debt,
        published: Published,
        live: int,
        gateways: int,
        now: datetime,
    ) -> Outcome:
        """Write the differences. `live`: the replicas before. `gateways`: as many as there should
        be.

        Raises Departed, ApiUnavailable and ApiConflict: the tick is over, try again.
        """
        troubles = await self._ensure_all(service, self._standing(service, gateways))
        name = names.model_name(service.metadata.name)
        known = entry.known("Deployment", name)
        workload = self._workload(service, known.annotations if known else {})
        replicas = target_replicas(decision, live)
        acting = known is None or replicas != live
        published = next_publication(
            published,
            config=gateway_config_of(service),
            directive=decision.directive,
            state=state.to_json(),
            debt=debt,
            acting=acting,
            now=now,
        )
        troubles += await self._ensure_all(
            service, [wish(runtime_config_map(service, published.data))]
        )
        marked = await self._mark(entry, service, decision)
        if known is None and troubles:
            # Half a service must not hold GPUs.
            return Outcome(
                published=published,
                replicas=0,
                scaled_from=None,
                rolled=False,
                troubles=tuple(troubles),
            )
        if marked and replicas < live:
            await asyncio.sleep(SETTLE_SECONDS)
        refused = await self._ensure_all(service, [workload.wish(service, replicas)])
        written = known is not None and not refused
        before = known.annotations.get(names.ROLLING_INPUTS) if known else None
        return Outcome(
            published=published,
            replicas=live if refused else replicas,
            scaled_from=live if written and replicas != live else None,
            rolled=written and before is not None and before != workload.pin.inputs,
            troubles=(*troubles, *refused),
        )

    def _standing(self, service: ReasoningService, gateways: int) -> tuple[Wish, ...]:
        """What depends on the resource and the gateways' number alone: rendered once for both."""
        uid, known = service.metadata.uid, (service.metadata.generation, gateways)
        rendered = self._rendered.get(uid)
        if rendered is None or rendered[0] != known:
            objects = [*model_support(service), *gateway_objects(service, self._image, gateways)]
            rendered = (known, tuple(wish(intended) for intended in objects))
            self._rendered[uid] = rendered
        return rendered[1]

    def _workload(self, service: ReasoningService, annotations: Mapping[str, str]) -> "_Workload":
        """The model Deployment to apply: pinned once for each generation and each edit of it."""
        uid, generation = service.metadata.uid, service.metadata.generation
        last = self._workloads.get(uid)
        if last is None or (last.generation, last.annotations) != (generation, annotations):
            pin = pin_of(service, annotations, last.pin if last else None)
            last = _Workload(generation=generation, annotations=annotations, pin=pin)
            self._workloads[uid] = last
        return last

    def forget(self, uid: str) -> None:
        """The resource is gone."""
        self._rendered.pop(uid, None)
        self._workloads.pop(uid, None)

    async def _ensure_all(self, service: ReasoningService, wishes: Sequence[Wish]) -> list[Trouble]:
        """Each object so, or the trouble with it; one refusal does not stop the others."""
        troubles: list[Trouble] = []
        for wanted in wishes:
            subject = f"{wanted.object['kind']} {wanted.object['metadata']['name']}"
            try:
                await self._applier.ensure(service, wanted)
            except NameConflict as error:
                reason, message = ConditionReason.NAME_CONFLICT, str(error)
            except Leaving as error:
                reason, message = ConditionReason.LEAVING, str(error)
            except (ApiUnavailable, ApiConflict):
                raise
            except ApiError as error:
                reason, message = ConditionReason.OBJECT_REFUSED, f"{subject}: {error}"
            else:
                continue
            troubles.append(Trouble(reason=reason, message=message, subject=subject))
        return troubles

    async def _mark(self, entry: Service, service: ReasoningService, decision: Decision) -> bool:
        """Deletion costs as the decision wants them. Returns whether any had to be written."""
        wrote = False
        for pod in entry.component(names.COMPONENT_MODEL):
            if pod.deleting or pod.ended:
                continue
            wanted = ""
            if pod.name in decision.retire:
                wanted = COST_RETIRE
            elif pod.name in decision.cordon:
                wanted = COST_CORDON
            if wanted == pod.deletion_cost:
                continue
            annotations = {names.POD_DELETION_COST: wanted or None}
            try:
                answer = await self._kube.patch(
                    PODS,
                    service.metadata.namespace,
                    pod.name,
                    {"metadata": {"annotations": annotations}},
                )
            except ApiNotFound:
                continue
            self._applier.wrote(answer)
            wrote = True
        return wrote
