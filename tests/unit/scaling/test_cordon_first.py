"""Scaling down: who is chosen, when he may go, and how he comes back."""

import dataclasses

import pytest

from tests.unit.scaling.builders import (
    make_fleet,
    make_intent,
    make_signals,
    policy,
    replica,
    work,
)
from tests.unit.scaling.narration import Story
from thinkscale.model.decision import Hold, Reason, Scale
from thinkscale.model.observation import FleetView, ReplicaState, ReplicaView
from thinkscale.scaling.cordon import MOST_VICTIMS

QUICK = make_intent(down_window=0.0)


def test_the_replica_with_the_least_work_left_is_chosen_then_the_youngest():
    fleet = FleetView(
        replicas=(
            replica("a", age=900.0),
            replica("b", age=800.0),
            replica("c", age=700.0),
            replica("d", age=600.0),
        ),
        desired=4,
        rolling=False,
    )
    signals = make_signals(
        thinking=3,
        replicas={
            "a": work(1, remaining=10),
            "b": work(1, remaining=900),
            "c": work(1, remaining=500),
            "d": work(1, remaining=10),
        },
    )
    decision = Story(make_intent(down_window=0.0, low=3)).tick(0, fleet, signals)
    assert decision.cordon == {"d"}
    decision = Story(make_intent(down_window=0.0, low=2)).tick(0, fleet, signals)
    assert decision.cordon == {"a", "d"}
    assert decision.directive.cordoned == ("a", "d")
    # One that no gateway tells of has nothing left, however old it is.
    untold = dataclasses.replace(
        signals, replicas={name: work(1, remaining=0) for name in ("b", "c", "d")}
    )
    decision = Story(make_intent(down_window=0.0, low=3)).tick(0, fleet, untold)
    assert decision.cordon == {"a"}


def test_the_number_falls_only_when_the_victim_is_idle_and_the_cordon_had_time_to_arrive():
    story = Story(QUICK)

    def at_work(second: float, **victim):
        signals = make_signals(
            thinking=1, replicas={"ready-0": work(1, remaining=99), "ready-1": work(**victim)}
        )
        return story.tick(second, 2, signals)

    first = at_work(0, thinking=0, cordoned=False)
    assert first.cordon == {"ready-1"}
    assert first.replicas == Hold(at=2)
    assert first.reason is Reason.DRAINING_SURPLUS
    assert (
        "draining 1 replica before removal (ready-1: its cordon is not confirmed)" in first.message
    )
    # Idle, but the gateways have not confirmed the cordon.
    assert at_work(5, thinking=0, cordoned=False).replicas == Hold(at=2)
    # Confirmed, but seen too early: a request may be in transit.
    assert at_work(3, thinking=0, cordoned=True, engine_age=1.0).replicas == Hold(at=2)
    # A request is there: at the gateway, then only in the engine.
    assert at_work(6, thinking=1, cordoned=True).replicas == Hold(at=2)
    assert at_work(8, thinking=0, cordoned=True, running=1).replicas == Hold(at=2)
    # The engine was asked too long ago to know.
    assert at_work(40, thinking=0, cordoned=True, engine_age=15.0).replicas == Hold(at=2)
    done = at_work(42, thinking=0, cordoned=True)
    assert done.replicas == Scale(to=1)
    assert done.retire == ("ready-1",)
    assert done.cordon == {"ready-1"}
    assert done.reason is Reason.SURPLUS
    assert "the workload goes from 2 to 1" in done.message


def test_a_victim_whose_engine_is_silent_is_not_idle():
    story = Story(QUICK)
    signals = make_signals(replicas={"ready-0": work(1), "ready-1": work(0, cordoned=True)})
    silent = signals.replicas["ready-1"].model_copy(update={"engine": None})
    story.tick(0, 2, signals)
    mute = dataclasses.replace(signals, replicas={**signals.replicas, "ready-1": silent})
    assert story.tick(10, 2, mute).replicas == Hold(at=2)
    unknown = dataclasses.replace(signals, replicas={"ready-0": work(1)})
    assert story.tick(12, 2, unknown).replicas == Hold(at=2)


def test_growth_takes_the_cordon_off_at_once():
    story = Story(QUICK)
    story.tick(0, 3, make_signals(thinking=1))
    decision = story.tick(2, 3, make_signals(thinking=19))
    assert decision.cordon == frozenset()
    assert decision.replicas == Hold(at=3)
    assert decision.wanted == 3
    assert decision.reason is Reason.OCCUPANCY


def test_of_too_many_victims_the_fullest_goes_back_to_serving():
    story = Story(QUICK)
    first = make_signals(thinking=1, replicas={f"ready-{i}": work(0) for i in range(3)})
    assert len(story.tick(0, 3, first).cordon) == 2
    (a, b) = sorted(story.state.cordon)
    later = make_signals(
        thinking=9,
        replicas={a: work(4, remaining=50, cordoned=True), b: work(4, remaining=9, cordoned=True)},
    )
    decision = story.tick(2, 3, later)
    assert decision.wanted == 2
    assert decision.cordon == {b}


def test_victims_that_die_are_forgotten():
    story = Story(QUICK)
    story.tick(0, 3, make_signals(thinking=1))
    gone = FleetView(
        replicas=(replica("ready-0"), replica("ready-1", ReplicaState.DRAINING)),
        desired=1,
        rolling=False,
    )
    decision = story.tick(2, gone, make_signals(thinking=1))
    assert decision.cordon == frozenset()
    assert decision.replicas == Hold(at=1)


def test_one_of_two_victims_may_go_before_the_other():
    story = Story(QUICK)
    story.tick(0, 3, make_signals(thinking=1))
    names = sorted(story.state.cordon)
    signals = make_signals(
        thinking=2,
        replicas={names[0]: work(0, cordoned=True), names[1]: work(1, cordoned=True)},
    )
    decision = story.tick(10, 3, signals)
    assert decision.replicas == Scale(to=2)
    assert decision.retire == (names[0],)
    assert decision.cordon == set(names)


def test_warming_replicas_that_are_wanted_no_more_are_cancelled_without_a_cordon():
    story = Story(make_intent(down_window=20.0))
    fleet = make_fleet(1, warming=3)
    assert story.tick(0, fleet, make_signals(thinking=25)).replicas == Hold(at=4)
    assert story.tick(10, fleet, make_signals(thinking=1)).replicas == Hold(at=4)
    decision = story.tick(21, fleet, make_signals(thinking=1))
    assert decision.replicas == Scale(to=1)
    assert decision.cordon == frozenset()
    assert decision.retire == ()


def test_a_ready_victim_never_leaves_in_the_place_of_a_warming_replica():
    """Kubernetes removes the one that is not ready first, so both must go, or none."""
    story = Story(make_intent(down_window=0.0, down=[]))
    fleet = make_fleet(3, warming=1)
    signals = make_signals(
        thinking=6, replicas={f"ready-{i}": work(2, cordoned=True) for i in range(3)}
    )
    first = story.tick(0, fleet, signals)
    assert first.replicas == Scale(to=3)
    assert first.retire == ()
    assert len(first.cordon) == 1


def test_a_step_policy_spares_the_idle_victims_that_it_forbids_to_remove():
    story = Story(make_intent(down_window=0.0, down=[policy(1, 60.0)]))
    idle = {f"ready-{i}": work(0, cordoned=True) for i in range(4)}
    story.tick(0, 4, make_signals(replicas=idle))
    decision = story.tick(10, 4, make_signals(replicas=idle))
    assert decision.replicas == Scale(to=3)
    assert len(decision.retire) == 1
    assert story.tick(12, 3, make_signals(replicas=idle)).replicas == Hold(at=3)


def test_a_removed_replica_still_shown_as_ready_is_not_ordered_back():
    story = Story(QUICK)
    idle = {f"ready-{i}": work(0, cordoned=True) for i in range(2)}
    story.tick(0, 2, make_signals(replicas=idle))
    assert story.tick(10, 2, make_signals(replicas=idle)).replicas == Scale(to=1)
    lagging = make_fleet(2, desired=1)
    decision = story.tick(11, lagging, make_signals(replicas=idle))
    assert decision.replicas == Hold(at=1)
    assert decision.retire == ()
    assert len(decision.cordon) == 1
    busy = {name: work(1, cordoned=True) for name in idle}
    assert story.tick(12, lagging, make_signals(replicas=busy)).replicas == Hold(at=1)


def test_a_roll_lifts_the_cordon_and_nothing_shrinks():
    story = Story(QUICK)
    story.tick(0, 3, make_signals(thinking=1))
    decision = story.tick(2, make_fleet(4, desired=3, rolling=True), make_signals(thinking=1))
    assert decision.cordon == frozenset()
    assert decision.replicas == Hold(at=3)
    assert decision.reason is Reason.ROLLING
    assert "new revision" in decision.message


def test_the_number_of_victims_at_a_time_is_bounded():
    story = Story(make_intent(down_window=0.0, high=200))
    decision = story.tick(0, 150, make_signals())
    assert len(decision.cordon) == MOST_VICTIMS


def test_no_new_victim_is_picked_by_a_partial_sum():
    story = Story(QUICK)
    story.tick(0, 2, make_signals(thinking=1))
    (victim,) = story.state.cordon
    decision = story.tick(2, 3, make_signals(thinking=1), complete=False)
    assert decision.cordon == {victim}
    assert len(story.tick(4, 3, make_signals(thinking=1)).cordon) == 2


def test_stuck_replicas_leave_no_faster_than_the_step_policy_allows():
    story = Story(make_intent(down_window=0.0, down=[policy(1, 60.0)]))
    decision = story.tick(0, make_fleet(3, stuck=3), make_signals(thinking=16))
    assert decision.replicas == Scale(to=5)
    full = Story(make_intent(down_window=0.0, down=[policy(1, 60.0)], high=6))
    decision = full.tick(0, make_fleet(3, stuck=3), make_signals(thinking=16))
    assert decision.replicas == Scale(to=5)


def test_a_victim_that_works_on_is_named_with_what_keeps_it():
    story = Story(QUICK)

    def kept(second: float, victim, **reading) -> str:
        replicas = {"ready-0": work(9, remaining=99), "ready-1": victim}
        signals = make_signals(thinking=1, replicas=replicas)
        return story.tick(second, 2, signals, **reading).message

    kept(0, work(0))
    assert "(ready-1: 2 in flight)" in kept(10, work(2, cordoned=True))
    assert "(ready-1: 3 in its engine)" in kept(12, work(0, cordoned=True, running=3))
    silent = work(0, cordoned=True).model_copy(update={"engine": None})
    assert "(ready-1: its engine does not tell its load)" in kept(14, silent)
    old = work(0, cordoned=True, engine_age=20.0)
    assert "(ready-1: its engine was last heard 20 s ago)" in kept(16, old)


def test_a_victim_that_never_idles_is_looked_at_ever_more_seldom():
    story = Story(QUICK)
    busy = make_signals(
        thinking=1, replicas={"ready-0": work(9, remaining=9), "ready-1": work(1, cordoned=True)}
    )
    looked = {s: story.tick(s, 2, busy).next_tick_seconds for s in (0, 60, 150, 450, 9000)}
    assert looked == {0: 2.0, 60: 2.0, 150: 5.0, 450: 15.0, 9000: 15.0}


def blipped(name: str, seconds: float) -> ReplicaView:
    return replica(name, ReplicaState.WARMING, age=600.0, since=seconds)


def fleet_of(*replicas: ReplicaView) -> FleetView:
    return FleetView(replicas=replicas, desired=len(replicas), rolling=False)


def test_a_replica_that_misses_its_probes_is_neither_stuck_nor_replaced():
    ready = [replica(f"ready-{i}", warmed_in=20.0) for i in range(3)]
    story = Story(make_intent(startup_seconds=300.0))
    signals = make_signals(thinking=25, replicas={"blip": work(6)})
    decision = story.tick(0, fleet_of(*ready, blipped("blip", 4.0)), signals)
    assert decision.replicas == Hold(at=4)
    assert decision.stuck == ()
    gone = story.tick(300, fleet_of(*ready, blipped("blip", 304.0)), signals)
    assert gone.stuck == ("blip",)
    assert gone.replicas == Scale(to=5)
    assert gone.reason is Reason.OCCUPANCY


@pytest.mark.parametrize("state", [ReplicaState.WARMING, ReplicaState.STUCK])
def test_the_number_does_not_fall_while_a_replica_that_is_not_ready_works(state: ReplicaState):
    """Kubernetes would remove that one, whoever is marked."""
    intent = make_intent(down_window=0.0, low=3, startup_seconds=100.0)
    story = Story(intent)
    away = replica("r1", state, age=600.0, since=60.0)
    fleet = fleet_of(replica("r0"), away, replica("r2"), replica("r3"))
    at_work = {name: work(3, cordoned=name == "r0") for name in ("r0", "r1", "r2", "r3")}
    decision = story.tick(0, fleet, make_signals(thinking=12, replicas=at_work))
    assert decision.replicas == Hold(at=4)
    assert "no replica is removed while one that is not ready may still work (r1)" in (
        decision.message
    )
    idle = {**at_work, "r1": work(0)}
    assert story.tick(2, fleet, make_signals(thinking=12, replicas=idle)).replicas == Scale(to=3)
    in_engine = {**at_work, "r1": work(0, running=1)}
    signals = make_signals(thinking=12, replicas=in_engine)
    assert story.tick(4, fleet, signals).replicas == Hold(at=4)
    in_engine = {**at_work, "r1": work(0, running=1, engine_age=20.0)}
    signals = make_signals(thinking=12, replicas=in_engine)
    assert story.tick(6, fleet, signals).replicas == Scale(to=3)


def test_an_idle_victim_is_not_told_to_go_while_the_number_stays():
    story = Story(make_intent(down_window=0.0, low=2))
    away = replica("r1", ReplicaState.WARMING, age=600.0, since=60.0)
    fleet = fleet_of(replica("r0"), away, replica("r2"), replica("r3"))
    there = {"r0": work(0, cordoned=True), "r1": work(3), "r2": work(3), "r3": work(3)}
    signals = make_signals(thinking=9, replicas=there)
    assert story.tick(0, fleet, signals).cordon == {"r0"}
    later = story.tick(10, fleet, signals)
    assert later.replicas == Hold(at=4)
    assert later.cordon == {"r0"}
    assert later.retire == ()


def test_a_replica_that_was_ready_a_moment_ago_is_not_removed_for_it():
    intent = make_intent(down_window=0.0, low=3)
    at_work = {name: work(3) for name in ("r0", "r2", "r3")}
    signals = make_signals(thinking=9, replicas=at_work)
    ready = [replica(name) for name in ("r0", "r2", "r3")]
    story = Story(intent)
    assert story.tick(0, fleet_of(*ready, blipped("r1", 5.0)), signals).replicas == Hold(at=4)
    assert story.tick(11, fleet_of(*ready, blipped("r1", 16.0)), signals).replicas == Scale(to=3)
    new = replica("new", ReplicaState.WARMING, age=5.0, since=5.0)
    assert Story(intent).tick(0, fleet_of(*ready, new), signals).replicas == Scale(to=3)
