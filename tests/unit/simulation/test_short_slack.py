"""llmd-ramp: a first token within 3 s, 100 s of boot, the load in stages that nobody announces.

With so little slack half a replica too few is late requests by chance alone, at every stage.
"""

from statistics import fmean

from thinkscale.simulation.ours import thinkscale
from thinkscale.simulation.run import run
from thinkscale.simulation.scenarios import make

SEEDS = range(1, 7)
MOST_REPLICAS = 5.9


def test_a_short_slack_is_kept_through_stages_with_less_than_its_rivals_replicas():
    scenarios = [make("llmd-ramp", seed) for seed in SEEDS]
    outcomes = [run(scenario, thinkscale, policy="thinkscale") for scenario in scenarios]
    assert fmean(outcome.attainment for outcome in outcomes) >= 0.985
    scored = [s.duration_seconds - s.warm_up_seconds for s in scenarios]
    replicas = [o.replica_seconds / span for o, span in zip(outcomes, scored, strict=True)]
    assert fmean(replicas) <= MOST_REPLICAS
