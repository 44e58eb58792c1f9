"""Several gateways add up to one service: exactly, in any order, in any grouping of their boots."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from thinkscale.model.ages import BINS
from thinkscale.model.signals import (
    LATENCY_EDGES_SECONDS,
    BudgetSignals,
    Counters,
    EngineSignals,
    GatewaySignals,
    Histogram,
    LifeTableCounts,
    PhaseCounts,
    ReplicaSignals,
    SloCounts,
)
from thinkscale.signals.merge import merge
from thinkscale.signals.totals import Totals, totals_of

COUNT = st.integers(0, 1000)


def bins(size: int) -> st.SearchStrategy[tuple[int, ...]]:
    sparse = st.dictionaries(st.integers(0, size - 1), COUNT, max_size=4)
    return sparse.map(lambda some: tuple(some.get(i, 0) for i in range(size)))


PHASES = st.builds(PhaseCounts, queued=COUNT, thinking=COUNT, answering=COUNT)
HISTOGRAMS = st.builds(
    Histogram, counts=bins(len(LATENCY_EDGES_SECONDS) + 1), sum_seconds=COUNT.map(float)
)
GATEWAYS = st.builds(
    GatewaySignals,
    boot_id=st.just("b"),
    sequence=st.just(1),
    gateway=st.just("g"),
    service=st.just("ns/s"),
    uptime_seconds=st.just(1.0),
    phases=PHASES,
    held=COUNT,
    oldest_held_seconds=COUNT.map(float),
    thinking_ages=bins(BINS),
    life_table=st.builds(LifeTableCounts, exposure_tokens=bins(BINS), ends=bins(BINS)),
    output_ages=bins(BINS),
    output_life_table=st.builds(LifeTableCounts, exposure_tokens=bins(BINS), ends=bins(BINS)),
    slos=st.dictionaries(
        st.sampled_from(["a", "b"]), st.builds(SloCounts, good=COUNT, bad=COUNT, overdue=COUNT)
    ),
    counters=st.builds(
        Counters,
        arrivals=COUNT,
        completed=COUNT,
        thinking_tokens=COUNT,
        arrived_prompt_tokens=COUNT,
    ),
    ttfa_seconds=HISTOGRAMS,
    ttft_seconds=HISTOGRAMS,
    fastest_token_seconds=st.none() | st.floats(0.001, 1),
    replicas=st.dictionaries(
        st.sampled_from(["p", "q"]),
        st.builds(
            ReplicaSignals,
            ready=st.booleans(),
            cordoned=st.booleans(),
            phases=PHASES,
            context_tokens=COUNT,
            remaining_tokens=COUNT,
        ),
    ),
    budget=st.builds(
        BudgetSignals,
        effective_max_tokens=st.none() | COUNT,
        tier_max_tokens=st.dictionaries(st.sampled_from(["quick", "deep"]), COUNT),
        applied=COUNT,
        cut=COUNT,
        cut_by_load=COUNT,
        violated=COUNT,
        ignored=COUNT,
        overrun=COUNT,
        injected=COUNT,
        withheld_tokens=COUNT,
        withheld_millipoints=COUNT,
    ),
    tier_arrivals=st.dictionaries(st.sampled_from(["quick", "deep"]), COUNT),
)


@given(st.lists(GATEWAYS, max_size=4), st.randoms())
def test_the_order_of_gateways_does_not_matter(gateways: list[GatewaySignals], random: Any) -> None:
    shuffled = list(gateways)
    random.shuffle(shuffled)
    assert merge(shuffled, Totals()) == merge(gateways, Totals())


@given(st.lists(GATEWAYS, min_size=1, max_size=4))
def test_every_count_is_the_sum(gateways: list[GatewaySignals]) -> None:
    merged = merge(gateways, Totals())
    assert merged.phases.depth == sum(g.phases.depth for g in gateways)
    assert merged.counters.arrivals == sum(g.counters.arrivals for g in gateways)
    assert sum(merged.thinking_ages) == sum(sum(g.thinking_ages) for g in gateways)
    assert sum(merged.life_table.ends) == sum(sum(g.life_table.ends) for g in gateways)
    assert sum(merged.output_ages) == sum(sum(g.output_ages) for g in gateways)
    for count in ("ends", "exposure_tokens"):
        outputs = sum(sum(getattr(g.output_life_table, count)) for g in gateways)
        assert sum(getattr(merged.output_life_table, count)) == outputs
    prompts = sum(g.counters.arrived_prompt_tokens for g in gateways)
    assert merged.counters.arrived_prompt_tokens == prompts
    assert sum(merged.ttfa_seconds.counts) == sum(sum(g.ttfa_seconds.counts) for g in gateways)
    points = sum(g.budget.withheld_millipoints for g in gateways)
    assert merged.budget.withheld_millipoints == points
    for tier in ("quick", "deep"):
        came = sum(g.tier_arrivals.get(tier, 0) for g in gateways)
        assert merged.tier_arrivals.get(tier, 0) == came
    overdue = sum(slo.overdue for g in gateways for slo in g.slos.values())
    assert sum(slo.overdue for slo in merged.slos.values()) == overdue
    work = sum(r.remaining_tokens for g in gateways for r in g.replicas.values())
    assert sum(r.remaining_tokens for r in merged.replicas.values()) == work
    context = sum(r.context_tokens for g in gateways for r in g.replicas.values())
    assert sum(r.context_tokens for r in merged.replicas.values()) == context


@given(st.lists(GATEWAYS, min_size=1, max_size=4))
def test_of_several_budgets_in_force_the_lowest_is_told(gateways: list[GatewaySignals]) -> None:
    merged = merge(gateways, Totals()).budget
    told = [b for g in gateways if (b := g.budget.effective_max_tokens) is not None]
    assert merged.effective_max_tokens == min(told, default=None)
    for tier in ("quick", "deep"):
        low = [g.budget.tier_max_tokens[tier] for g in gateways if tier in g.budget.tier_max_tokens]
        assert merged.tier_max_tokens.get(tier) == min(low, default=None)
    gone = merge([], totals_of(gateways[0])).budget
    assert (gone.effective_max_tokens, gone.tier_max_tokens) == (None, {})


@given(GATEWAYS, GATEWAYS)
def test_a_gateway_that_is_gone_still_counts_but_is_not_there(
    gone: GatewaySignals, here: GatewaySignals
) -> None:
    merged = merge([here], totals_of(gone))
    both = merge([here, gone], Totals())
    assert merged.counters == both.counters
    assert merged.tier_arrivals == both.tier_arrivals
    assert merged.life_table == both.life_table
    assert merged.output_life_table == both.output_life_table
    assert merged.output_ages == here.output_ages
    assert merged.ttft_seconds == both.ttft_seconds
    assert {n: (s.good, s.bad) for n, s in merged.slos.items()} == {
        n: (s.good, s.bad) for n, s in both.slos.items()
    }
    assert merged.phases == here.phases
    assert merged.replicas == merge([here], Totals()).replicas


def replica(**fields: Any) -> ReplicaSignals:
    return ReplicaSignals(**({"ready": True, "cordoned": True} | fields))


def seen(*replicas: ReplicaSignals) -> ReplicaSignals:
    gateways = [
        GatewaySignals(
            boot_id="b",
            sequence=1,
            gateway=str(i),
            service="ns/s",
            uptime_seconds=1,
            replicas={"p": one},
        )
        for i, one in enumerate(replicas)
    ]
    return merge(gateways, Totals()).replicas["p"]


def test_a_replica_is_cordoned_only_when_no_gateway_sends_to_it_any_more() -> None:
    assert seen(replica(), replica()).cordoned
    assert not seen(replica(), replica(cordoned=False)).cordoned


def test_the_freshest_word_of_an_engine_counts() -> None:
    old = EngineSignals(running=5, waiting=0, kv_usage=0.1, age_seconds=4)
    new = EngineSignals(running=0, waiting=0, kv_usage=0.0, age_seconds=1)
    assert seen(replica(engine=old), replica(), replica(engine=new)).engine == new
