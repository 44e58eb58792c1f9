"""Replicas that are paid for and do not serve: counted apart, replaced where it helps, reported."""

from tests.unit.scaling.builders import make_fleet, make_intent, make_signals, replica
from tests.unit.scaling.narration import Story
from thinkscale.model.decision import Hold, LimitedBy, Reason, Scale
from thinkscale.model.observation import FleetView, ReplicaState


def test_warming_replicas_are_coming_and_not_ordered_twice():
    decision = Story().tick(0, make_fleet(1, warming=3), make_signals(thinking=25))
    assert decision.replicas == Hold(at=4)
    assert decision.numbers["warming"] == 3


def test_replicas_that_were_ordered_and_not_created_yet_are_coming_too():
    decision = Story().tick(0, make_fleet(1, desired=4), make_signals(thinking=25))
    assert decision.replicas == Hold(at=4)
    assert decision.numbers["warming"] == 3


def test_a_crash_looping_replica_is_replaced_and_named():
    decision = Story().tick(0, make_fleet(2, stuck=1), make_signals(thinking=19))
    assert decision.replicas == Scale(to=4)
    assert decision.wanted == 3
    assert decision.stuck == ("stuck-0",)
    assert decision.numbers["stuck"] == 1
    assert "1 stuck and not counted as supply (stuck-0)" in decision.message


def test_one_that_no_node_has_room_for_is_not_copied_into_the_same_queue():
    fleet = make_fleet(2, stuck=1, stuck_reason="Unschedulable")
    decision = Story().tick(0, fleet, make_signals(thinking=19))
    assert decision.replicas == Hold(at=3)
    assert decision.limited_by is LimitedBy.STUCK_REPLICAS
    assert decision.stuck == ("stuck-0",)


def test_replacements_stop_at_the_maximum():
    story = Story(make_intent(high=3))
    decision = story.tick(0, make_fleet(2, stuck=1), make_signals(thinking=19))
    assert decision.replicas == Hold(at=3)
    assert decision.limited_by is LimitedBy.STUCK_REPLICAS


def test_replacements_that_get_stuck_too_do_not_fill_the_cluster():
    story = Story(make_intent(high=50))
    decision = story.tick(0, make_fleet(0, stuck=2), make_signals(queued=3))
    assert decision.replicas == Hold(at=2)
    assert story.tick(5, make_fleet(0, stuck=3), make_signals(queued=3)).replicas == Scale(to=2)


def test_a_stuck_replica_goes_when_ready_ones_suffice():
    story = Story(make_intent(down_window=0.0))
    decision = story.tick(0, make_fleet(3, stuck=1), make_signals(thinking=16))
    assert decision.replicas == Scale(to=3)
    assert decision.cordon == frozenset()
    assert decision.retire == ()


def test_a_replica_that_warms_far_longer_than_the_others_did_is_stuck():
    old = replica("late", ReplicaState.WARMING, age=121.0)
    ready = tuple(replica(f"ready-{i}", warmed_in=20.0) for i in range(3))
    fleet = FleetView(replicas=(*ready, old), desired=4, rolling=False)
    story = Story(make_intent(startup_seconds=1800.0))
    decision = story.tick(0, fleet, make_signals(thinking=25))
    assert decision.stuck == ("late",)
    assert decision.replicas == Scale(to=5)
    assert decision.numbers["lead_time_seconds"] == 20.0


def test_until_three_replicas_taught_the_lead_time_the_declared_limit_holds():
    late = replica("late", ReplicaState.WARMING, age=500.0)
    fleet = FleetView(replicas=(late,), desired=1, rolling=False)
    assert Story(make_intent(startup_seconds=1800.0)).tick(0, fleet, make_signals()).stuck == ()
    assert Story(make_intent(startup_seconds=400.0)).tick(0, fleet, make_signals()).stuck == (
        "late",
    )


def test_draining_replicas_are_no_supply_and_keep_the_law_watchful():
    going = replica("going", ReplicaState.DRAINING)
    fleet = FleetView(replicas=(replica("ready-0"), going), desired=1, rolling=False)
    decision = Story().tick(0, fleet, make_signals(thinking=3))
    assert decision.numbers["draining"] == 1
    assert decision.replicas == Hold(at=1)
    assert decision.next_tick_seconds == 2.0


def test_one_replica_is_one_lesson_however_often_it_is_seen():
    story = Story()
    fleet = FleetView(
        replicas=(replica("slow", warmed_in=90.0), replica("quick", warmed_in=10.0)),
        desired=2,
        rolling=False,
    )
    for second in range(0, 100, 10):
        story.tick(second, fleet, make_signals(thinking=12))
    assert len(story.state.lead_times) == 2


def test_the_newest_lessons_are_kept():
    story = Story(make_intent(high=100))
    old = tuple(replica(f"old-{i}", age=5000.0, warmed_in=90.0) for i in range(30))
    new = tuple(replica(f"new-{i}", age=100.0, warmed_in=20.0) for i in range(32))
    fleet = FleetView(replicas=(*old, *new), desired=62, rolling=False)
    decision = story.tick(0, fleet, make_signals(thinking=300))
    assert decision.numbers["lead_time_seconds"] == 20.0
    assert decision.reason is not Reason.FLEET_UNKNOWN
