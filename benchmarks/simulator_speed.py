"""How fast the simulator is, and how much faster than a literal loop over engine steps.

`python benchmarks/simulator_speed.py [MINUTES]` serves the same arrivals on one reference replica
twice, step by step with `fleet.Replica` and in stretches of steps, checks that both end at the same
times, and prints the ratio of their CPU times. Then it runs the law on MINUTES (60) of the smooth
day, ten minutes of them warm-up, and prints events and requests per second of CPU time. Exit code 1
if the two replicas disagree, or the stretches are not ten times faster.
"""

import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from thinkscale.fleet.profile import REFERENCE
from thinkscale.fleet.replica import Replica
from thinkscale.simulation.flight import Flight
from thinkscale.simulation.ours import thinkscale
from thinkscale.simulation.run import Simulation
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.scenarios import make
from thinkscale.simulation.virtual_replica import VirtualReplica

REQUESTS = 2000
PER_SECOND = 0.9
LEAST_RATIO = 10.0
SAME_SECONDS = 1e-6
WARM_UP_SECONDS = 600.0

Row = tuple[float, int, int, int]
"""Arrival, prompt, thinking, answer."""
T = TypeVar("T")


def arrivals() -> list[Row]:
    """A replica's worth of requests, thoughts of 1,500 tokens on average."""
    generator, at, rows = random.Random(1), 0.0, []
    for _ in range(REQUESTS):
        at += generator.expovariate(PER_SECOND)
        prompt = min(8000, max(1, int(generator.lognormvariate(6.3, 1.1))))
        thinking = min(16_000, int(generator.lognormvariate(math.log(1500) - 0.45, 0.94)))
        rows.append((at, prompt, thinking, max(1, int(generator.expovariate(1 / 400)))))
    return rows


def step_by_step(rows: list[Row]) -> tuple[dict[int, float], int]:
    """Ends by request, and the steps that were carried out."""
    replica, ends, now, coming, steps = Replica(REFERENCE), dict[int, float](), 0.0, 0, 0
    while len(ends) < len(rows):
        while coming < len(rows) and rows[coming][0] <= now:
            _, prompt, thinking, answer = rows[coming]
            replica.submit(coming, prompt, thinking + answer)
            coming += 1
        step = replica.next_step(now)
        if step is None:
            now = rows[coming][0]
            continue
        now = step.ends_at
        ends.update(dict.fromkeys(replica.advance().finished, now))
        steps += 1
    return ends, steps


def by_stretches(rows: list[Row]) -> tuple[dict[int, float], int]:
    """Ends by request, and the stretches and arrivals that were carried out."""
    replica, ends, coming, events = VirtualReplica(REFERENCE), dict[int, float](), 0, 0
    while len(ends) < len(rows):
        arrival = rows[coming][0] if coming < len(rows) else math.inf
        if arrival <= replica.ends_at:
            if replica.submit(Flight(coming, *rows[coming]), arrival):
                replica.begin(arrival)
            coming += 1
        else:
            now = replica.ends_at
            ends.update((flight.index, now) for flight in replica.end())
            replica.begin(now)
        events += 1
    return ends, events


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Its result, and its CPU seconds."""
    begun = time.process_time()
    result = work()
    return result, time.process_time() - begun


def morning(minutes: float) -> Scenario:
    """The first minutes of the smooth day."""
    day, end = make("smooth", 1), 60 * minutes
    load = day.workload
    return replace(
        day,
        workload=load.rows(load.at_seconds < end),
        duration_seconds=end,
        warm_up_seconds=WARM_UP_SECONDS,
    )


def replicas_agree() -> bool:
    """Print the comparison of the two replicas; False: they disagree, or it is not worth it."""
    rows = arrivals()
    (virtual, events), quick = timed(lambda: by_stretches(rows))
    (literal, steps), slow = timed(lambda: step_by_step(rows))
    apart = max(abs(virtual[at] - literal[at]) for at in literal)
    print(f"one replica, {REQUESTS} requests")
    print(f"  step by step  {slow:8.3f} s  {steps} steps, {1e6 * slow / steps:.1f} us each")
    print(f"  in stretches  {quick:8.3f} s  {events} events, {1e6 * quick / events:.1f} us each")
    print(f"  {slow / quick:.0f} times faster; ends at most {apart:.1e} s apart")
    return apart <= SAME_SECONDS and slow >= LEAST_RATIO * quick


def main(minutes: float) -> int:
    """All figures."""
    agree = replicas_agree()
    scenario = morning(minutes)
    simulation = Simulation(scenario, thinkscale)
    _, seconds = timed(lambda: simulation.advance(math.inf))
    outcome, count = simulation.outcome("thinkscale"), len(scenario.workload)
    ticks = len(outcome.timeline.at_seconds)
    print(f"the law on {minutes:g} min of the smooth day, {count} requests, {ticks} ticks")
    print(f"  {seconds:.2f} s: {simulation.events / seconds:,.0f} events a second,")
    print(
        f"  {count / seconds:,.0f} requests a second, {60 * minutes / seconds:,.0f} times as fast"
    )
    print(
        f"  as it happens; attainment {outcome.attainment:.4f}, {outcome.gpu_hours:.1f} GPU-hours"
    )
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
