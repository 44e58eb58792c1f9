"""What a schedule could do in the seat-bound step that knows the step as it comes.

    python -m benchmarks.informed_schedule [--seeds 1,2,3] [--cuts]

It orders one tick after the step has begun, knows how large it is and when it ends, and holds the
same number before and after it, since the load is the same there. The gateways obey the law's own
directive (ceiling, queue, and with `--cuts` the brown-out). No policy that sees the step only when
it comes knows more; so this is what the targets of docs/results.md can be held against.
"""

import argparse
import sys
from dataclasses import replace
from datetime import datetime
from functools import partial
from statistics import mean
from typing import Final

from thinkscale.model.observation import Observation
from thinkscale.simulation import oracle, ours, scenarios
from thinkscale.simulation.policy import Order
from thinkscale.simulation.run import EPOCH, run
from thinkscale.simulation.scenario import Scenario

SCENARIO: Final = "step-seats"
ORDERED_AT, SERVED_AT, ENDS_AT = 5415.0, 6000.0, 9135.0
"""A tick after the step; its queue is gone; it has ended, and what it left is served."""
SIZES: Final = ((3, 18, 15), (3, 21, 15), (4, 15, 15), (4, 18, 15), (4, 21, 15), (4, 26, 15),
                (5, 15, 15), (5, 18, 15))  # fmt: skip
"""Standing, while the queue drains, in the hour."""


class Informed(ours.Thinkscale):
    """The law's directive, and sizes by the clock."""

    sizes: tuple[int, int, int]

    def tick(self, observation: Observation, now: datetime) -> Order:
        """What the law tells the gateways; how many replicas, the clock."""
        order = super().tick(observation, now)
        assert order.directive is not None
        standing, surge, hour = self.sizes
        second = (now - EPOCH).total_seconds()
        size = standing
        if ORDERED_AT <= second < ENDS_AT:
            size = surge if second < SERVED_AT else hour
        told = order.directive.model_copy(update={"cordoned": ()})
        return replace(order, replicas=size, retire=(), wanted=None, directive=told)


def informed(sizes: tuple[int, int, int], scenario: Scenario) -> Informed:
    """The policy with these sizes."""
    policy = Informed(scenario)
    policy.sizes = sizes
    return policy


def main() -> int:
    """Run all sizes and print their table."""
    parser = argparse.ArgumentParser(prog="benchmarks.informed_schedule", description=__doc__)
    parser.add_argument("--seeds", default=[1, 2, 3], type=lambda t: [int(s) for s in t.split(",")])
    parser.add_argument("--cuts", action="store_true")
    asked = parser.parse_args()
    made = {seed: scenarios.make(SCENARIO, seed, brownout=asked.cuts) for seed in asked.seeds}
    least = {
        seed: oracle.oracle(scenarios.make(SCENARIO, seed, brownout=False)).gpu_hours
        for seed in asked.seeds
    }
    print("| standing, surge, hour | attainment | GPU-hours by the oracle's | cut |")
    print("|---|---|---|---|")
    for sizes in SIZES:
        runs = {
            seed: run(scenario, partial(informed, sizes), policy="informed")
            for seed, scenario in made.items()
        }
        print(
            f"| {', '.join(map(str, sizes))} | {mean(r.attainment for r in runs.values()):.2%} "
            f"| {mean(r.gpu_hours / least[seed] for seed, r in runs.items()):.3f} "
            f"| {mean(float(r.requests.cut.mean()) for r in runs.values()):.2%} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
