"""Growing and shrinking by requests in flight, told as time lines."""

import pytest

from tests.unit.scaling.builders import make_fleet, make_intent, make_signals, percent, policy, work
from tests.unit.scaling.narration import Story
from thinkscale.model.decision import Hold, LimitedBy, Reason, Scale


def test_forty_one_requests_grow_three_replicas_to_six_at_once():
    decision = Story().tick(0, 3, make_signals(thinking=20, queued=15, answering=6))
    assert decision.replicas == Scale(to=6)
    assert decision.wanted == 6
    assert decision.reason is Reason.OCCUPANCY
    assert decision.limited_by is LimitedBy.NONE
    assert decision.message == ("41 requests in flight on 3 ready replicas; 6 carry them at 8 each")
    assert decision.numbers["depth"] == 35
    assert decision.numbers["in_flight"] == 41
    assert decision.next_tick_seconds == 2.0


@pytest.mark.parametrize("phase", ["thinking", "queued", "answering"])
def test_requests_count_in_every_phase(phase: str):
    decision = Story().tick(0, 1, make_signals(**{phase: 20}))
    assert decision.wanted == 3


def test_a_steady_fleet_is_left_alone_and_looked_at_every_fifteen_seconds():
    story = Story()
    for second in range(0, 120, 15):
        decision = story.tick(second, 3, make_signals(thinking=17))
        assert decision.replicas == Hold(at=3)
        assert decision.reason is Reason.STEADY
        assert decision.next_tick_seconds == 15.0


def test_a_size_between_the_two_wishes_is_kept():
    """18 requests: one sigma more on 8 seats each, times .95, is 2.6: three would be ordered. To
    shrink, 1.4 sigma and a tenth more must fit: 3.1, so four stay.
    """
    story = Story(make_intent(down_window=0.0))
    assert story.tick(0, 4, make_signals(thinking=18)).wanted == 4
    assert Story().tick(0, 2, make_signals(thinking=18)).wanted == 3
    assert Story(story.intent).tick(0, 4, make_signals(thinking=15)).wanted == 3


def test_the_surplus_must_last_for_the_whole_window():
    story = Story(make_intent(down_window=60.0))
    assert story.tick(0, 4, make_signals(thinking=20)).wanted == 4
    for second in range(5, 60, 5):
        decision = story.tick(second, 4, make_signals(thinking=2))
        assert decision.wanted == 4
        assert decision.reason is Reason.STABILIZING
        assert decision.limited_by is LimitedBy.STABILIZATION
        assert decision.replicas == Hold(at=4)
        assert decision.next_tick_seconds <= max(2.0, 60.0 - second)
    decision = story.tick(60.5, 4, make_signals(thinking=2))
    assert decision.wanted == 1
    assert decision.replicas == Hold(at=4)
    assert decision.reason is Reason.DRAINING_SURPLUS
    assert len(decision.cordon) == 3


def test_one_busy_moment_renews_the_window():
    story = Story(make_intent(down_window=60.0))
    story.tick(0, 4, make_signals(thinking=2))
    story.tick(50, 4, make_signals(thinking=26))
    assert story.tick(70, 4, make_signals(thinking=2)).wanted == 4
    assert story.tick(100, 4, make_signals(thinking=2)).wanted == 4
    assert story.tick(111, 4, make_signals(thinking=2)).wanted == 1


def test_a_law_that_was_not_asked_for_minutes_starts_its_window_anew():
    story = Story(make_intent(down_window=60.0))
    story.tick(0, 4, make_signals(thinking=20))
    assert story.tick(600, 4, make_signals(thinking=2)).wanted == 4
    assert story.tick(650, 4, make_signals(thinking=2)).wanted == 4
    assert story.tick(661, 4, make_signals(thinking=2)).wanted == 1


def test_a_scale_up_window_waits_for_the_smallest_wish():
    story = Story(make_intent(up_window=20.0))
    story.tick(0, 1, make_signals(thinking=3))
    decision = story.tick(5, 1, make_signals(thinking=20))
    assert decision.wanted == 1
    assert decision.limited_by is LimitedBy.STABILIZATION
    assert decision.reason is Reason.STEADY
    assert story.tick(21, 1, make_signals(thinking=20), complete=False).wanted == 3


def test_step_policies_slow_growth_down():
    story = Story(make_intent(up=[policy(2, 15.0)]))
    decision = story.tick(0, 1, make_signals(queued=40))
    assert decision.replicas == Scale(to=3)
    assert decision.limited_by is LimitedBy.SCALE_UP_POLICY
    assert "scale-up policy" in decision.message
    assert decision.next_tick_seconds == 2.0
    growing = make_fleet(1, warming=2)
    assert story.tick(2, growing, make_signals(queued=40)).replicas == Hold(at=3)
    assert story.tick(7, growing, make_signals(queued=40)).replicas == Hold(at=3)
    more = story.tick(18, growing, make_signals(queued=40), complete=False)
    assert more.replicas == Scale(to=5)


def test_step_policies_slow_shrinking_down():
    story = Story(make_intent(down_window=0.0, down=[percent(25, 60.0)]))
    decision = story.tick(0, 8, make_signals())
    assert decision.wanted == 6
    assert decision.limited_by is LimitedBy.SCALE_DOWN_POLICY
    assert "scale-down policy" in decision.message
    assert story.tick(5, 6, make_signals()).wanted == 6
    assert story.tick(60, 6, make_signals()).wanted == 6
    assert story.tick(65.5, 6, make_signals()).wanted == 4


def test_the_maximum_is_never_passed_and_named_as_the_limit():
    decision = Story().tick(0, 8, make_signals(queued=200))
    assert decision.replicas == Hold(at=8)
    assert decision.reason is Reason.MAX_REPLICAS
    assert decision.limited_by is LimitedBy.MAX_REPLICAS
    assert decision.message.endswith("25 carry them at 8 each; maxReplicas allows 8")
    assert Story().tick(0, 7, make_signals(queued=200)).reason is Reason.MAX_REPLICAS


def test_a_shared_gpu_limit_is_a_maximum_of_its_own_and_named():
    decision = Story(make_intent(granted=3)).tick(0, 3, make_signals(queued=200))
    assert decision.replicas == Hold(at=3)
    assert decision.reason is Reason.MAX_REPLICAS
    assert decision.limited_by is LimitedBy.GPU_POOL
    assert decision.message.endswith("its GPU pool leaves 3")
    generous = Story(make_intent(granted=30)).tick(0, 8, make_signals(queued=200))
    assert generous.limited_by is LimitedBy.MAX_REPLICAS
    assert Story(make_intent(low=2, granted=1)).tick(0, 1, make_signals()).wanted == 1


def test_a_grant_that_falls_drains_and_takes_nobody_from_work():
    story = Story(make_intent(granted=2, down_window=600.0))
    busy = {f"ready-{i}": work(5, remaining=100 * i) for i in range(4)}
    decision = story.tick(0, 4, make_signals(thinking=20, replicas=busy))
    assert decision.wanted == 2
    assert decision.replicas == Hold(at=4)
    assert decision.cordon == {"ready-0", "ready-1"}
    assert decision.retire == ()


def test_late_requests_expected_fall_with_every_replica():
    story = Story(make_intent(high=6))
    for i in range(4):
        decision = story.tick(i * 15, 3, make_signals(thinking=20, arrivals=30 * i))
    assert len(decision.late_rates) == 7
    assert decision.late_rates[0] == pytest.approx(2.0, rel=0.01)
    assert list(decision.late_rates) == sorted(decision.late_rates, reverse=True)
    assert decision.late_rates[-1] < 0.01


def test_a_raised_minimum_is_met_at_once_past_every_policy():
    story = Story(make_intent(low=5, up=[policy(1, 60.0)]))
    decision = story.tick(0, 2, make_signals())
    assert decision.replicas == Scale(to=5)
    assert decision.reason is Reason.MIN_REPLICAS
    assert decision.limited_by is LimitedBy.MIN_REPLICAS
    assert "minReplicas asks for 5" in decision.message


def test_a_lowered_maximum_shrinks_at_once_but_cordon_first():
    story = Story(make_intent(high=2, down_window=600.0, down=[policy(1, 600.0)]))
    decision = story.tick(0, 5, make_signals(thinking=30))
    assert decision.wanted == 2
    assert decision.replicas == Hold(at=5)
    assert len(decision.cordon) == 3


def test_an_order_that_was_not_seen_to_arrive_is_given_again():
    story = Story()
    assert story.tick(0, 1, make_signals(thinking=20)).replicas == Scale(to=3)
    again = story.tick(2, 1, make_signals(thinking=6))
    assert again.replicas == Scale(to=3)
    assert again.reason is Reason.STABILIZING


def test_occupancy_is_projected_to_the_lead_time_of_a_replica():
    """Arrivals go from 0.4/s to 2/s of nine seconds each: 18 will be in flight, 6 are."""
    story = Story()
    arrived = 0.0
    decision = None
    for second in range(0, 31, 2):
        arrived += 0.8 if second < 15 else 4.0
        signals = make_signals(
            thinking=6, arrivals=round(arrived), tokens=second * 200, mean_tokens=300
        )
        decision = story.tick(second, 1, signals)
    assert decision is not None
    assert decision.numbers["projected_in_flight"] > 9
    assert decision.wanted >= 2
    assert "expected in 35 s" in decision.message
    partial = story.tick(31, 2, make_signals(thinking=6), complete=False)
    assert partial.numbers["projected_in_flight"] == 6


def test_too_few_finished_thoughts_are_not_extrapolated():
    story = Story()
    for second in range(0, 31, 2):
        signals = make_signals(
            thinking=6, arrivals=second, tokens=second * 200, mean_tokens=300, thoughts=0
        )
        decision = story.tick(second, 1, signals)
        assert decision.numbers["projected_in_flight"] == 6
