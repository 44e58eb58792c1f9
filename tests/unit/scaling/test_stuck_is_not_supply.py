"""Replicas that are paid for and do not serve: counted apart, replaced where it helps, reported."""

from tests.unit.scaling.builders import make_fleet, make_intent, make_signals, replica
from tests.unit.scaling.narration import Story
from thinkscale.model.decision import Hold, LimitedBy, Scale
from thinkscale.model.observation import FleetView, ReplicaState, ReplicaView


def fleet_of(*replicas: ReplicaView) -> FleetView:
    return FleetView(replicas=replicas, desired=len(replicas), rolling=False)


def test_warming_replicas_are_coming_and_not_ordered_twice():
    decision = Story().tick(0, make_fleet(1, warming=3), make_signals(thinking=25))
    assert decision.replicas == Hold(at=4)
    assert decision.numbers["warming"] == 3


def test_replicas_that_were_ordered_and_not_created_yet_are_coming_too():
    decision = Story().tick(0, make_fleet(1, desired=4), make_signals(thinking=25))
    assert decision.replicas == Hold(at=4)
    assert decision.numbers["warming"] == 3


def test_a_crash_looping_replica_is_replaced_and_named():
    decision = Story().tick(0, make_fleet(2, stuck=1), make_signals(thinking=20))
    assert decision.replicas == Scale(to=4)
    assert decision.wanted == 3
    assert decision.stuck == ("stuck-0",)
    assert decision.numbers["stuck"] == 1
    assert "1 stuck and not counted as supply (stuck-0)" in decision.message


def test_one_that_no_node_has_room_for_is_not_copied_into_the_same_queue():
    fleet = make_fleet(2, stuck=1, stuck_reason="Unschedulable")
    decision = Story().tick(0, fleet, make_signals(thinking=20))
    assert decision.replicas == Hold(at=3)
    assert decision.limited_by is LimitedBy.STUCK_REPLICAS
    assert decision.stuck == ("stuck-0",)


def test_replacements_stop_at_the_maximum():
    story = Story(make_intent(high=3))
    decision = story.tick(0, make_fleet(2, stuck=1), make_signals(thinking=20))
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
    story = Story(make_intent(startup_seconds=1800.0))
    new = [replica(f"new-{i}", ReplicaState.WARMING, age=10.0) for i in range(3)]
    late = replica("late", ReplicaState.WARMING, age=20.0)
    story.tick(0, fleet_of(*new, late), make_signals(thinking=25))
    ready = [replica(f"new-{i}", age=111.0, warmed_in=20.0) for i in range(3)]
    late = replica("late", ReplicaState.WARMING, age=121.0)
    decision = story.tick(101, fleet_of(*ready, late), make_signals(thinking=25))
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
    new = [replica(name, ReplicaState.WARMING, age=5.0) for name in ("slow", "quick")]
    story.tick(0, fleet_of(*new), make_signals(thinking=12))
    ready = [replica("slow", warmed_in=90.0), replica("quick", warmed_in=10.0)]
    for second in range(100, 200, 10):
        story.tick(second, fleet_of(*ready), make_signals(thinking=12))
    assert len(story.state.lead_times) == 2
    assert story.state.awaited == ()


def test_the_newest_lessons_are_kept():
    story = Story(make_intent(high=100))
    for batch, warmed_in in enumerate((90.0, 20.0)):
        names = [f"batch-{batch}-{i}" for i in range(20)]
        new = [replica(name, ReplicaState.WARMING, age=5.0) for name in names]
        story.tick(batch * 200, fleet_of(*new), make_signals(thinking=100))
        ready = [replica(name, age=105.0, warmed_in=warmed_in) for name in names]
        decision = story.tick(batch * 200 + 100, fleet_of(*ready), make_signals(thinking=100))
        assert decision.numbers["lead_time_seconds"] == warmed_in


def test_a_missed_probe_teaches_no_lead_time_not_even_in_a_fleet_too_large_to_remember():
    """After it, Kubernetes counts from the creation to the last readiness."""
    story = Story(make_intent(high=100, startup_seconds=1800.0))
    names = [f"pod-{i:02d}" for i in range(20)]
    new = [replica(name, ReplicaState.WARMING, age=5.0, since=4.0) for name in names]
    story.tick(0, fleet_of(*new), make_signals(thinking=100))
    ready = [replica(name, age=25.0, since=5.0, warmed_in=20.0) for name in names]
    story.tick(20, fleet_of(*ready), make_signals(thinking=100))
    steady = [replica(name, age=20_055.0, since=20_035.0, warmed_in=20.0) for name in names]
    away = [replica(name, ReplicaState.WARMING, age=20_055.0, since=5.0) for name in names[:2]]
    story.tick(20_050, fleet_of(*away, *steady[2:]), make_signals(thinking=100))
    back = [replica(name, age=20_060.0, since=5.0, warmed_in=20_055.0) for name in names[:2]]
    decision = story.tick(20_055, fleet_of(*back, *steady[2:]), make_signals(thinking=100))
    assert decision.numbers["lead_time_seconds"] == 20.0


def test_who_knows_nothing_takes_the_quickest_there_is_and_nothing_longer_than_the_prior():
    def learnt(*seconds: float) -> float:
        ready = [replica(f"r{i}", age=9000.0, warmed_in=s) for i, s in enumerate(seconds)]
        story = Story(make_intent(startup_seconds=1800.0))
        decision = story.tick(0, fleet_of(*ready), make_signals(thinking=9))
        return decision.numbers["lead_time_seconds"]

    assert learnt(25.0, 8000.0, 22.0) == 22.0
    assert learnt(8000.0) == 300.0


def test_the_wait_for_a_node_is_part_of_the_lead_time():
    story = Story()
    old = replica("old", age=9000.0, warmed_in=20.0)
    waiting = replica("r", ReplicaState.STUCK, age=4.0, since=4.0, trouble_reason="Unschedulable")
    story.tick(0, fleet_of(old, waiting), make_signals(thinking=3))
    warming = replica("r", ReplicaState.WARMING, age=180.0, since=10.0)
    story.tick(176, fleet_of(old, warming), make_signals(thinking=3))
    ready = replica("r", age=201.0, since=1.0, warmed_in=200.0)
    decision = story.tick(197, fleet_of(old, ready), make_signals(thinking=3))
    assert decision.numbers["lead_time_seconds"] == 200.0
