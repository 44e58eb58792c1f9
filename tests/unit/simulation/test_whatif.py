"""More thinking: who gets it, and what the closed forms make of it."""

from dataclasses import replace

import numpy as np
import pytest

from thinkscale.model.intent import Budget, Indicator, Objective
from thinkscale.simulation import fluid, scenarios, whatif
from thinkscale.simulation.design_point import design_point, pace_limit_seconds
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.whatif import Change
from thinkscale.simulation.workload import Workload


def steady(
    rate: float, *, hours: float = 2.0, thinking: int | None = None, seed: int = 1
) -> Scenario:
    """Poisson arrivals of lengths like R1's, or of equal thoughts."""
    generator = np.random.default_rng(seed)
    count = int(rate * hours * 3600)
    thoughts = (
        generator.lognormal(6.5, 1.0, count) if thinking is None else np.full(count, thinking)
    )
    load = Workload(
        name="steady",
        at_seconds=np.sort(generator.uniform(0, hours * 3600, count)),
        prompt_tokens=np.full(count, 500),
        thinking_tokens=thoughts.astype(np.int64),
        answer_tokens=np.full(count, 300),
    )
    return scenarios.replay(load, seed, brownout=False)


def limited(scenario: Scenario, replicas: int) -> Scenario:
    return replace(scenario, intent=replace(scenario.intent, max_replicas=replicas))


def test_the_hardest_are_those_that_think_longest():
    before = steady(1.0, hours=0.5)
    after = whatif.changed(before, Change(add_thinking_tokens=500, share=0.2))
    more = after.workload.thinking_tokens - before.workload.thinking_tokens
    assert set(np.unique(more)) == {0, 500}
    assert (more == 500).mean() == pytest.approx(0.2, abs=0.001)
    least_of_the_changed = before.workload.thinking_tokens[more == 500].min()
    assert least_of_the_changed >= before.workload.thinking_tokens[more == 0].max()


def test_any_are_drawn_by_the_seed():
    before = steady(1.0, hours=0.5)
    change = Change(add_thinking_tokens=500, share=0.2, hardest=False)
    one, again = (whatif.changed(before, change).workload.thinking_tokens for _ in range(2))
    assert (one == again).all()
    chosen = one > before.workload.thinking_tokens
    mean_before = before.workload.thinking_tokens
    assert mean_before[chosen].mean() == pytest.approx(mean_before.mean(), rel=0.25)


def test_the_declared_budget_bounds_what_is_added():
    before = steady(1.0, hours=0.5)
    bounded = replace(before, intent=replace(before.intent, budget=Budget(max_tokens=1000)))
    after = whatif.changed(bounded, Change(add_thinking_tokens=500, share=1.0))
    was, now = before.workload.thinking_tokens, after.workload.thinking_tokens
    assert (now == np.maximum(was, np.minimum(was + 500, 1000))).all()


def test_a_fleet_at_rest_holds_what_littles_law_says():
    scenario = steady(6.0, thinking=1500)
    predicted = fluid.predict(scenario)
    point = design_point(scenario.workload, scenario.profile, pace_limit_seconds(scenario.intent))
    ideal = 6.0 / point.requests_per_second
    assert predicted.wanted_mean_replicas == pytest.approx(ideal, rel=0.06)
    assert ideal <= predicted.mean_replicas <= ideal + 2
    busy = predicted.end_seconds.mean() * 6.0 / predicted.mean_replicas
    context = 500 + 1800 / 2
    pace = (
        0.0155
        + busy * (27e-6 + 7.6e-8 * context)
        + 51e-6 * 500 * 6 / predicted.mean_replicas * (predicted.pace_seconds.mean())
    )
    assert predicted.pace_seconds.mean() == pytest.approx(pace, rel=0.02)


def test_a_lonely_request_goes_at_the_pace_of_an_empty_engine():
    scenario = steady(0.001, hours=3.0, thinking=1000)
    predicted = fluid.predict(scenario)
    alone = 0.0155 + 27e-6 + 7.6e-8 * 1150
    assert np.median(predicted.pace_seconds) == pytest.approx(alone, rel=0.01)
    assert np.median(predicted.end_seconds) == pytest.approx(
        1299 * alone + 1.5 * alone + 500 * 51e-6, rel=0.01
    )
    assert predicted.mean_replicas == 1


def test_over_the_limit_the_wait_grows_by_what_is_not_carried():
    scenario = limited(steady(8.0, hours=1.0, thinking=1500), 3)
    point = design_point(scenario.workload, scenario.profile, pace_limit_seconds(scenario.intent))
    carried = 3 * point.requests_per_second
    predicted = fluid.predict(scenario)
    assert predicted.queue_seconds[-1] == pytest.approx(3600 * (8 / carried - 1), rel=0.02)
    assert predicted.overloaded_hours > 0
    assert predicted.peak_replicas == 3
    assert predicted.wanted_peak_replicas > 3
    assert predicted.attainment < 0.2


def test_under_a_limit_the_largest_budget_is_named_that_the_replicas_carry():
    scenario = limited(steady(8.0), 3)
    budget = whatif.carried_budget(scenario, fluid.predict(scenario))
    assert budget in whatif.BUDGETS_TOKENS

    def needed(tokens: int) -> float:
        load = scenario.workload
        cut = load.within(tokens)
        peak = np.bincount((load.at_seconds // 600).astype(int)).max() / 600
        limit = pace_limit_seconds(scenario.intent)
        return peak / design_point(cut, scenario.profile, limit).requests_per_second

    assert needed(budget) <= 3
    assert needed(2 * budget) > 3


def test_a_fleet_that_carries_its_load_needs_no_other_budget():
    scenario = steady(2.0)
    assert whatif.reckoned(scenario, fluid.predict(scenario)).carried_budget_tokens is None


def test_an_absolute_limit_is_missed_by_those_who_now_think_too_long():
    first_answer = Objective(
        name="first-answer",
        indicator=Indicator.TIME_TO_FIRST_ANSWER,
        threshold_seconds=70.0,
        per_token_seconds=0.0,
        objective=0.95,
        window_seconds=3600,
    )
    before = steady(30.0, hours=1.0)
    pace = before.intent.objectives[1]
    before = replace(before, intent=replace(before.intent, objectives=(pace, first_answer)))
    after = whatif.changed(before, Change(add_thinking_tokens=500, share=0.2))
    was, now = (whatif.reckoned(s, fluid.predict(s)) for s in (before, after))
    seconds = fluid.predict(before).first_answer_seconds
    assert was.attainment_by_slo["first-answer"] == pytest.approx((seconds <= 70).mean())
    assert now.attainment_by_slo["first-answer"] < was.attainment_by_slo["first-answer"] - 0.02
    assert now.gpu_hours > was.gpu_hours


@pytest.mark.parametrize("count", [1, 3])
def test_a_handful_of_requests_is_enough(count: int):
    load = Workload(
        name="few",
        at_seconds=np.arange(count, dtype=float),
        prompt_tokens=np.full(count, 10),
        thinking_tokens=np.full(count, 20),
        answer_tokens=np.full(count, 5),
    )
    answer = whatif.reckoned(few := scenarios.replay(load, 1), fluid.predict(few))
    assert answer.replicas_peak == 1
    assert answer.e2e_seconds[0] == pytest.approx(25.5 * 0.0155, rel=0.05)


def test_no_requests_no_prediction():
    scenario = steady(1.0)
    empty = Workload(
        name="empty",
        at_seconds=np.zeros(0),
        prompt_tokens=np.zeros(0, dtype=np.int64),
        thinking_tokens=np.zeros(0, dtype=np.int64),
        answer_tokens=np.zeros(0, dtype=np.int64),
    )
    with pytest.raises(ValueError, match="without requests"):
        fluid.predict(replace(scenario, workload=empty))
