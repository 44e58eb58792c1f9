"""The cumulative part of a gateway's signals, as values that add up.

A gateway counts from its own boot. To keep a service's totals monotone when a gateway restarts or
goes, its last totals are carried on; so totals must add exactly, and they do: all are counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from thinkscale.model.signals import (
    BudgetSignals,
    Counters,
    GatewaySignals,
    Histogram,
    LifeTableCounts,
    SloCounts,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All that only ever grows within one boot of a gateway."""

    counters: Counters = field(default_factory=Counters)
    life_table: LifeTableCounts = field(default_factory=LifeTableCounts)
    output_life_table: LifeTableCounts = field(default_factory=LifeTableCounts)
    ttfa_seconds: Histogram = field(default_factory=Histogram)
    ttft_seconds: Histogram = field(default_factory=Histogram)
    slos: Mapping[str, SloCounts] = field(default_factory=dict)
    """`overdue` is a state, not a total: it is 0 here."""
    budget: BudgetSignals = field(default_factory=BudgetSignals)
    """Budgets in force are a state, not a total: there are none here."""
    tier_arrivals: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            counters=_add_counters(self.counters, other.counters),
            life_table=_add_life_tables(self.life_table, other.life_table),
            output_life_table=_add_life_tables(self.output_life_table, other.output_life_table),
            ttfa_seconds=_add_histograms(self.ttfa_seconds, other.ttfa_seconds),
            ttft_seconds=_add_histograms(self.ttft_seconds, other.ttft_seconds),
            slos=_add_slos(self.slos, other.slos),
            budget=_add_budgets(self.budget, other.budget),
            tier_arrivals=_add_by_name(self.tier_arrivals, other.tier_arrivals),
        )


def totals_of(signals: GatewaySignals) -> Totals:
    """The cumulative part of one gateway's answer."""
    return Totals(
        counters=signals.counters,
        life_table=signals.life_table,
        output_life_table=signals.output_life_table,
        ttfa_seconds=signals.ttfa_seconds,
        ttft_seconds=signals.ttft_seconds,
        slos={name: SloCounts(good=slo.good, bad=slo.bad) for name, slo in signals.slos.items()},
        budget=signals.budget.model_copy(
            update={"effective_max_tokens": None, "tier_max_tokens": {}}
        ),
        tier_arrivals=signals.tier_arrivals,
    )


def add_bins(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Bin by bin."""
    return tuple(a + b for a, b in zip_longest(one, other, fillvalue=0))


def _add_counters(one: Counters, other: Counters) -> Counters:
    return Counters(
        **{name: getattr(one, name) + getattr(other, name) for name in Counters.model_fields}
    )


def _add_life_tables(one: LifeTableCounts, other: LifeTableCounts) -> LifeTableCounts:
    return LifeTableCounts(
        exposure_tokens=add_bins(one.exposure_tokens, other.exposure_tokens),
        ends=add_bins(one.ends, other.ends),
    )


def _add_histograms(one: Histogram, other: Histogram) -> Histogram:
    return Histogram(
        counts=add_bins(one.counts, other.counts),
        sum_seconds=one.sum_seconds + other.sum_seconds,
    )


def _add_slos(one: Mapping[str, SloCounts], other: Mapping[str, SloCounts]) -> dict[str, SloCounts]:
    none = SloCounts()
    return {
        name: SloCounts(
            good=one.get(name, none).good + other.get(name, none).good,
            bad=one.get(name, none).bad + other.get(name, none).bad,
        )
        for name in {**one, **other}
    }


def _add_budgets(one: BudgetSignals, other: BudgetSignals) -> BudgetSignals:
    return BudgetSignals(
        applied=one.applied + other.applied,
        cut=one.cut + other.cut,
        cut_by_load=one.cut_by_load + other.cut_by_load,
        violated=one.violated + other.violated,
        ignored=one.ignored + other.ignored,
        overrun=one.overrun + other.overrun,
        injected=one.injected + other.injected,
        withheld_tokens=one.withheld_tokens + other.withheld_tokens,
        withheld_millipoints=one.withheld_millipoints + other.withheld_millipoints,
    )


def _add_by_name(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
