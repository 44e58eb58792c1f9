"""What the law says of one service now: gathers what it sees, asks it, and where a GPU limit is
shared asks it again within the grant.

The first answer, made as if nothing were shared, is the service's claim on its pools. Only the
answer that is acted upon leaves a memory, so a limit that comes and goes teaches the law nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from thinkscale.api import names
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.controller import gather
from thinkscale.controller.pools import Pools, Shared
from thinkscale.controller.store import Service
from thinkscale.model.decision import Decision
from thinkscale.model.intent import Intent
from thinkscale.model.observation import FleetView, Observation
from thinkscale.resources.intent import intent_of
from thinkscale.scaling import State, decide
from thinkscale.signals.source import GatewaySource, SignalsReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What the last ticks have left."""

    state: State
    size: int | None
    """Replicas last stated."""
    attempted: int | None
    """Replicas of a write whose answer never came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One look, whoever is asked about it and however often."""

    entry: Service
    signals: SignalsReading
    epoch: str
    fleet_age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The law's word, and what it was about."""

    intent: Intent
    fleet: FleetView
    observation: Observation
    decision: Decision
    state: State
    shared: Shared | None = None
    """The GPU pool that grants less than was wished."""


class Judge:
    """Asks the law."""

    def __init__(
        self, source: GatewaySource, pools: Pools, fleet_age_seconds: Callable[[], float]
    ) -> None:
        self._source = source
        self._pools = pools
        self._fleet_age_seconds = fleet_age_seconds

    def judge(
        self, key: str, entry: Service, service: ReasoningService, before: Before, now: datetime
    ) -> Judged:
        """The law's word on this service, within what its pools grant."""
        intent = intent_of(service)
        seen = _Seen(
            entry=entry,
            signals=self._source.read(key),
            epoch=self._source.epoch,
            fleet_age_seconds=self._fleet_age_seconds(),
        )
        alone = _ask(intent, key, seen, before, now)
        if not self._pools.has(key):
            return alone
        stated = max(before.size or 0, before.attempted or 0)
        wished, rates = alone.decision.wanted, alone.decision.late_rates
        self._pools.claim(key, service, wished, rates, stated)
        tightest = min(self._pools.shared_by(key), key=lambda s: s.grants[key].now, default=None)
        if tightest is None or not tightest.is_limited(key):
            return alone
        granted, manual = tightest.grants[key].now, intent.manual_replicas
        limited = replace(
            intent,
            granted_replicas=granted,
            manual_replicas=None if manual is None else min(manual, granted),
        )
        return replace(_ask(limited, key, seen, before, now), shared=tightest)


def _ask(intent: Intent, key: str, seen: _Seen, before: Before, now: datetime) -> Judged:
    deployment = names.model_name(key.partition("/")[2])
    fleet = gather.fleet_of(seen.entry, intent, deployment, before.size, now)
    observation = gather.observe(
        fleet,
        seen.fleet_age_seconds,
        seen.signals,
        seen.epoch,
        gather.gateways_leaving(seen.entry),
    )
    decision, state = decide(intent, observation, before.state, now)
    return Judged(
        intent=intent, fleet=fleet, observation=observation, decision=decision, state=state
    )
