"""SLOs that no number of replicas can meet are named, with the field and the mend."""

import dataclasses

from tests.unit.scaling.builders import FIRST_ANSWER, make_intent, make_signals
from tests.unit.scaling.narration import Story
from thinkscale.model.intent import Budget, Indicator, Objective
from thinkscale.scaling import Finding, State, unattainable


def learnt(mean_tokens: int = 300) -> State:
    story = Story()
    story.tick(0, 1, make_signals(thinking=1, mean_tokens=mean_tokens))
    return story.state


def objective(indicator: Indicator, threshold: float, per_token: float = 0.0) -> Objective:
    return dataclasses.replace(
        FIRST_ANSWER,
        indicator=indicator,
        threshold_seconds=threshold,
        per_token_seconds=per_token,
        objective=0.99,
    )


def findings(
    slo: Objective,
    fastest: float | None,
    *,
    mean: int = 300,
    budget: int | None = None,
    low: int = 1,
) -> tuple[Finding, ...]:
    idle = 60.0 if low == 0 else None
    intent = make_intent(
        objectives=[slo], budget=Budget(max_tokens=budget), low=low, idle_seconds=idle
    )
    return unattainable(intent, learnt(mean), fastest)


def test_a_pace_below_the_fastest_token_is_out_of_reach():
    (found,) = findings(objective(Indicator.TIME_PER_ANSWER_TOKEN, 0.02), 0.03)
    assert found.slo == "first-answer"
    assert found.field == "spec.slos[first-answer].thresholdMilliseconds"
    assert found.message == (
        "SLO first-answer: no number of replicas can meet 20 ms a token, the fastest took 30 ms; "
        "raise thresholdMilliseconds"
    )
    assert findings(objective(Indicator.TIME_PER_ANSWER_TOKEN, 0.04), 0.03) == ()
    assert len(findings(objective(Indicator.TIME_PER_OUTPUT_TOKEN, 0.02), 0.03)) == 1
    assert findings(objective(Indicator.TIME_PER_OUTPUT_TOKEN, 0.04), 0.03) == ()


def test_a_token_time_below_the_fastest_is_out_of_reach_when_too_many_thoughts_are_long():
    (found,) = findings(objective(Indicator.TIME_TO_FIRST_ANSWER, 8.0, 0.02), 0.03)
    assert found.field == "spec.slos[first-answer].perTokenMilliseconds"
    assert "thoughts over 800 tokens are late even alone; 7 % are longer, 1 % may be late" in (
        found.message
    )
    assert found.message.endswith("raise perTokenMilliseconds to at least 30")


def test_the_same_slo_is_in_reach_when_thoughts_are_short_or_the_budget_bounds_them():
    slo = objective(Indicator.TIME_TO_FIRST_ANSWER, 8.0, 0.02)
    assert findings(slo, 0.03, mean=30) == ()
    assert findings(slo, 0.03, budget=800) == ()
    assert findings(objective(Indicator.TIME_TO_FIRST_ANSWER, 8.0, 0.03), 0.03) == ()


def test_end_to_end_is_judged_by_thinking_alone_which_is_certain():
    assert len(findings(objective(Indicator.END_TO_END, 1.0, 0.01), 0.03)) == 1


def test_before_anything_was_measured_nothing_is_claimed():
    slo = objective(Indicator.TIME_TO_FIRST_ANSWER, 0.1, 0.0)
    assert findings(slo, None) == ()
    intent = make_intent(objectives=[slo])
    assert unattainable(intent, State.initial(), 0.03) == ()
    assert findings(objective(Indicator.TIME_TO_FIRST_TOKEN, 0.1), 0.03) == ()


def test_a_service_that_sleeps_may_be_late_for_those_who_wake_it():
    for indicator in (Indicator.TIME_TO_FIRST_ANSWER, Indicator.TIME_TO_FIRST_TOKEN):
        assert findings(objective(indicator, 8.0, 0.05), 0.03, low=0) == ()
