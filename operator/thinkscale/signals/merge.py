"""Several gateways' signals as those of one service. Pure, exact, and independent of their order.

Counts, ages and histograms add. What is not a count takes the value that is true of the whole: the
oldest held request, the fastest token, the lowest budget in force, the freshest word of an engine.
"""

from collections.abc import Iterable, Sequence

from thinkscale.model.ages import BINS
from thinkscale.model.observation import MergedSignals
from thinkscale.model.signals import (
    BudgetSignals,
    EngineSignals,
    GatewaySignals,
    PhaseCounts,
    ReplicaSignals,
    SloCounts,
)
from thinkscale.signals.totals import Totals, add_bins, totals_of


def merge(present: Sequence[GatewaySignals], carried: Totals) -> MergedSignals:
    """The sum of the gateways that were heard, plus the totals of those that are gone."""
    totals = carried
    for gateway in present:
        totals += totals_of(gateway)
    ages: tuple[int, ...] = (0,) * BINS
    output_ages: tuple[int, ...] = (0,) * BINS
    for gateway in present:
        ages = add_bins(ages, gateway.thinking_ages)
        output_ages = add_bins(output_ages, gateway.output_ages)
    fastest = [g.fastest_token_seconds for g in present if g.fastest_token_seconds is not None]
    return MergedSignals(
        phases=add_phases(gateway.phases for gateway in present),
        held=sum(gateway.held for gateway in present),
        oldest_held_seconds=max((g.oldest_held_seconds for g in present), default=0.0),
        thinking_ages=ages,
        life_table=totals.life_table,
        output_ages=output_ages,
        output_life_table=totals.output_life_table,
        slos=_slos(present, totals),
        counters=totals.counters,
        ttfa_seconds=totals.ttfa_seconds,
        ttft_seconds=totals.ttft_seconds,
        fastest_token_seconds=min(fastest, default=None),
        replicas=_replicas(present),
        budget=_budget(present, totals),
        tier_arrivals=totals.tier_arrivals,
    )


def add_phases(phases: Iterable[PhaseCounts]) -> PhaseCounts:
    """Phase by phase."""
    every = list(phases)
    return PhaseCounts(
        queued=sum(p.queued for p in every),
        thinking=sum(p.thinking for p in every),
        answering=sum(p.answering for p in every),
    )


def _budget(present: Sequence[GatewaySignals], totals: Totals) -> BudgetSignals:
    """The counts, and the lowest budgets in force."""
    told = [gateway.budget for gateway in present]
    common = [b.effective_max_tokens for b in told if b.effective_max_tokens is not None]
    names = sorted({name for budget in told for name in budget.tier_max_tokens})
    tiers = {
        name: min(b.tier_max_tokens[name] for b in told if name in b.tier_max_tokens)
        for name in names
    }
    return totals.budget.model_copy(
        update={"effective_max_tokens": min(common, default=None), "tier_max_tokens": tiers}
    )


def _slos(present: Sequence[GatewaySignals], totals: Totals) -> dict[str, SloCounts]:
    none = SloCounts()
    return {
        name: SloCounts(
            good=counts.good,
            bad=counts.bad,
            overdue=sum(gateway.slos.get(name, none).overdue for gateway in present),
        )
        for name, counts in totals.slos.items()
    }


def _replicas(present: Sequence[GatewaySignals]) -> dict[str, ReplicaSignals]:
    views: dict[str, list[ReplicaSignals]] = {}
    for gateway in present:
        for name, replica in gateway.replicas.items():
            views.setdefault(name, []).append(replica)
    return {name: _replica(seen) for name, seen in sorted(views.items())}


def _replica(views: Sequence[ReplicaSignals]) -> ReplicaSignals:
    """One replica through several gateways: work adds. It is ready if any gateway sends to it, and
    cordoned only if none does.
    """
    return ReplicaSignals(
        ready=any(view.ready for view in views),
        cordoned=all(view.cordoned for view in views),
        budget_doubted=any(view.budget_doubted for view in views),
        phases=add_phases(view.phases for view in views),
        context_tokens=sum(view.context_tokens for view in views),
        remaining_tokens=sum(view.remaining_tokens for view in views),
        engine=_freshest(view.engine for view in views),
    )


def _freshest(engines: Iterable[EngineSignals | None]) -> EngineSignals | None:
    known = [engine for engine in engines if engine is not None]
    return min(known, key=lambda engine: engine.age_seconds, default=None)
