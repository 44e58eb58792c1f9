"""Manual, Advisory, and the way to zero and back."""

import pytest

from tests.unit.scaling.builders import (
    make_fleet,
    make_intent,
    make_signals,
    percent,
    policy,
    replica,
    work,
)
from tests.unit.scaling.narration import Story
from thinkscale.model.decision import Hold, LimitedBy, Reason, Scale
from thinkscale.model.intent import Mode
from thinkscale.model.observation import FleetView, ReplicaState
from thinkscale.model.reading import Absent


@pytest.mark.parametrize(
    ("mode", "reason"), [(Mode.MANUAL, Reason.MANUAL), (Mode.ADVISORY, Reason.ADVISORY)]
)
def test_a_person_sets_the_number_and_the_law_says_what_it_would_do(mode: Mode, reason: Reason):
    story = Story(make_intent(mode=mode, manual=2, up=[policy(1, 60.0)]))
    decision = story.tick(0, 2, make_signals(thinking=30))
    assert decision.replicas == Hold(at=2)
    assert decision.wanted == 3
    assert decision.reason is reason
    assert f"{mode} keeps 2, the law would want 3" in decision.message


def test_a_number_set_by_hand_is_reached_at_once_past_every_policy():
    story = Story(make_intent(mode=Mode.MANUAL, manual=6, up=[policy(1, 60.0)]))
    assert story.tick(0, 2, make_signals()).replicas == Scale(to=6)


def test_a_number_lowered_by_hand_lets_the_victims_finish():
    story = Story(make_intent(mode=Mode.MANUAL, manual=1))
    first = story.tick(0, 2, make_signals(thinking=3))
    assert first.replicas == Hold(at=2)
    assert len(first.cordon) == 1
    (victim,) = first.cordon
    idle = make_signals(replicas={victim: work(0, cordoned=True)})
    done = story.tick(10, 2, idle)
    assert done.replicas == Scale(to=1)
    assert done.retire == (victim,)


def test_a_number_lowered_by_hand_needs_no_signals_and_no_ready_replica():
    story = Story(make_intent(mode=Mode.MANUAL, manual=1))
    assert story.tick(0, 3, Absent(reason="no gateway")).replicas == Scale(to=1)
    story = Story(make_intent(mode=Mode.MANUAL, manual=1))
    assert story.tick(0, make_fleet(0, warming=3), make_signals()).replicas == Scale(to=1)


def test_signals_lost_while_victims_drain_hold_a_persons_number_back_for_a_minute():
    story = Story(make_intent(mode=Mode.MANUAL, manual=2))
    busy = {f"ready-{i}": work(2, remaining=i) for i in range(4)}
    signals = make_signals(thinking=8, replicas=busy)
    story.tick(0, 4, signals)
    for second in (2, 30, 60):
        unsure = story.tick(second, 4, signals, complete=False)
        assert unsure.replicas == Hold(at=4)
        assert unsure.cordon == {"ready-0", "ready-1"}
        assert unsure.retire == ()
    lost = story.tick(61, 4, Absent(reason="gone"))
    assert lost.replicas == Scale(to=2)
    assert set(lost.retire) == lost.cordon == {"ready-0", "ready-1"}


def test_a_number_lowered_by_hand_spares_a_replica_at_work_that_misses_its_probes():
    away = replica("away", ReplicaState.WARMING, age=600.0, since=60.0)
    fleet = FleetView(replicas=(replica("a"), replica("b"), away), desired=3, rolling=False)
    story = Story(make_intent(mode=Mode.MANUAL, manual=2))
    assert story.tick(0, fleet, make_signals(replicas={"away": work(1)})).replicas == Hold(at=3)
    assert story.tick(2, fleet, make_signals(replicas={"away": work(0)})).replicas == Scale(to=2)


def test_idle_for_as_long_as_declared_goes_to_zero_and_not_before():
    story = Story(make_intent(low=0, idle_seconds=120.0, down_window=10.0))
    story.tick(0, 1, make_signals(thinking=1))
    for second in range(10, 120, 10):
        decision = story.tick(second, 1, make_signals(replicas={"ready-0": work(0)}))
        assert decision.wanted == 1
    decision = story.tick(120, 1, make_signals(replicas={"ready-0": work(0)}))
    assert decision.wanted == 0
    assert decision.cordon == {"ready-0"}
    decision = story.tick(125, 1, make_signals(replicas={"ready-0": work(0, cordoned=True)}))
    assert decision.replicas == Scale(to=0)
    assert decision.reason is Reason.IDLE
    assert decision.message == "No request for 120 s; scaled to zero"
    asleep = story.tick(130, make_fleet(0), make_signals())
    assert asleep.replicas == Hold(at=0)
    assert asleep.reason is Reason.IDLE
    assert asleep.next_tick_seconds == 15.0


def test_a_request_that_came_and_went_between_two_ticks_keeps_the_service_awake():
    story = Story(make_intent(low=0, idle_seconds=60.0, down_window=0.0))
    story.tick(0, 1, make_signals(arrivals=5))
    story.tick(50, 1, make_signals(arrivals=6))
    assert story.tick(70, 1, make_signals(arrivals=6)).wanted == 1
    assert story.tick(111, 1, make_signals(arrivals=6)).wanted == 0


def test_one_long_request_keeps_the_service_awake():
    story = Story(make_intent(low=0, idle_seconds=60.0, down_window=0.0))
    for second in range(0, 200, 20):
        assert story.tick(second, 1, make_signals(thinking=1, arrivals=1)).wanted == 1
    assert story.tick(239, 1, make_signals(arrivals=1)).wanted == 1
    assert story.tick(240, 1, make_signals(arrivals=1)).wanted == 0


def test_what_came_before_the_first_look_is_no_use_of_the_service_now():
    """Nothing was heard at first, so it may have been in use then; the totals since boot say
    nothing of the time since.
    """
    story = Story(make_intent(low=0, idle_seconds=60.0, down_window=0.0))
    story.tick(0, 1, Absent(reason="gone"))
    story.tick(30, 1, make_signals(arrivals=5))
    assert story.tick(59, 1, make_signals(arrivals=5)).wanted == 1
    assert story.tick(60, 1, make_signals(arrivals=5)).wanted == 0


def test_the_first_request_wakes_the_service_past_the_scale_up_window_and_policies():
    story = Story(make_intent(low=0, idle_seconds=60.0, up_window=600.0, up=[percent(50, 60.0)]))
    story.tick(0, make_fleet(0), make_signals())
    decision = story.tick(5, make_fleet(0), make_signals(queued=1, held=1))
    assert decision.replicas == Scale(to=1)
    assert decision.reason is Reason.WAKING
    assert "waking from zero" in decision.message
    assert decision.next_tick_seconds == 2.0
    assert decision.limited_by in (LimitedBy.NONE, LimitedBy.STABILIZATION)


def test_a_crowd_at_the_door_wakes_more_than_one():
    story = Story(make_intent(low=0, idle_seconds=60.0))
    assert story.tick(0, make_fleet(0), make_signals(queued=30)).replicas == Scale(to=4)


def test_without_an_idle_time_nothing_goes_to_zero():
    story = Story(make_intent(low=0, idle_seconds=None, down_window=0.0))
    story.tick(0, 1, make_signals())
    assert story.tick(10_000, 1, make_signals()).wanted == 1


def test_zero_replicas_and_no_signals_stay_at_zero():
    story = Story(make_intent(low=0, idle_seconds=60.0))
    assert story.tick(0, make_fleet(0), Absent(reason="no gateway")).replicas == Hold(at=0)
