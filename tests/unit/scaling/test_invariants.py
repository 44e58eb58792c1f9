"""What must hold whatever happens: random fleets, loads, outages and ticks, state through JSON."""

import dataclasses
import json
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scaling.builders import (
    at,
    make_intent,
    make_signals,
    observe,
    percent,
    policy,
    replica,
    work,
)
from thinkscale.model.decision import Blocked, Decision, Hold, LimitedBy, Scale
from thinkscale.model.intent import Budget, Intent, StepPolicy
from thinkscale.model.observation import FleetView, MergedSignals, Observation, ReplicaState
from thinkscale.model.reading import Absent, Failed, Value
from thinkscale.model.signals import ReplicaSignals
from thinkscale.scaling import State, decide

POLICIES = st.lists(
    st.one_of(
        st.builds(policy, st.integers(1, 3), st.sampled_from([10.0, 30.0, 60.0])),
        st.builds(percent, st.sampled_from([25, 50, 100]), st.sampled_from([10.0, 30.0, 60.0])),
    ),
    max_size=2,
)


BUDGETS = st.sampled_from(
    [
        Budget(),
        Budget(max_tokens=4096),
        Budget(floor_tokens=512),
        Budget(max_tokens=4096, floor_tokens=1024),
    ]
)


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    low = draw(st.integers(0, 3))
    return make_intent(
        low=low,
        high=low + draw(st.integers(1, 8)),
        idle_seconds=20.0 if low == 0 else None,
        up=draw(POLICIES),
        up_window=draw(st.sampled_from([0.0, 10.0])),
        down=draw(POLICIES),
        down_window=draw(st.sampled_from([0.0, 15.0, 60.0])),
        startup_seconds=60.0,
        budget=draw(BUDGETS),
        granted=draw(st.sampled_from([None, None, 0, 2, 20])),
    )


@dataclass(frozen=True, slots=True)
class Happening:
    """What the world does until and at the next tick."""

    seconds: float
    load: int
    signals: str
    fleet: str
    busy: frozenset[int]
    stuck: int
    blip: int
    """Which of the ready ones misses its probes."""


HAPPENINGS = st.builds(
    Happening,
    seconds=st.sampled_from([1.0, 2.0, 5.0, 15.0]),
    load=st.integers(0, 60),
    signals=st.sampled_from(["fresh"] * 6 + ["partial", "stale", "absent", "failed"]),
    fleet=st.sampled_from(["seen"] * 9 + ["rolling", "failed"]),
    busy=st.frozensets(st.integers(0, 9), max_size=5),
    stuck=st.sampled_from([0, 0, 0, 1, 2]),
    blip=st.sampled_from([-1, -1, -1, 0, 1, 2]),
)


@dataclass(slots=True)
class Pods:
    """Pods as a Deployment keeps them: created when ordered, ready 20 s later."""

    size: int
    born: dict[str, float] = field(default_factory=dict)
    made: int = 0

    def settle(self, now: float, retire: tuple[str, ...]) -> None:
        while len(self.born) < self.size:
            self.born[f"pod-{self.made}"] = now
            self.made += 1
        order = sorted(self.born, key=lambda n: (now - self.born[n] >= 20, n not in retire, n))
        for name in order[: len(self.born) - self.size]:
            del self.born[name]

    def view(self, now: float, stuck: int, blip: int, *, rolling: bool) -> FleetView:
        replicas = []
        for i, (name, born) in enumerate(self.born.items()):
            age = since = now - born
            state = ReplicaState.READY if age >= 20 else ReplicaState.WARMING
            if state is ReplicaState.WARMING and stuck > 0:
                state, stuck = ReplicaState.STUCK, stuck - 1
            elif state is ReplicaState.READY and i == blip:
                state, since = ReplicaState.WARMING, 16.0
            warmed = 20.0 if state is ReplicaState.READY else None
            replicas.append(replica(name, state, age=age, since=since, warmed_in=warmed))
        return FleetView(replicas=tuple(replicas), desired=self.size, rolling=rolling)


@dataclass(frozen=True, slots=True)
class Seen:
    """One tick, for the checks."""

    at: float
    happening: Happening
    fleet: FleetView
    replicas: dict[str, ReplicaSignals]
    decision: Decision
    to: int


def look(happening: Happening, fleet: FleetView, signals: MergedSignals) -> Observation:
    reading = {
        "fresh": signals,
        "partial": Value(value=signals, age_seconds=1.0, source="gateways", complete=False),
        "stale": Value(value=signals, age_seconds=16.0, source="gateways"),
        "absent": Absent(reason="no gateway"),
        "failed": Failed(error="refused", age_seconds=3.0, source="gateways"),
    }[happening.signals]
    if happening.fleet == "failed":
        return observe(Failed(error="timeout", age_seconds=1.0, source="kubernetes"), reading)
    return observe(fleet, reading)


def play(intent: Intent, start: int, happenings: list[Happening]) -> list[Seen]:
    pods = Pods(size=max(intent.min_replicas, min(start, intent.max_replicas)))
    pods.settle(-100.0, ())
    state, now, seen = State.initial(), 0.0, []
    cordon: frozenset[str] = frozenset()
    for happening in happenings:
        now += happening.seconds
        rolling = happening.fleet == "rolling"
        fleet = pods.view(now, happening.stuck, happening.blip, rolling=rolling)
        replicas = {
            r.name: work(int(i in happening.busy), remaining=i, cordoned=r.name in cordon)
            for i, r in enumerate(fleet.replicas)
            if r.state is ReplicaState.READY or i == happening.blip
        }
        signals = make_signals(thinking=happening.load, arrivals=round(now), replicas=replicas)
        observation = look(happening, fleet, signals)
        decision, after = decide(intent, observation, state, at(now))
        assert decide(intent, observation, state, at(now)) == (decision, after)
        written = json.dumps(after.to_json())
        state = State.from_json(json.loads(written))
        assert state == after
        assert len(written) < 32_000
        cordon = decision.cordon
        match decision.replicas:
            case Scale(to=to) | Hold(at=to):
                pass
            case Blocked():
                to = pods.size
        seen.append(Seen(now, happening, fleet, replicas, decision, to))
        pods.size = to
        pods.settle(now, decision.retire)
    return seen


STORIES = {"start": st.integers(0, 8), "happenings": st.lists(HAPPENINGS, min_size=1, max_size=25)}


@settings(max_examples=40, deadline=None)
@given(intent=intents(), **STORIES)
def test_replicas_stay_between_minimum_and_maximum(intent, start, happenings):
    granted = intent.max_replicas if intent.granted_replicas is None else intent.granted_replicas
    least = min(intent.min_replicas, granted)
    for tick in play(intent, start, happenings):
        assert least <= tick.to <= max(intent.max_replicas, start)
        assert tick.to <= max(tick.fleet.desired, min(intent.max_replicas, granted))
        if not isinstance(tick.decision.replicas, Blocked):
            assert least <= tick.decision.wanted <= intent.max_replicas


@settings(max_examples=40, deadline=None)
@given(intent=intents(), **STORIES)
def test_a_brown_out_is_only_for_those_who_opted_in_and_never_under_the_floor(
    intent, start, happenings
):
    declared = intent.budget
    opted_in = declared.floor_tokens is not None
    heard = None
    for tick in play(intent, start, happenings):
        if tick.happening.signals == "fresh" and tick.happening.fleet != "failed":
            heard = tick.at
        rule = tick.decision.directive.brownout
        if not opted_in or heard is None or tick.at - heard > 60:
            assert rule is None
            continue
        assert rule is not None
        assert rule.floor_tokens >= declared.floor_tokens
        assert rule.floor_tokens <= (declared.max_tokens or 65_536)
        assert 0 < (rule.until - at(tick.at)).total_seconds() <= 60
        assert all(p.budget_tokens >= declared.floor_tokens for p in rule.carried)


@settings(max_examples=40, deadline=None)
@given(intent=intents(), **STORIES)
def test_nothing_shrinks_without_complete_and_fresh_signals_or_in_a_roll(intent, start, happenings):
    before = None
    for tick in play(intent, start, happenings):
        trusted = tick.happening.signals == "fresh" and tick.happening.fleet == "seen"
        if not trusted:
            assert tick.to >= tick.fleet.desired
            assert tick.decision.retire == ()
            if before is not None:
                assert tick.decision.cordon <= before.decision.cordon
        before = tick


@settings(max_examples=40, deadline=None)
@given(intent=intents(), **STORIES)
def test_victims_are_ready_and_only_idle_ones_are_retired(intent, start, happenings):
    for tick in play(intent, start, happenings):
        if isinstance(tick.decision.replicas, Blocked):
            continue
        ready = {r.name for r in tick.fleet.replicas if r.state is ReplicaState.READY}
        assert tick.decision.cordon <= ready
        assert set(tick.decision.retire) <= tick.decision.cordon
        assert set(tick.decision.directive.cordoned) == tick.decision.cordon
        assert len(tick.decision.retire) <= tick.fleet.desired - tick.to or not tick.decision.retire
        for name in tick.decision.retire:
            assert tick.replicas[name].phases.in_flight == 0
            assert tick.replicas[name].engine.running == 0
        not_ready = tick.fleet.desired - len(ready)
        assert tick.to >= tick.fleet.desired - max(0, not_ready) - len(tick.decision.retire)


def _start(ticks: list[Seen], now: float, period: float) -> int:
    """The size, as the law has seen it, with which the period that ends now began."""
    size = ticks[0].fleet.desired
    for tick in ticks:
        if tick.at <= now - period:
            size = tick.fleet.desired
    return size


def _bound(policies: tuple[StepPolicy, ...], ticks: list[Seen], now: float, up: bool) -> float:
    limits = []
    for p in policies:
        start = _start(ticks, now, p.period_seconds)
        step = p.pods if p.pods is not None else start * p.percent / 100
        limits.append(start + step if up else start - step)
    return max(*limits, 1) + 0.999 if up else min(limits) - 0.999


@settings(max_examples=60, deadline=None)
@given(intent=intents(), **STORIES)
def test_no_window_sees_more_change_than_its_step_policies_allow(intent, start, happenings):
    ticks = play(dataclasses.replace(intent, granted_replicas=None), start, happenings)
    known = [t for t in ticks if not isinstance(t.decision.replicas, Blocked)]
    for i, tick in enumerate(known):
        if tick.to > tick.fleet.desired and intent.scale_up.policies:
            bound = _bound(intent.scale_up.policies, known[: i + 1], tick.at, True)
            assert tick.to <= max(bound, tick.fleet.desired)
        if tick.to < tick.fleet.desired and intent.scale_down.policies:
            bound = _bound(intent.scale_down.policies, known[: i + 1], tick.at, False)
            assert tick.to >= min(bound, tick.fleet.desired)


@settings(max_examples=40, deadline=None)
@given(intent=intents(), **STORIES)
def test_stuck_replicas_never_count_as_supply(intent, start, happenings):
    for tick in play(intent, start, happenings):
        decision = tick.decision
        if isinstance(decision.replicas, Blocked):
            continue
        stuck = sum(r.state is ReplicaState.STUCK for r in tick.fleet.replicas)
        ready = sum(r.state is ReplicaState.READY for r in tick.fleet.replicas)
        assert len(decision.stuck) == stuck
        assert decision.numbers["ready"] + decision.numbers["warming"] + stuck == max(
            tick.fleet.desired, len(tick.fleet.replicas)
        )
        unlimited = decision.limited_by in (LimitedBy.NONE, LimitedBy.MIN_REPLICAS)
        if unlimited and ready < decision.wanted and not intent.scale_up.policies:
            assert tick.to >= decision.wanted + min(stuck, decision.wanted)


@settings(max_examples=40, deadline=None)
@given(intent=intents(), **STORIES)
def test_no_number_falls_while_a_replica_that_is_not_ready_works(intent, start, happenings):
    for tick in play(intent, start, happenings):
        at_work = {name for name, r in tick.replicas.items() if r.phases.in_flight > 0}
        if any(
            r.name in at_work and r.state is not ReplicaState.READY for r in tick.fleet.replicas
        ):
            assert tick.to >= min(tick.fleet.desired, len(tick.fleet.replicas))


@settings(max_examples=40, deadline=None)
@given(intent=intents(), **STORIES)
def test_every_decision_says_why_and_when_to_look_again(intent, start, happenings):
    for tick in play(intent, start, happenings):
        assert tick.decision.message
        assert 2.0 <= tick.decision.next_tick_seconds <= 15.0
        assert tick.decision.id == tick.decision.directive.id
        assert not any(value != value for value in tick.decision.numbers.values())
