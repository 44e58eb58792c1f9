"""`GET /signals`, put together from the gateway's parts at the moment when somebody asks."""

from thinkscale.engines.vllm_metrics import EngineLoad
from thinkscale.gateway.flight import Flight
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.verify import Violation
from thinkscale.model.signals import (
    BudgetSignals,
    EngineSignals,
    GatewaySignals,
    ReplicaSignals,
)


def signals_of(gateway: Gateway) -> GatewaySignals:
    """The state of a gateway now."""
    now, ledger = gateway.clock(), gateway.ledger
    return GatewaySignals(
        boot_id=gateway.boot_id,
        sequence=gateway.sequence,
        gateway=gateway.name,
        service=gateway.config.service if gateway.config else "",
        uptime_seconds=now - gateway.started,
        phases=ledger.phases(),
        held=gateway.router.held,
        oldest_held_seconds=ledger.oldest_held_seconds(now),
        thinking_ages=ledger.thinking_ages(),
        life_table=ledger.life_table.counts(),
        output_ages=ledger.output_ages(),
        output_life_table=ledger.output_life_table.counts(),
        slos=ledger.slo_counts(now),
        counters=ledger.counters(),
        ttfa_seconds=ledger.ttfa.wire(),
        ttft_seconds=ledger.ttft.wire(),
        fastest_token_seconds=ledger.fastest_token_seconds,
        replicas=_replicas(gateway, now),
        budget=_budget(gateway),
        tier_arrivals=dict(ledger.tier_arrivals),
    )


def _budget(gateway: Gateway) -> BudgetSignals:
    counts = gateway.ledger.budget
    return BudgetSignals(
        effective_max_tokens=gateway.effective_max_tokens(),
        tier_max_tokens=dict(gateway.brownout.tokens_by_tier),
        applied=counts.applied,
        cut=counts.cut,
        cut_by_load=counts.cut_by_load,
        violated=sum(counts.violations.values()),
        ignored=counts.violations[Violation.IGNORED],
        overrun=counts.violations[Violation.OVERRUN],
        injected=counts.violations[Violation.INJECTED],
        withheld_tokens=counts.withheld_tokens,
        withheld_millipoints=counts.withheld_millipoints,
    )


def _replicas(gateway: Gateway, now: float) -> dict[str, ReplicaSignals]:
    flights: dict[str, list[Flight]] = {name: [] for name in gateway.router.replicas}
    for flight in gateway.ledger.flights:
        if flight.replica is not None:
            flights.setdefault(flight.replica, []).append(flight)
    return {name: _replica(gateway, name, at, now) for name, at in flights.items()}


def _replica(gateway: Gateway, name: str, flights: list[Flight], now: float) -> ReplicaSignals:
    replica = gateway.router.replicas.get(name)
    holding = gateway.router.holding(name)
    scraped = gateway.engines.get(name)
    return ReplicaSignals(
        ready=replica is not None and replica.ready,
        cordoned=name in gateway.router.cordoned,
        budget_doubted=name in gateway.trust.doubted,
        phases=gateway.ledger.phases(flights),
        context_tokens=holding.context_tokens if holding else 0,
        remaining_tokens=max(0, round(gateway.ledger.work(name, now))),
        engine=None if scraped is None else _engine(*scraped, now),
    )


def _engine(load: EngineLoad, at: float, now: float) -> EngineSignals:
    return EngineSignals(
        running=load.running,
        waiting=load.waiting,
        kv_usage=load.kv_usage,
        kv_capacity_tokens=load.kv_capacity_tokens,
        steps=load.steps,
        prompt_tokens=load.prompt_tokens,
        generated_tokens=load.generated_tokens,
        age_seconds=now - at,
    )
