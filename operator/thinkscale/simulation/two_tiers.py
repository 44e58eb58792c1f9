"""Two use cases on one service, so that it matters whose thoughts load cuts; and what that cost.

Half of the arrivals each, at random, with the lengths that they had anyway. `flat` is nearly as
good without its late thoughts: a cut one loses 2 to 4 percent points. `steep` needs them: a cut
thought loses four of five right answers. Both curves are such as the lengths of the synthetic loads
allow: a cap that one in a hundred reaches lowers the mean by a point at most.

The expected score that a run has given up is reckoned from the lengths that the requests truly had,
which neither the law nor a gateway knows.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thinkscale.model.intent import Intent, QualityPoint, Tier
from thinkscale.scaling.tier_budgets import score_percent
from thinkscale.simulation import generate
from thinkscale.simulation.loads import MOST_THINKING_TOKENS
from thinkscale.simulation.outcome import Requests
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.workload import Workload

SCORES: Final[Mapping[str, Mapping[int, float]]] = {
    "flat": {1024: 88.0, 2048: 89.5, 4096: 89.9, 8192: 90.0, MOST_THINKING_TOKENS: 90.0},
    "steep": {1024: 52.0, 2048: 73.0, 4096: 85.0, 8192: 89.0, MOST_THINKING_TOKENS: 90.0},
}
MOST_POINTS: Final = 100.0
Rows = npt.NDArray[np.int64]
Ages = npt.NDArray[np.int64] | npt.NDArray[np.float64]
Numbers = npt.NDArray[np.float64]


def split(workload: Workload, seed: int) -> Workload:
    """The same requests, each of one of the two tiers."""
    rng = generate.stream(seed, "two-tiers")
    return workload.of_tiers(tuple(SCORES), rng.integers(0, len(SCORES), len(workload)))


def told(intent: Intent) -> Intent:
    """With what the two tiers score."""
    tiers = (
        Tier(
            name=name,
            max_tokens=intent.budget.max_tokens or MOST_THINKING_TOKENS,
            quality=tuple(
                QualityPoint(max_tokens=tokens, score_percent=score)
                for tokens, score in scores.items()
            ),
        )
        for name, scores in SCORES.items()
    )
    return replace(intent, tiers=tuple(tiers))


def points_given_up(scenario: Scenario, requests: Requests) -> dict[str, float]:
    """Expected score that the scored requests have lost by cuts, percent points by tier."""
    load = scenario.workload
    if load.tier is None:
        return {}
    begin = int(np.searchsorted(load.at_seconds, scenario.warm_up_seconds))
    cut = np.flatnonzero(requests.cut)
    age = load.thinking_tokens[begin + cut] - requests.withheld_tokens[cut]
    lost = lost_points(scenario, begin + cut, age)
    return {
        name: float(lost[load.tier[begin + cut] == number].sum())
        for number, name in enumerate(load.tiers)
    }


def lost_points(scenario: Scenario, rows: Rows, age_tokens: Ages) -> Numbers:
    """Expected score that these requests of the load lose if they are closed at these ages.

    A tier scores 90 uncut and 80 if all its thoughts are closed at 2,048; one in four gets that
    far: each that is closed there has lost 10 / 0.25 = 40 points.
    """
    load, lost = scenario.workload, np.zeros(len(rows))
    assert load.tier is not None
    for tier in told(scenario.intent).tiers:
        number = load.tiers.index(tier.name)
        lengths = np.sort(load.thinking_tokens[load.tier == number])
        mine = load.tier[rows] == number
        ages = age_tokens[mine]
        longer = 1 - np.searchsorted(lengths, ages, side="right") / max(1, len(lengths))
        best = score_percent(tier, tier.max_tokens)
        falls = np.array([best - score_percent(tier, int(each)) for each in ages])
        lost[mine] = np.minimum(MOST_POINTS, falls / np.maximum(longer, 1 / max(1, len(lengths))))
    return lost
