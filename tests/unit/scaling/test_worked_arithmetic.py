"""The arithmetic that the docstrings of the terms promise, one example each, and their edges."""

import dataclasses
import math

import pytest

from tests.unit.scaling.builders import make_intent, make_signals, policy
from thinkscale.model.intent import Behavior, Indicator, Objective, StepPolicy
from thinkscale.model.signals import Histogram
from thinkscale.scaling import (
    attainment,
    backlog,
    latency,
    lead_time,
    life_table,
    occupancy,
    order,
    stabilize,
    steps,
    tail,
    traffic,
)
from thinkscale.scaling.attainment import Outcomes
from thinkscale.scaling.lead_time import Warmed
from thinkscale.scaling.traffic import TrafficSample


def test_forty_one_requests_on_eight_seats_at_eighty_percent_need_seven_replicas():
    assert occupancy.replicas_needed(41, 8, 0.8) == pytest.approx(6.41, abs=0.01)
    assert occupancy.whole(occupancy.replicas_needed(41, 8, 0.8)) == 7
    assert occupancy.whole(3.0000000001) == 3
    assert occupancy.whole(0.0) == 0


def test_occupancy_moves_to_rate_times_service_and_is_projected_to_the_lead_time():
    assert occupancy.projected(10, 2.0, 10.0, 20.0, 8) == pytest.approx(18.6, abs=0.1)


def test_a_projection_never_shrinks_and_at_most_doubles_and_adds_a_replica():
    assert occupancy.projected(10, 0.0, 10.0, 20.0, 8) == 10
    assert occupancy.projected(10, 1000.0, 10.0, 20.0, 8) == 28
    assert occupancy.projected(10, 5.0, 0.0, 20.0, 8) == 10


def test_the_backlog_is_divided_by_the_capacity_that_answering_leaves():
    assert backlog.seconds(11_400, 3, 8, 2, 0.03) == pytest.approx(15.5, abs=0.05)
    assert backlog.seconds(100, 1, 8, 8, 0.03) is None
    assert backlog.seconds(100, 0, 8, 0, 0.03) is None


def test_all_thinking_that_can_happen_until_a_new_replica_has_helped_must_find_seats():
    lengths = life_table.observe(
        life_table.Lengths(), 0.0, make_signals(mean_tokens=300, thoughts=100_000)
    )
    survival = life_table.Survival(lengths, None)
    ages = (20, *(0,) * 44)
    tokens = backlog.tokens_ahead(survival, ages, 10, 2.0, 28.0, 0.03)
    assert tokens == pytest.approx(20_400, rel=0.01)
    assert backlog.replicas_needed(20_400, 28.0, 8, 2, 0.03) == pytest.approx(2.98, abs=0.01)
    assert backlog.replicas_needed(0.0, 0.0, 8, 4, 0.03) == 0.5
    calm = backlog.tokens_ahead(survival, ages, 10, 0.0, 28.0, 0.03)
    assert calm == pytest.approx(30 * 287, rel=0.01)


def test_a_thought_is_one_thread_and_never_counts_with_more_than_it_can_think():
    lengths = life_table.observe(
        life_table.Lengths(), 0.0, make_signals(mean_tokens=30_000, thoughts=100_000)
    )
    survival = life_table.Survival(lengths, None)
    tokens = backlog.tokens_ahead(survival, (24, *(0,) * 44), 0, 0.0, 30.0, 0.03)
    assert backlog.replicas_needed(tokens, 30.0, 8, 0, 0.03) == pytest.approx(3.0, abs=0.06)
    assert backlog.replicas_needed(tokens, 30.0, 8, 0, 0.03) <= 3.0


def test_the_slack_is_the_tightest_threshold_on_the_first_token_or_answer():
    def slo(indicator: Indicator, threshold: float) -> Objective:
        return Objective(
            name=indicator.value,
            indicator=indicator,
            threshold_seconds=threshold,
            per_token_seconds=0.0,
            objective=0.99,
            window_seconds=3600.0,
        )

    first_answer = slo(Indicator.TIME_TO_FIRST_ANSWER, 9.0)
    first_token = slo(Indicator.TIME_TO_FIRST_TOKEN, 7.0)
    pace = slo(Indicator.TIME_PER_ANSWER_TOKEN, 0.05)
    assert backlog.slack_seconds([first_answer, first_token, pace]) == 7.0
    assert backlog.slack_seconds([pace]) is None


def test_the_burn_rate_is_the_smaller_of_the_short_and_the_whole_window():
    short, whole = Outcomes(good=194, bad=6), Outcomes(good=980, bad=20)
    assert tail.burn_rate(short, whole, 0.99) == pytest.approx(2.0)
    assert tail.burn_rate(Outcomes(good=0, bad=0), whole, 0.99) == 0.0


def test_the_margin_grows_slowly_and_is_clamped_frozen_and_bounded_at_the_maximum():
    burn = [tail.Burn(rate=5.5, window_seconds=3600.0)]
    once = tail.trimmed(1.0, 60.0, burn, frozen=False, at_maximum=False)
    assert once == pytest.approx(1.035, abs=0.001)
    assert tail.trimmed(1.0, 60.0, burn, frozen=True, at_maximum=False) == 1.0
    assert tail.trimmed(1.2, 60.0, burn, frozen=False, at_maximum=True) == 1.2
    assert tail.trimmed(1.99, 60.0, burn * 2, frozen=False, at_maximum=False) == 2.0
    clean = [tail.Burn(rate=0.0, window_seconds=3600.0)]
    assert tail.trimmed(1.0, 60.0, clean, frozen=False, at_maximum=False) == 1.0
    assert tail.trimmed(1.5, 60.0, clean, frozen=False, at_maximum=True) < 1.5
    assert tail.trimmed(1.5, 60.0, [], frozen=False, at_maximum=False) == 1.5


def test_a_burn_of_ten_doubles_the_margin_in_a_sixth_of_the_window():
    margin = 1.0
    burn = [tail.Burn(rate=50.0, window_seconds=3600.0)]
    for _ in range(10):
        margin = tail.trimmed(margin, 60.0, burn, frozen=False, at_maximum=False)
    assert margin == pytest.approx(2.0)


@pytest.mark.parametrize("mean", [50, 300, 3000])
def test_a_constant_hazard_has_no_memory(mean: int):
    signals = make_signals(mean_tokens=mean, thoughts=100_000)
    lengths = life_table.observe(life_table.Lengths(), 0.0, signals)
    survival = life_table.Survival(lengths, None)
    for age in (0, 10, 500, 5000):
        assert survival.remaining(age) == pytest.approx(mean, rel=0.01)
    assert survival.remaining(500, within=mean) == pytest.approx(mean * (1 - 1 / math.e), rel=0.01)
    assert survival.longer_than(mean) == pytest.approx(1 / math.e, rel=0.01)


def test_a_budget_bounds_what_is_expected():
    signals = make_signals(mean_tokens=300, thoughts=100_000)
    lengths = life_table.observe(life_table.Lengths(), 0.0, signals)
    survival = life_table.Survival(lengths, 300)
    assert survival.mean == pytest.approx(300 * (1 - 1 / math.e), rel=0.01)
    assert survival.remaining(300) == 0.0
    assert survival.longer_than(300) == 0.0
    assert survival.backlog_tokens((4, *(0,) * 44), 0) == pytest.approx(
        4 * survival.remaining(16), rel=0.001
    )


def test_a_hazard_next_to_nothing_leaves_the_whole_budget():
    table = make_signals().life_table.model_copy(
        update={"exposure_tokens": (10**15,) * 45, "ends": (0,) * 45}
    )
    signals = dataclasses.replace(make_signals(), life_table=table)
    survival = life_table.Survival(life_table.observe(life_table.Lengths(), 0.0, signals), 4096)
    assert survival.mean == pytest.approx(4096)


def test_a_budget_of_nothing_leaves_nothing_to_think():
    survival = life_table.Survival(life_table.Lengths(), 0)
    assert survival.mean == 0.0
    assert survival.remaining(0, within=10) == 0.0
    assert survival.backlog_tokens((0,) * 45, 7) == 0.0


def test_thoughts_that_go_on_count_by_their_exposure():
    finished_only = make_signals(mean_tokens=300, thoughts=50)
    lengths = life_table.observe(life_table.Lengths(), 0.0, finished_only)
    before = life_table.Survival(lengths, None).mean
    table = finished_only.life_table
    longer = finished_only.life_table.model_copy(
        update={"exposure_tokens": tuple(2 * e for e in table.exposure_tokens)}
    )
    later = dataclasses.replace(finished_only, life_table=longer)
    after = life_table.Survival(life_table.observe(lengths, 5.0, later), None).mean
    assert after > 1.5 * before


def test_lengths_of_another_edges_version_are_not_mixed_in():
    signals = make_signals(mean_tokens=300)
    strange = signals.life_table.model_copy(update={"edges_version": 2})
    lengths = life_table.Lengths()
    assert life_table.observe(lengths, 0.0, dataclasses.replace(signals, life_table=strange)) is (
        lengths
    )


def _samples(*points: tuple[float, int]) -> tuple[TrafficSample, ...]:
    return tuple(
        TrafficSample(at=at, arrivals=arrivals, tokens=0, active=0, active_seconds=0.0)
        for at, arrivals in points
    )


def test_a_significant_trend_is_extrapolated_and_noise_is_not():
    rising = _samples((0, 0), (30, 20), (60, 65))
    assert traffic.rate(rising) == pytest.approx(1.5)
    assert traffic.projected_rate(rising, 20.0) == pytest.approx(2.18, abs=0.01)
    noise = _samples((0, 0), (30, 12), (60, 32))
    assert traffic.projected_rate(noise, 20.0) == pytest.approx(20 / 30)
    assert traffic.projected_rate(rising, 1000.0) == pytest.approx(3.0)


def test_a_rate_needs_eight_seconds_and_a_trend_thirty():
    assert traffic.rate(()) is None
    assert traffic.projected_rate((), 20.0) is None
    assert traffic.rate(_samples((0, 0), (5, 9))) is None
    assert traffic.projected_rate(_samples((0, 0), (10, 20)), 20.0) == pytest.approx(2.0)


def test_the_pace_is_busy_time_over_tokens():
    history = (
        TrafficSample(at=0.0, arrivals=0, tokens=0, active=8, active_seconds=0.0),
        TrafficSample(at=60.0, arrivals=9, tokens=16_000, active=8, active_seconds=480.0),
    )
    assert traffic.seconds_per_token(history) == pytest.approx(0.03)
    assert traffic.seconds_per_token(history[:1]) is None
    assert traffic.seconds_per_token(()) is None


def test_the_traffic_history_is_bounded_and_starts_anew_after_a_gap_or_a_fall():
    history: traffic.Traffic = ()
    for tenth in range(2000):
        signals = make_signals(thinking=2, arrivals=tenth, tokens=tenth * 10)
        history = traffic.observe(history, tenth / 10, signals)
    assert len(history) <= 40
    assert traffic.rate(history) == pytest.approx(10.0, rel=0.01)
    assert traffic.seconds_per_token(history) == pytest.approx(0.02, rel=0.01)
    same = traffic.observe(history, history[-1].at, make_signals(arrivals=9999))
    assert same is history
    assert len(traffic.observe(history, 1000.0, make_signals(arrivals=3000))) == 1
    assert len(traffic.observe(history, 200.5, make_signals(arrivals=5))) == 1


def test_the_ninetieth_percentile_of_five_lead_times_is_the_fifth():
    known = tuple(
        Warmed(name=str(i), ready_at=float(i), seconds=s)
        for i, s in enumerate((17, 18, 20, 21, 40))
    )
    assert lead_time.lead_seconds(known, 1800.0) == 40
    assert lead_time.lead_seconds((), 1800.0) == 300.0
    assert lead_time.lead_seconds((), 60.0) == 60.0


def test_a_warming_replica_is_stuck_after_three_lead_times_once_three_taught_it():
    two = tuple(Warmed(name=str(i), ready_at=float(i), seconds=60.0) for i in range(2))
    three = (*two, Warmed(name="2", ready_at=2.0, seconds=60.0))
    assert lead_time.stuck_after_seconds(two, 1800.0) == 1800.0
    assert lead_time.stuck_after_seconds(three, 1800.0) == 180.0
    assert lead_time.stuck_after_seconds(three, 150.0) == 150.0


def test_the_percentile_is_interpolated_inside_its_bin():
    counts = [0] * 32
    empty = Histogram()
    snapshots = latency.observe((), 0.0, empty)
    counts[10] = 100  # 4 to 5 s
    now = Histogram(counts=tuple(counts))
    assert latency.percentile(snapshots, 30.0, now, 0.95) == pytest.approx(4.95)
    assert latency.percentile(snapshots, 30.0, empty, 0.95) is None
    assert latency.percentile((), 30.0, now, 0.95) is None
    open_bin = Histogram(counts=(*(0,) * 31, 10))
    assert latency.percentile(snapshots, 30.0, open_bin, 0.95) == 1800.0


def test_the_latency_window_forgets_what_is_older_than_a_minute():
    snapshots: latency.Snapshots = ()
    for second in range(0, 600, 2):
        slow = second // 2 if second < 300 else 150
        counts = [0] * 32
        counts[20], counts[2] = slow, second // 2 - slow
        histogram = Histogram(counts=tuple(counts))
        snapshots = latency.observe(snapshots, float(second), histogram)
        if second == 298:
            assert latency.percentile(snapshots, 298.0, histogram, 0.95) > 30.0
    assert len(snapshots) <= 8
    assert latency.percentile(snapshots, 598.0, histogram, 0.95) < 0.4


def test_the_scale_down_window_keeps_the_largest_wish():
    wishes = stabilize.largest((), 0.0, 5, 15.0)
    wishes = stabilize.largest(wishes, 10.0, 3, 15.0)
    wishes = stabilize.largest(wishes, 20.0, 2, 15.0)
    assert wishes[0][1] == 3


def test_the_windows_are_bounded_and_err_on_the_large_side_when_full():
    downs: stabilize.Wishes = ()
    ups: stabilize.Wishes = ()
    for second in range(500):
        downs = stabilize.largest(downs, float(second), 1000 - second, 1000.0)
        ups = stabilize.smallest(ups, float(second), second, 1000.0)
    assert len(downs) <= 64
    assert downs[0][1] == 1000
    assert len(ups) <= 64
    assert ups[0][1] == 0


def test_growth_waits_for_the_smallest_and_shrinking_for_the_largest_of_its_window():
    assert stabilize.stabilized(3, ((0.0, 5),), ((0.0, 6),)) == 5
    assert stabilize.stabilized(8, ((0.0, 2),), ((0.0, 4),)) == 4
    assert stabilize.stabilized(4, ((0.0, 2),), ((0.0, 6),)) == 4


def _behavior(*policies: StepPolicy) -> Behavior:
    return Behavior(stabilization_window_seconds=0.0, policies=policies)


def test_the_most_permissive_policy_wins_and_a_period_remembers_its_changes():
    share = StepPolicy(percent=100, period_seconds=15.0)
    changes = ((10.0, 1),)
    assert steps.upper_limit(_behavior(share), changes, 12.0, 2) == 2
    assert steps.upper_limit(_behavior(share, policy(4, 15.0)), changes, 12.0, 2) == 5
    assert steps.upper_limit(_behavior(share), changes, 26.0, 2) == 4
    assert steps.upper_limit(_behavior(), changes, 12.0, 2) is None
    quarter = StepPolicy(percent=25, period_seconds=60.0)
    assert steps.lower_limit(_behavior(quarter), (), 0.0, 8) == 6
    assert steps.lower_limit(_behavior(quarter), ((0.0, -2),), 30.0, 6) == 6
    assert steps.lower_limit(_behavior(quarter, policy(3, 60.0)), ((0.0, -2),), 30.0, 6) == 5
    assert steps.lower_limit(_behavior(), (), 0.0, 8) is None


def test_from_nothing_one_replica_is_always_allowed():
    assert steps.upper_limit(_behavior(StepPolicy(percent=50, period_seconds=9.0)), (), 0.0, 0) == 1


def test_changes_are_those_seen_and_their_number_is_bounded():
    changes: steps.Changes = ()
    assert steps.observe(changes, 0.0, None, 5, 60.0) == ()
    for second in range(1, 300):
        changes = steps.observe(changes, float(second), second % 2, (second + 1) % 2, 1000.0)
    assert len(changes) <= 64
    assert sum(c[1] for c in changes) == -1
    assert steps.observe(changes, 2000.0, 1, 1, 60.0) == ()
    intent = make_intent(up=[policy(1, 15.0)], down=[policy(1, 60.0)])
    assert steps.longest_period(intent.scale_up, intent.scale_down) == 60.0
    assert steps.longest_period(_behavior()) == 0.0


def test_a_gateway_may_send_a_sixteenth_more_than_the_seats():
    assert order.admission_ceiling(8) == 9
    assert order.admission_ceiling(128) == 136


def test_outcomes_without_a_request_are_no_attainment():
    assert Outcomes(good=0, bad=0).attained is None
    assert Outcomes(good=3, bad=1).attained == 0.75
    assert attainment.BUCKETS // attainment.SHORT_BUCKETS == 12
