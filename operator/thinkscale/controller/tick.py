"""One tick of one service: gather, decide, execute, tell.

The tick reads all it needs from the store and from the signals, so whatever caused it does not
matter. What it must remember between two ticks of a service is in `Memory`, and all of that can be
found again in the cluster by a process that has just started.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from thinkscale.api import names
from thinkscale.api.conditions import ConditionReason
from thinkscale.api.status import LastDecision, ReasoningServiceStatus
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.controller import debt, gather, trouble
from thinkscale.controller.apply import Applier, Departed
from thinkscale.controller.debt import Debt
from thinkscale.controller.execute import Executor, Outcome, target_replicas
from thinkscale.controller.judge import Before, Judge
from thinkscale.controller.metrics import Metrics
from thinkscale.controller.pools import Pools
from thinkscale.controller.report import Reporter
from thinkscale.controller.runtime import Published
from thinkscale.controller.status import Seen, broken_status, status_of
from thinkscale.controller.store import Service, Store
from thinkscale.controller.trouble import Trouble
from thinkscale.errors import SpecInvalid
from thinkscale.kube.resources import DEPLOYMENTS
from thinkscale.model.decision import Decision
from thinkscale.model.observation import Observation
from thinkscale.model.reading import Value, map_reading
from thinkscale.scaling import State, attainable, gateways
from thinkscale.scaling.gateways import Passed
from thinkscale.signals.source import GatewaySource

logger = logging.getLogger(__name__)

LEAVING_SECONDS: Final = 1.0
"""Between two looks at an object that is being removed."""
LEAVING_GRACE_SECONDS: Final = 10.0
"""Removing takes a moment: only what takes longer is a trouble."""
BROKEN_SECONDS: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Memory:
    """What a service's ticks hand on to each other."""

    uid: str
    state: State
    published: Published
    debt: Debt
    passed: Passed = field(default_factory=Passed)
    """Through the gateways, as far as it tells their number."""
    size: int | None = None
    """Replicas last stated: restated if somebody deletes or scales the Deployment."""
    attempted: int | None = None
    """Replicas of a write that may or may not have landed: its answer never came."""
    leaving_since: datetime | None = None
    """Since when an object that is being removed has been in the way."""


class Ticker:
    """Ticks services; the loop says when."""

    def __init__(
        self,
        store: Store,
        source: GatewaySource,
        applier: Applier,
        executor: Executor,
        reporter: Reporter,
        metrics: Metrics,
        pools: Pools,
        fleet_age_seconds: Callable[[], float],
    ) -> None:
        self._store = store
        self._source = source
        self._applier = applier
        self._executor = executor
        self._reporter = reporter
        self._metrics = metrics
        self._pools = pools
        self._judge = Judge(source, pools, fleet_age_seconds)
        self._memories: dict[str, Memory] = {}

    async def tick(self, key: str) -> float | None:
        """One tick. Returns the seconds to the next one; None: not before something happens.

        Raises ApiError if the API could not be written to.
        """
        entry = self._store.services.get(key)
        if entry is None or entry.metadata is None or entry.deleting:
            self._forget(key, entry)
            return None
        if entry.resource is None:
            return await self._tell_broken(
                entry, Trouble(reason=ConditionReason.SPEC_INVALID, message=entry.invalid)
            )
        try:
            return await self._act(key, entry, entry.resource)
        except SpecInvalid as error:
            return await self._tell_broken(
                entry, Trouble(reason=ConditionReason.SPEC_INVALID, message=str(error))
            )
        except Departed:
            self._store.drop_resource(key)
            self._forget(key, entry)
            return None

    async def _act(self, key: str, entry: Service, service: ReasoningService) -> float:
        now = datetime.now(UTC)
        memory = self._memory(key, entry, service)
        deployment = names.model_name(service.metadata.name)
        self._source.follow(key, gather.gateways_of(entry))
        if memory.size is None and entry.known("Deployment", deployment) is None:
            # A process that has just started must not take a fleet that it does not see for none.
            await self._applier.adopt(service, DEPLOYMENTS, deployment)
        found = gather.rollout_of(entry, deployment)
        if found is not None and found.replicas == memory.attempted:
            memory.size = memory.attempted
        before = Before(state=memory.state, size=memory.size, attempted=memory.attempted)
        judged = self._judge.judge(key, entry, service, before, now)
        intent, fleet, decision = judged.intent, judged.fleet, judged.decision
        observation, memory.state = judged.observation, judged.state
        memory.attempted = target_replicas(decision, fleet.desired)
        self._pools.state(key, memory.attempted)
        memory.debt = debt.observe(memory.debt, observation, now)
        gateways_wanted = self._gateways(entry, service, memory, observation, now)
        outcome = await self._executor.execute(
            service,
            entry,
            decision,
            memory.state,
            memory.debt,
            memory.published,
            fleet.desired,
            gateways_wanted,
            now,
        )
        memory.published, memory.size = outcome.published, outcome.replicas
        memory.attempted = None
        scaled = self._note(service, decision, outcome, now)
        if found is not None and found.replicas != fleet.desired:
            await self._reporter.overridden(service.metadata, found.replicas, outcome.replicas)
        rollouts = [
            gather.rollout_of(entry, name)
            for name in (deployment, names.gateway_name(service.metadata.name))
        ]
        gateway_pods = entry.component(names.COMPONENT_GATEWAY)
        pace = map_reading(observation.signals, lambda signals: signals.fastest_token_seconds)
        findings = attainable.check(
            intent, memory.state, pace.value if isinstance(pace, Value) else None
        )
        met, leaving = _standing_troubles(outcome.troubles, memory, now)
        troubles = trouble.all_of(met, rollouts, fleet.replicas, decision.stuck, gateway_pods, now)
        seen = Seen(
            service=service,
            intent=intent,
            observation=observation,
            fleet=fleet,
            decision=decision,
            rollout=rollouts[0],
            gateways_wanted=gateways_wanted,
            gateways_ready=sum(pod.ready and not pod.deleting for pod in gateway_pods),
            troubles=tuple(troubles),
            unattainable="; ".join(finding.message for finding in findings),
            scaled=scaled,
            owed=debt.owed(memory.debt, now),
            limited_by_pool=judged.shared.words(key) if judged.shared else "",
        )
        wait = await self._reporter.tell(
            service.metadata,
            [
                *troubles,
                *(
                    Trouble(
                        reason=ConditionReason.UNATTAINABLE,
                        message=finding.message,
                        subject=f"SLO {finding.slo}:",
                    )
                    for finding in findings
                ),
            ],
            lambda before: status_of(seen, before, now.replace(microsecond=0)),
            service.status,
        )
        if scaled is not None or outcome.rolled:
            await self._reporter.announce(service.metadata, decision, scaled, outcome.rolled)
        return min(decision.next_tick_seconds, wait, LEAVING_SECONDS if leaving else wait)

    def _gateways(
        self,
        entry: Service,
        service: ReasoningService,
        memory: Memory,
        observation: Observation,
        now: datetime,
    ) -> int:
        """Gateway pods that there should be."""
        spec, name = service.spec.gateway, names.gateway_name(service.metadata.name)
        rollout = gather.rollout_of(entry, name)
        least = spec.min_replicas
        most = max(least, spec.max_replicas or least)
        before = least if rollout is None else rollout.replicas
        wanted, memory.passed = gateways.size(least, most, before, memory.passed, observation, now)
        if rollout is not None and wanted != before:
            logger.info(
                "Scaled gateways",
                extra={
                    "namespace": service.metadata.namespace,
                    "service": service.metadata.name,
                    "from": before,
                    "to": wanted,
                },
            )
        return wanted

    def _memory(self, key: str, entry: Service, service: ReasoningService) -> Memory:
        """The memory of this very resource; what the ConfigMap knows, if this process is new."""
        memory = self._memories.get(key)
        uid = service.metadata.uid
        if memory is None or memory.uid != uid:
            known = entry.known("ConfigMap", names.runtime_name(service.metadata.name))
            ours = known is not None and known.owner_uid == uid
            published = Published(data=known.data if known is not None and ours else {})
            memory = Memory(
                uid=uid,
                published=published,
                state=State.from_json(dict(published.state)),
                debt=published.debt,
            )
            self._memories[key] = memory
        return memory

    def _note(
        self, service: ReasoningService, decision: Decision, outcome: Outcome, now: datetime
    ) -> LastDecision | None:
        if outcome.scaled_from is None:
            return None
        self._metrics.scalings.labels(reason=decision.reason.value).inc()
        logger.info(
            "Scaled Deployment",
            extra={
                "namespace": service.metadata.namespace,
                "service": service.metadata.name,
                "from": outcome.scaled_from,
                "to": outcome.replicas,
                "reason": decision.reason.value,
                "limited_by": decision.limited_by.value,
                "decision_id": decision.id,
                "because": decision.message,
                "terms": [f"{t.name}: {t.wish}, {t.because}" for t in decision.terms],
            },
        )
        return LastDecision(
            id=decision.id,
            from_=outcome.scaled_from,
            to=outcome.replicas,
            reason=decision.reason.value,
            limited_by=decision.limited_by.value,
            message=decision.message[:1024],
            time=now.replace(microsecond=0),
        )

    async def _tell_broken(self, entry: Service, what: Trouble) -> float:
        metadata = entry.metadata
        if metadata is None:
            return BROKEN_SECONDS
        before = entry.resource.status if entry.resource else ReasoningServiceStatus()
        now = datetime.now(UTC).replace(microsecond=0)
        await self._reporter.tell(
            metadata,
            [what],
            lambda last: broken_status(metadata.generation, last, what, now),
            before,
        )
        return BROKEN_SECONDS

    def _forget(self, key: str, entry: Service | None) -> None:
        memory = self._memories.pop(key, None)
        self._source.forget(key)
        self._pools.forget(key)
        if memory is not None:
            self._executor.forget(memory.uid)
            self._reporter.forget(memory.uid)
        if entry is not None:
            self._applier.forget(entry)


def _standing_troubles(
    met: Sequence[Trouble], memory: Memory, now: datetime
) -> tuple[list[Trouble], bool]:
    """The troubles to tell, and whether an object is just being removed, which is none yet."""
    if not any(t.reason == ConditionReason.LEAVING for t in met):
        memory.leaving_since = None
        return list(met), False
    memory.leaving_since = memory.leaving_since or now
    if (now - memory.leaving_since).total_seconds() >= LEAVING_GRACE_SECONDS:
        return list(met), False
    return [t for t in met if t.reason != ConditionReason.LEAVING], True
