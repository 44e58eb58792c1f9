"""What one full decision costs: a busy fleet of ten replicas, all that the law learns and orders.

`python benchmarks/decide_cost.py [TICKS]` prints the CPU milliseconds of a decision, of writing the
state and of reading it, and their share of a core for 1,000 services that tick every 15 s. Exit
code 1 if a decision takes 2 ms or more.
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta

from thinkscale.fleet.profile import REFERENCE
from thinkscale.model.ages import BINS
from thinkscale.model.intent import Behavior, Budget, Indicator, Intent, Mode, Objective
from thinkscale.model.observation import (
    FleetView,
    MergedSignals,
    Observation,
    ReplicaState,
    ReplicaView,
)
from thinkscale.model.reading import Value
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
from thinkscale.scaling import State, decide

REPLICAS = 10
SEATS = 80
TICK_SECONDS = 15
BEGIN = datetime(2026, 3, 2, 9, tzinfo=UTC)
LIMIT_MILLISECONDS = 2.0


def intent() -> Intent:
    """Three objectives, a brown-out, a catalogue's prior."""
    objectives = (
        ("wait", Indicator.TIME_TO_FIRST_TOKEN, 10.0, 0.0),
        ("pace", Indicator.TIME_PER_OUTPUT_TOKEN, 0.045, 0.0),
        ("whole", Indicator.END_TO_END, 15.0, 0.045),
    )
    return Intent(
        service="team-a/r1",
        mode=Mode.AUTO,
        manual_replicas=None,
        min_replicas=1,
        max_replicas=48,
        scale_to_zero_after_seconds=None,
        scale_up=Behavior(stabilization_window_seconds=0.0),
        scale_down=Behavior(stabilization_window_seconds=120.0),
        seats_per_replica=128,
        gpus_per_replica=2,
        startup_seconds=1800.0,
        budget=Budget(floor_tokens=1024),
        answer_max_tokens=None,
        objectives=tuple(
            Objective(
                name=name,
                indicator=indicator,
                threshold_seconds=threshold,
                per_token_seconds=per_token,
                objective=0.99,
                window_seconds=3600.0,
            )
            for name, indicator, threshold, per_token in objectives
        ),
        step_time=REFERENCE.step_time,
        kv_tokens=REFERENCE.kv_tokens,
    )


def replica(tick: int) -> ReplicaSignals:
    """One busy replica."""
    steps = 360 * tick
    engine = EngineSignals(
        running=SEATS,
        waiting=0,
        kv_usage=0.8,
        kv_capacity_tokens=REFERENCE.kv_tokens,
        steps=steps,
        prompt_tokens=20 * steps,
        generated_tokens=SEATS * steps,
        age_seconds=0.5,
    )
    return ReplicaSignals(
        ready=True,
        cordoned=False,
        phases=PhaseCounts(thinking=SEATS - 10, answering=10),
        context_tokens=230_000 + 997 * tick % 5000,
        remaining_tokens=120_000,
        engine=engine,
    )


def signals(tick: int) -> MergedSignals:
    """A service with requests of every age."""
    ages = tuple(REPLICAS * SEATS // BINS + (j < REPLICAS * SEATS % BINS) for j in range(BINS))
    table = LifeTableCounts(
        exposure_tokens=tuple(200_000 + 5000 * tick for _ in range(BINS)),
        ends=tuple(100 + 3 * tick for _ in range(BINS)),
    )
    arrivals = 120 * tick + (tick * 37) % 20
    return MergedSignals(
        phases=PhaseCounts(queued=3, thinking=REPLICAS * (SEATS - 10), answering=REPLICAS * 10),
        held=3,
        oldest_held_seconds=0.5,
        thinking_ages=ages,
        life_table=table,
        slos={name: SloCounts(good=arrivals, bad=tick) for name in ("wait", "pace", "whole")},
        counters=Counters(
            arrivals=arrivals,
            completed=arrivals,
            arrived_prompt_tokens=1000 * arrivals,
            thinking_tokens=1500 * arrivals,
            answer_tokens=400 * arrivals,
            answers_begun=arrivals,
        ),
        ttfa_seconds=Histogram(),
        ttft_seconds=Histogram(),
        fastest_token_seconds=0.03,
        replicas={f"replica-{i}": replica(tick) for i in range(REPLICAS)},
        budget=BudgetSignals(cut_by_load=tick),
        output_ages=ages,
        output_life_table=table,
    )


def observation(tick: int) -> Observation:
    """What a tick sees."""
    fleet = FleetView(
        replicas=tuple(
            ReplicaView(
                name=f"replica-{i}",
                state=ReplicaState.READY,
                age_seconds=3600.0,
                warmed_in_seconds=240.0,
            )
            for i in range(REPLICAS)
        ),
        desired=REPLICAS,
        rolling=False,
    )
    return Observation(
        fleet=Value(value=fleet, age_seconds=0.0, source="kubernetes"),
        signals=Value(value=signals(tick), age_seconds=0.5, source="gateways"),
        epoch="1",
        gateways_expected=2,
        gateways_heard=2,
    )


def main(ticks: int) -> int:
    """Measure; returns the exit code."""
    declared, state = intent(), State.initial()
    seen = [observation(tick) for tick in range(ticks)]
    spent = {"decide": 0.0, "write the state": 0.0, "read the state": 0.0}
    written = ""
    for tick, what in enumerate(seen):
        begin = time.process_time()
        _, state = decide(declared, what, state, BEGIN + timedelta(seconds=TICK_SECONDS * tick))
        decided = time.process_time()
        written = json.dumps(state.to_json())
        dumped = time.process_time()
        state = State.from_json(json.loads(written))
        spent["decide"] += decided - begin
        spent["write the state"] += dumped - decided
        spent["read the state"] += time.process_time() - dumped
    for name, seconds in spent.items():
        milliseconds = 1000 * seconds / ticks
        share = milliseconds / TICK_SECONDS
        print(f"{name:<16} {milliseconds:6.2f} ms   1,000 services: {100 * share:5.1f} % of a core")
    print(f"{'state':<16} {len(written) / 1000:6.1f} kB")
    return 1 if 1000 * spent["decide"] / ticks >= LIMIT_MILLISECONDS else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
