"""What one replica carries: the length-biased context and the smallest of three bounds."""

import dataclasses

import pytest

from tests.unit.scaling.builders import FIRST_ANSWER
from tests.unit.scaling.tables import exactly, memoryless
from thinkscale.fleet.profile import REFERENCE
from thinkscale.model.intent import Indicator, Objective
from thinkscale.scaling import capacity
from thinkscale.scaling.capacity import Bounds, Design, design
from thinkscale.scaling.life_table import Table
from thinkscale.scaling.survival import Survival

PLAIN = Bounds(
    seats=128, kv_tokens=290_000, pace_limit_seconds=0.045, step_time=REFERENCE.step_time
)


def slo(indicator: Indicator, threshold: float, per_token: float = 0.0) -> Objective:
    return dataclasses.replace(
        FIRST_ANSWER,
        name=f"{indicator.value}-{threshold}",
        indicator=indicator,
        threshold_seconds=threshold,
        per_token_seconds=per_token,
        objective=0.99,
    )


def test_outputs_of_two_thousand_tokens_fill_the_seats_of_the_reference_profile():
    point = design(PLAIN, exactly(2000), 1000.0, None)
    assert point.context_tokens == pytest.approx(2000, rel=0.001)
    assert point.batch == 128
    assert point.token_seconds == pytest.approx(0.0417, abs=0.0001)
    assert point.request_tokens == pytest.approx(2000, rel=0.001)
    assert point.replica_seconds == pytest.approx(0.0417 * 2000 / 128, rel=0.01)


def test_each_bound_binds_where_it_is_the_smallest():
    lengths = exactly(2000)
    by_cache = design(dataclasses.replace(PLAIN, kv_tokens=200_000), lengths, 1000.0, None)
    assert by_cache.batch == pytest.approx(0.93 * 200_000 / 2000, rel=0.001)
    by_pace = design(dataclasses.replace(PLAIN, pace_limit_seconds=0.04), lengths, 1000.0, None)
    assert by_pace.batch == pytest.approx((37.6 - 15.5) / (0.027 + 0.152 + 0.0255), rel=0.01)
    assert by_pace.token_seconds == pytest.approx(0.94 * 0.04, rel=0.001)
    impossible = design(dataclasses.replace(PLAIN, pace_limit_seconds=0.01), lengths, 1000.0, None)
    assert impossible.batch == 1.0


def test_a_running_request_is_longer_than_a_random_one():
    """Without a memory E[L²]/2E[L] is the mean itself, twice what half the mean would say."""
    point = design(PLAIN, memoryless(1500), 1000.0, None)
    assert point.context_tokens == pytest.approx(2500, rel=0.01)


def test_a_budget_shortens_the_context_and_makes_room():
    free = design(PLAIN, memoryless(3000), 1000.0, None)
    cut = design(PLAIN, memoryless(3000), 1000.0, None, within_tokens=2000)
    assert cut.request_tokens < free.request_tokens
    assert cut.batch > free.batch
    assert cut.replica_seconds < 0.6 * free.replica_seconds


def test_a_request_of_nothing_at_all_still_takes_a_token_of_the_cache():
    nothing = design(PLAIN, memoryless(3000), 0.0, None, within_tokens=0)
    assert nothing.context_tokens == 1
    assert nothing.batch == 128


def test_without_a_step_time_what_a_token_took_lately_stands_in():
    bounds = dataclasses.replace(PLAIN, step_time=None)
    point = design(bounds, exactly(2000), 1000.0, 0.03)
    assert point.token_seconds == 0.03
    assert point.batch == 128
    assert point.tokens_per_second == pytest.approx(128 / 0.03)
    # Half a request fits the cache: one runs all the same, an empty replica admits whatever comes.
    tiny = design(dataclasses.replace(bounds, kv_tokens=1000), exactly(2000), 1000.0, 0.03)
    assert tiny.batch == 1.0


def test_before_lengths_are_known_only_the_seats_count():
    point = design(PLAIN, Survival(Table(), None), 1000.0, 0.03)
    assert point == Design(batch=128.0, token_seconds=0.03, request_tokens=None)
    assert point.request_seconds is None
    assert point.replica_seconds is None
    assert Design(batch=1.0, token_seconds=None, request_tokens=5.0).tokens_per_second is None


def test_the_slack_is_the_tightest_threshold_that_a_wait_counts_against():
    objectives = [
        slo(Indicator.TIME_TO_FIRST_ANSWER, 9.0),
        slo(Indicator.TIME_TO_FIRST_TOKEN, 7.0),
        slo(Indicator.END_TO_END, 12.0),
        slo(Indicator.TIME_PER_ANSWER_TOKEN, 0.05),
    ]
    assert capacity.slack_seconds(objectives) == 7.0
    assert capacity.slack_seconds(objectives[3:]) is None


def test_the_pace_limit_is_what_every_objective_leaves():
    unknown, lengths = Survival(Table(), None), memoryless(100)

    def limit(*objectives: Objective, outputs: Survival = lengths) -> float | None:
        return capacity.pace_limit_seconds(objectives, lengths, outputs)

    assert limit() is None
    assert limit(slo(Indicator.TIME_TO_FIRST_TOKEN, 10.0)) is None
    pace = slo(Indicator.TIME_PER_OUTPUT_TOKEN, 0.05)
    assert limit(pace, slo(Indicator.TIME_PER_ANSWER_TOKEN, 0.06)) == 0.05
    assert limit(slo(Indicator.TIME_TO_FIRST_ANSWER, 30.0)) == pytest.approx(0.0326, rel=0.01)
    wait, whole = slo(Indicator.TIME_TO_FIRST_TOKEN, 10.0), slo(Indicator.END_TO_END, 15.0, 0.045)
    assert limit(wait, whole, outputs=exactly(10_000)) == pytest.approx(0.0455, rel=0.001)
    assert limit(wait, whole, outputs=unknown) == 0.045
    assert limit(slo(Indicator.END_TO_END, 15.0), outputs=unknown) is None
    assert limit(slo(Indicator.TIME_TO_FIRST_ANSWER, 8.0, 0.045)) == 0.045
    # Who may not think has no token to wait for before the answer.
    first = slo(Indicator.TIME_TO_FIRST_ANSWER, 8.0)
    assert capacity.pace_limit_seconds([first], memoryless(100, 0), lengths) is None
