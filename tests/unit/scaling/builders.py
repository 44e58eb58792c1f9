"""Short ways to write intents, fleets and signals, for tables that read as a story."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from thinkscale.model.ages import BINS, bin_of
from thinkscale.model.intent import (
    Behavior,
    Budget,
    Indicator,
    Intent,
    Mode,
    Objective,
    StepPolicy,
)
from thinkscale.model.observation import (
    FleetView,
    MergedSignals,
    Observation,
    ReplicaState,
    ReplicaView,
)
from thinkscale.model.reading import Reading, Value
from thinkscale.model.signals import (
    BudgetSignals,
    Counters,
    EngineSignals,
    Histogram,
    LifeTableCounts,
    PhaseCounts,
    ReplicaSignals,
    SloCounts,
)

BEGIN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

FIRST_ANSWER = Objective(
    name="first-answer",
    indicator=Indicator.TIME_TO_FIRST_ANSWER,
    threshold_seconds=8.0,
    per_token_seconds=0.045,
    objective=0.95,
    window_seconds=3600.0,
)


def at(seconds: float) -> datetime:
    """The instant so many seconds into the story."""
    return BEGIN + timedelta(seconds=seconds)


def policy(pods: int, period_seconds: float) -> StepPolicy:
    """At most so many pods in any period."""
    return StepPolicy(pods=pods, period_seconds=period_seconds)


def percent(share: int, period_seconds: float) -> StepPolicy:
    """At most such a share in any period."""
    return StepPolicy(percent=share, period_seconds=period_seconds)


def make_intent(
    *,
    mode: Mode = Mode.AUTO,
    manual: int | None = None,
    low: int = 1,
    high: int = 8,
    idle_seconds: float | None = None,
    up: Sequence[StepPolicy] = (),
    up_window: float = 0.0,
    down: Sequence[StepPolicy] = (),
    down_window: float = 30.0,
    seats: int = 8,
    startup_seconds: float = 120.0,
    budget: Budget | None = None,
    objectives: Sequence[Objective] = (FIRST_ANSWER,),
    granted: int | None = None,
) -> Intent:
    """An intent of eight seats a replica, 1 to 8 replicas."""
    return Intent(
        service="team-a/r1",
        mode=mode,
        manual_replicas=manual,
        min_replicas=low,
        max_replicas=high,
        scale_to_zero_after_seconds=idle_seconds,
        scale_up=Behavior(stabilization_window_seconds=up_window, policies=tuple(up)),
        scale_down=Behavior(stabilization_window_seconds=down_window, policies=tuple(down)),
        seats_per_replica=seats,
        gpus_per_replica=1,
        startup_seconds=startup_seconds,
        budget=budget or Budget(max_tokens=4096, floor_tokens=4096),
        answer_max_tokens=512,
        objectives=tuple(objectives),
        granted_replicas=granted,
    )


def replica(
    name: str,
    state: ReplicaState = ReplicaState.READY,
    *,
    age: float = 600.0,
    since: float | None = None,
    warmed_in: float | None = None,
    trouble_reason: str = "",
) -> ReplicaView:
    """One replica."""
    return ReplicaView(
        name=name,
        state=state,
        age_seconds=age,
        state_seconds=since,
        warmed_in_seconds=warmed_in,
        trouble=trouble_reason,
        trouble_reason=trouble_reason,
    )


def make_fleet(
    ready: int = 0,
    warming: int = 0,
    stuck: int = 0,
    *,
    desired: int | None = None,
    rolling: bool = False,
    stuck_reason: str = "CrashLooping",
) -> FleetView:
    """A fleet of ready-0, ready-1, ..., warming-0, ..., stuck-0, ..."""
    replicas = (
        *(replica(f"ready-{i}", warmed_in=20.0) for i in range(ready)),
        *(replica(f"warming-{i}", ReplicaState.WARMING, age=5.0) for i in range(warming)),
        *(
            replica(f"stuck-{i}", ReplicaState.STUCK, trouble_reason=stuck_reason)
            for i in range(stuck)
        ),
    )
    size = ready + warming + stuck if desired is None else desired
    return FleetView(replicas=replicas, desired=size, rolling=rolling)


def work(
    thinking: int = 0,
    *,
    queued: int = 0,
    remaining: int = 0,
    cordoned: bool = False,
    running: int | None = None,
    engine_age: float = 0.5,
) -> ReplicaSignals:
    """What the gateways have at one replica, and what its engine says."""
    engine = EngineSignals(
        running=thinking if running is None else running,
        waiting=queued,
        kv_usage=0.1,
        age_seconds=engine_age,
    )
    return ReplicaSignals(
        ready=True,
        cordoned=cordoned,
        phases=PhaseCounts(queued=queued, thinking=thinking),
        remaining_tokens=remaining,
        engine=engine,
    )


def make_signals(
    thinking: int = 0,
    *,
    queued: int = 0,
    answering: int = 0,
    held: int = 0,
    age_tokens: int = 100,
    mean_tokens: int | None = 300,
    thoughts: int = 1000,
    arrivals: int = 0,
    tokens: int = 0,
    answers: int = 0,
    answer_tokens: int = 0,
    fastest: float | None = 0.03,
    slos: Mapping[str, SloCounts] | None = None,
    ttfa: Histogram | None = None,
    replicas: Mapping[str, ReplicaSignals] | None = None,
) -> MergedSignals:
    """Signals with a life table of `thoughts` thoughts at a constant hazard of 1/mean_tokens."""
    ages = [0] * BINS
    ages[bin_of(age_tokens)] = thinking
    table = LifeTableCounts()
    if mean_tokens is not None:
        table = constant_hazard(mean_tokens, thoughts)
    return MergedSignals(
        phases=PhaseCounts(queued=queued, thinking=thinking, answering=answering),
        held=held,
        oldest_held_seconds=0.0,
        thinking_ages=tuple(ages),
        output_ages=tuple(ages),
        life_table=table,
        output_life_table=table,
        slos=dict(slos or {}),
        counters=Counters(
            arrivals=arrivals,
            thinking_tokens=tokens,
            answer_tokens=answer_tokens,
            answers_begun=answers,
        ),
        ttfa_seconds=ttfa or Histogram(),
        ttft_seconds=Histogram(),
        fastest_token_seconds=fastest,
        replicas=dict(replicas or {}),
        budget=BudgetSignals(),
    )


def constant_hazard(mean_tokens: int, thoughts: int) -> LifeTableCounts:
    """Counts of thoughts that end everywhere at the same rate, 1/mean per token."""
    return LifeTableCounts(
        exposure_tokens=(thoughts * mean_tokens,) * BINS, ends=(thoughts,) * BINS
    )


def observe(
    fleet: FleetView | Reading[FleetView],
    signals: MergedSignals | Reading[MergedSignals],
    *,
    age: float = 0.5,
    complete: bool = True,
    epoch: str = "epoch-1",
    expected: int = 1,
    heard: int = 1,
) -> Observation:
    """An observation of plain values (fresh and complete), or of readings."""
    return Observation(
        fleet=Value(value=fleet, age_seconds=0.0, source="kubernetes")
        if isinstance(fleet, FleetView)
        else fleet,
        signals=Value(value=signals, age_seconds=age, source="gateways", complete=complete)
        if isinstance(signals, MergedSignals)
        else signals,
        epoch=epoch,
        gateways_expected=expected,
        gateways_heard=heard,
    )
