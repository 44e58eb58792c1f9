"""Observations of a fleet that a test describes in a few numbers, and a scenario to meet it."""

from datetime import UTC, datetime, timedelta

from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS, bin_of
from thinkscale.model.observation import (
    FleetView,
    MergedSignals,
    Observation,
    ReplicaState,
    ReplicaView,
)
from thinkscale.model.reading import Failed, Reading, Value
from thinkscale.model.signals import (
    LATENCY_EDGES_SECONDS,
    BudgetSignals,
    Counters,
    EngineSignals,
    Histogram,
    LifeTableCounts,
    PhaseCounts,
    ReplicaSignals,
)
from thinkscale.simulation.rivals.scrape import Fleet, Pod, Scrape
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.scenarios import make

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
KV_TOKENS = 290_000
FAILED = Failed(error="connection refused", age_seconds=15.0, source="prometheus")


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def drift() -> Scenario:
    """Initially four replicas of the reference profile, at most 48."""
    return make("drift", 1)


def fleet_view(ready: int, warming: int = 0) -> FleetView:
    states = [ReplicaState.READY] * ready + [ReplicaState.WARMING] * warming
    return FleetView(
        replicas=tuple(
            ReplicaView(name=f"replica-{number}", state=state, age_seconds=600.0)
            for number, state in enumerate(states)
        ),
        desired=ready + warming,
        rolling=False,
    )


def signals(
    *,
    ready: int,
    running: int = 0,
    held: int = 0,
    kv_usage: float = 0.0,
    arrivals: int = 0,
    completed: int = 0,
    prompt: int = 1000,
    output: int = 1900,
    ttft_seconds: float = 0.2,
    steps: int = 0,
) -> MergedSignals:
    """`running` and `steps` are each replica's; counters are cumulative."""
    ends = [0] * BINS
    ends[bin_of(output)] = completed
    ttft = [0] * (len(LATENCY_EDGES_SECONDS) + 1)
    ttft[next(i for i, edge in enumerate(LATENCY_EDGES_SECONDS) if ttft_seconds <= edge)] = arrivals
    return MergedSignals(
        phases=PhaseCounts(queued=held, thinking=running * ready),
        held=held,
        oldest_held_seconds=0.0,
        thinking_ages=(0,) * BINS,
        life_table=LifeTableCounts(),
        slos={},
        counters=Counters(arrivals=arrivals, completed=completed, prompt_tokens=prompt * completed),
        ttfa_seconds=Histogram(),
        ttft_seconds=Histogram(counts=tuple(ttft)),
        fastest_token_seconds=None,
        replicas={
            f"replica-{number}": ReplicaSignals(
                ready=True,
                cordoned=False,
                engine=EngineSignals(
                    running=running,
                    waiting=0,
                    kv_usage=kv_usage,
                    kv_capacity_tokens=KV_TOKENS,
                    steps=steps,
                    age_seconds=0.0,
                ),
            )
            for number in range(ready)
        },
        budget=BudgetSignals(),
        output_life_table=LifeTableCounts(ends=tuple(ends)),
    )


def observation(
    fleet: Reading[FleetView] | FleetView, metrics: Reading[MergedSignals] | MergedSignals
) -> Observation:
    if isinstance(fleet, FleetView):
        fleet = Value(value=fleet, age_seconds=0.0, source="kubernetes")
    if isinstance(metrics, MergedSignals):
        metrics = Value(value=metrics, age_seconds=0.0, source="gateways")
    return Observation(
        fleet=fleet, signals=metrics, epoch="first", gateways_expected=1, gateways_heard=1
    )


def scrape(
    at_seconds: float,
    *,
    pods: int = 4,
    running: int = 0,
    held: int = 0,
    kv_usage: float = 0.0,
    steps: int = 0,
    arrivals: int = 0,
    completed: int = 0,
    prompt: int = 1000,
    output: int = 1900,
    ttft_seconds: float = 0.2,
    epoch: str = "first",
) -> Scrape:
    """What a law sees, without going through an observation."""
    ends = [0] * BINS
    ends[bin_of(output)] = completed
    ttft = [0] * (len(LATENCY_EDGES_SECONDS) + 1)
    ttft[next(i for i, edge in enumerate(LATENCY_EDGES_SECONDS) if ttft_seconds <= edge)] = arrivals
    return Scrape(
        at_seconds=at_seconds,
        epoch=epoch,
        in_flight=running * pods + held,
        waiting=held,
        arrivals=arrivals,
        ended=completed,
        prompt_tokens=prompt * completed,
        output_ends=tuple(ends),
        ttft_counts=tuple(ttft),
        pods=tuple(
            Pod(
                name=f"replica-{number}",
                running=running,
                waiting=held / pods,
                kv_usage=kv_usage,
                kv_tokens=KV_TOKENS,
                steps=steps,
            )
            for number in range(pods)
        ),
    )


def fleet(ready: int, warming: int = 0) -> Fleet:
    return Fleet(current=ready + warming, ready=ready)


def middle_of_bin(tokens: int) -> float:
    """The length that a completed request of so many tokens counts as."""
    index = bin_of(tokens)
    return (AGE_EDGES_TOKENS[index] + AGE_EDGES_TOKENS[index + 1]) / 2
