"""Tiers in a simulated fleet: whose thoughts are closed, what is counted, what it truly cost."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.unit.simulation.engine.small_fleets import EIGHTH, FLOOR_TOKENS, arrivals, scenario
from thinkscale.model.admission import Ceiling
from thinkscale.model.brownout import BrownoutRule, Carried
from thinkscale.model.directive import Directive
from thinkscale.model.intent import Budget
from thinkscale.model.tier_budgets import TierBudgets
from thinkscale.simulation import two_tiers
from thinkscale.simulation.ours import thinkscale
from thinkscale.simulation.run import Simulation
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.schedule import scheduled

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = arrivals(41, 220, 0.8, thinking=1500)


def of_two_tiers(made: Scenario) -> Scenario:
    workload = two_tiers.split(made.workload, made.seed)
    return replace(made, workload=workload, intent=two_tiers.told(made.intent))


def test_only_the_tier_that_loses_little_is_cut_and_its_loss_is_counted() -> None:
    what = of_two_tiers(scenario(ROWS, duration_seconds=300.0, replicas=2))
    flat, steep = (
        TierBudgets(
            name=name, budget_tokens=(tokens,), lost_points=(lost,), points_per_second=(lost,)
        )
        for name, tokens, lost in (("flat", FLOOR_TOKENS, 2.5), ("steep", 16_384, 80.0))
    )
    rule = BrownoutRule(
        floor_tokens=FLOOR_TOKENS,
        carried=(Carried(budget_tokens=FLOOR_TOKENS, replica_seconds=8.0),),
        cuts_allowed=10_000,
        tiers=(flat, steep),
        until=BEGIN + timedelta(days=1),
    )
    directive = Directive(id="d1", ceiling=Ceiling(seats=EIGHTH.seats), brownout=rule)
    simulation = Simulation(what, scheduled((0.0,), (2,), directive))
    simulation.advance(math.inf)
    cut = simulation.outcome("two").requests.cut
    tier = what.workload.tier
    assert tier is not None
    assert cut[tier == 0].sum() > 10
    assert cut[tier == 1].sum() == 0
    books = simulation.books[0]
    assert books.withheld_millipoints == 2500 * books.cut_by_load
    assert books.tier_arrivals == {"flat": (tier == 0).sum(), "steep": (tier == 1).sum()}


def run(what: Scenario) -> tuple[dict[str, float], float]:
    simulation = Simulation(what, thinkscale)
    simulation.advance(math.inf)
    outcome = simulation.outcome("thinkscale")
    return two_tiers.points_given_up(what, outcome.requests), outcome.attainment


def test_at_a_limit_the_law_gives_up_half_the_score_at_most_when_it_knows_the_tiers() -> None:
    """A small fleet, to which arrivals come in waves; benchmarks/quality_debt.py has more seeds."""
    rows = arrivals(7, 3700, 1.85, thinking=1500)
    what = scenario(rows, duration_seconds=2000.0, replicas=10)
    intent = replace(
        what.intent,
        min_replicas=10,
        max_replicas=10,
        budget=Budget(max_tokens=None, floor_tokens=1024),
        truncation_allowance=0.3,
    )
    informed = of_two_tiers(replace(what, intent=intent, warm_up_seconds=600.0))
    blind = replace(informed, intent=replace(informed.intent, tiers=()))
    points, attainment = run(informed)
    other_points, other_attainment = run(blind)
    assert other_points["steep"] > 10 * other_points["flat"] > 0
    assert sum(points.values()) <= 0.5 * sum(other_points.values())
    assert attainment >= other_attainment - 0.014, "two standard errors of 2,600 requests"


def test_what_is_given_up_is_reckoned_from_the_true_lengths() -> None:
    rows = [(float(i), 10, 100 * (i + 1), 5) for i in range(100)]
    made = scenario(rows, duration_seconds=100.0, replicas=1)
    workload = made.workload.of_tiers(("flat", "steep"), np.ones(100, dtype=np.int64))
    made = replace(made, workload=workload)
    outcome = Simulation(made, scheduled((0.0,), (1,)))
    outcome.advance(math.inf)
    requests = outcome.outcome("one").requests
    assert two_tiers.points_given_up(made, requests) == {"flat": 0.0, "steep": 0.0}
    cut = np.zeros(100, dtype=np.bool_)
    withheld = np.zeros(100, dtype=np.int64)
    cut[[80, 99]] = True
    withheld[[80, 99]] = 0, 10_000 - 8192
    given = two_tiers.points_given_up(made, replace(requests, cut=cut, withheld_tokens=withheld))
    # 19 of 100 think longer than 8,100 and 8,192 alike; the mean falls by a point at 8,192.
    assert given["flat"] == 0.0
    assert given["steep"] == pytest.approx(1 / 0.19 + (1 + 4 * math.log2(8192 / 8100)) / 0.19)
    plain = replace(made, workload=replace(workload, tiers=(), tier=None))
    assert two_tiers.points_given_up(plain, requests) == {}
