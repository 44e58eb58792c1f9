"""The arithmetic that the docstrings of the terms promise, one example each, and their edges."""

from dataclasses import replace

import pytest

from tests.unit.scaling.builders import make_intent, policy
from thinkscale.model.intent import Behavior, StepPolicy
from thinkscale.model.signals import Histogram
from thinkscale.scaling import (
    latency,
    lead_time,
    order,
    stabilize,
    steps,
)
from thinkscale.scaling.attainment import Outcomes
from thinkscale.scaling.lead_time import Warmed
from thinkscale.scaling.sharing import Member, share


def test_the_ninetieth_percentile_of_five_lead_times_is_the_fifth():
    known = tuple(
        Warmed(name=str(i), ready_at=float(i), seconds=s)
        for i, s in enumerate((17, 18, 20, 21, 40))
    )
    assert lead_time.lead_seconds(known, 1800.0) == 40
    assert lead_time.lead_seconds((), 1800.0) == 300.0
    assert lead_time.lead_seconds((), 60.0) == 60.0
    assert lead_time.horizon_seconds(known, 1800.0) == pytest.approx(38.2)
    assert lead_time.horizon_seconds((), 60.0) == 75.0


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
    # Two are merged at the instant of the later one.
    assert downs[0][0] == ups[0][0] == 500 - stabilize.KEPT


def test_a_wish_as_old_as_its_window_is_out_of_it():
    assert stabilize.largest(((0.0, 5),), 14.9, 3, 15.0)[0] == (0.0, 5)
    assert stabilize.largest(((0.0, 5),), 15.0, 3, 15.0) == ((15.0, 3),)
    assert stabilize.smallest(((0.0, 2),), 14.9, 3, 15.0)[0] == (0.0, 2)
    assert stabilize.smallest(((0.0, 2),), 15.0, 3, 15.0) == ((15.0, 3),)


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
    rising: steps.Changes = ()
    for second in range(1, 300):
        rising = steps.observe(rising, float(second), second, second + 1, 1000.0)
    assert len(rising) == steps.KEPT
    assert sum(c[1] for c in rising) == 299
    assert rising[0] == (300.0 - steps.KEPT, 300 - steps.KEPT)
    assert steps.observe(changes, 2000.0, 1, 1, 60.0) == ()
    intent = make_intent(up=[policy(1, 15.0)], down=[policy(1, 60.0)])
    assert steps.longest_period(intent.scale_up, intent.scale_down) == 60.0
    assert steps.longest_period(_behavior()) == 0.0


def test_who_is_not_known_keeps_what_it_has_however_much_another_would_gain():
    """Five GPUs; 3 are held by one of whom no rate is known, and the other is late by tens."""
    unknown = Member(
        name="unknown",
        priority=1.0,
        gpus_per_replica=1,
        min_replicas=1,
        wished_replicas=4,
        held_replicas=3,
    )
    late = replace(unknown, name="late", held_replicas=1, late_rates=(90.0, 60.0, 40.0, 20.0, 10.0))
    granted = share(5, (unknown, late))
    assert {name: grant.share for name, grant in granted.items()} == {"unknown": 3, "late": 2}


def test_a_gateway_may_send_a_sixteenth_more_than_the_seats():
    assert order.seats(8) == 9
    assert order.seats(128) == 136


def test_outcomes_without_a_request_are_no_attainment():
    assert Outcomes(good=0, bad=0).attained is None
    assert Outcomes(good=3, bad=1).attained == 0.75
