"""The virtual-time replica against the literal loop over steps, on the same arrivals."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from tests.unit.simulation.engine.small_fleets import EIGHTH, Arrival, arrivals
from thinkscale.fleet.profile import Profile
from thinkscale.fleet.replica import Replica
from thinkscale.simulation.flight import Flight
from thinkscale.simulation.virtual_replica import VirtualReplica

COUNT = 240
REGIMES = {
    "idle": (EIGHTH, 0.1),
    "seats": (EIGHTH, 0.9),
    "few seats": (replace(EIGHTH, seats=6), 0.3),
    "KV cache": (replace(EIGHTH, kv_tokens=24_000), 0.3),
    "KV cache, short chunks": (replace(EIGHTH, kv_tokens=24_000, step_tokens=64), 0.25),
    "no cost of context": (replace(EIGHTH, context_token_seconds=0.0), 0.9),
}


@dataclass
class Served:
    """Times by request, and how often one lost its KV."""

    first: dict[int, float] = field(default_factory=dict)
    answer: dict[int, float] = field(default_factory=dict)
    end: dict[int, float] = field(default_factory=dict)
    preemptions: int = 0


def step_by_step(rows: list[Arrival], profile: Profile) -> Served:
    replica, served, now, coming = Replica(profile), Served(), 0.0, 0
    generated = [0] * len(rows)
    while len(served.end) < len(rows):
        while coming < len(rows) and rows[coming][0] <= now:
            _, prompt, thinking, answer = rows[coming]
            replica.submit(coming, prompt, thinking + answer)
            coming += 1
        step = replica.next_step(now)
        if step is None:
            now = rows[coming][0]
            continue
        now = step.ends_at
        done = replica.advance()
        for at in done.tokens:
            generated[at] += 1
            served.first.setdefault(at, now)
            if generated[at] == rows[at][2] + 1:
                served.answer[at] = now
        served.end.update(dict.fromkeys(done.finished, now))
    served.preemptions = replica.preemptions
    return served


def by_stretches(rows: list[Arrival], profile: Profile, *, look_seconds: float = 0.0) -> Served:
    """`look_seconds`: somebody asks for the counters that often, which must change nothing."""
    replica, served, coming = VirtualReplica(profile), Served(), 0
    flights = [Flight(at, *row) for at, row in enumerate(rows)]
    look = look_seconds or math.inf
    while len(served.end) < len(rows):
        arrival = rows[coming][0] if coming < len(rows) else math.inf
        now = min(arrival, replica.ends_at, look)
        if now == look:
            replica.sync(now)
            look += look_seconds
        elif now == arrival:
            if replica.submit(flights[coming], now):
                replica.begin(now)
            coming += 1
        else:
            served.end.update((flight.index, now) for flight in replica.end())
            replica.begin(now)
    served.first = {flight.index: flight.first_token for flight in flights}
    served.answer = {flight.index: flight.first_answer for flight in flights}
    served.preemptions = replica.preemptions
    return served


def fitting(seed: int, profile: Profile, per_second: float) -> list[Arrival]:
    rows = arrivals(seed, COUNT, per_second, thinking=600)
    return [row for row in rows if sum(row[1:]) <= profile.kv_tokens]


def whole(rows: list[Arrival], served: Served) -> np.ndarray:
    return np.array([served.end[at] - row[0] for at, row in enumerate(rows)])


@pytest.mark.parametrize("regime", REGIMES)
def test_every_time_is_that_of_the_literal_step_loop(regime: str) -> None:
    profile, per_second = REGIMES[regime]
    rows = fitting(7, profile, per_second)

    literal, virtual = step_by_step(rows, profile), by_stretches(rows, profile)

    expected, found = whole(rows, literal), whole(rows, virtual)
    assert found.mean() == pytest.approx(expected.mean(), rel=1e-3)
    assert np.quantile(found, 0.99) == pytest.approx(np.quantile(expected, 0.99), rel=5e-3)
    # They are the same but for rounding, request by request.
    for served, truth in (
        (virtual.first, literal.first),
        (virtual.answer, literal.answer),
        (virtual.end, literal.end),
    ):
        assert served == pytest.approx(truth, abs=1e-6)
    assert virtual.preemptions == literal.preemptions


def test_the_regimes_are_what_their_names_say() -> None:
    preemptions = {}
    for name, (profile, per_second) in REGIMES.items():
        preemptions[name] = by_stretches(fitting(7, profile, per_second), profile).preemptions

    assert preemptions["KV cache"] > 10
    assert preemptions["KV cache, short chunks"] > 10
    assert preemptions["few seats"] == preemptions["idle"] == 0


@pytest.mark.parametrize("regime", ["seats", "KV cache"])
def test_looking_at_the_counters_changes_nothing(regime: str) -> None:
    profile, per_second = REGIMES[regime]
    rows = fitting(3, profile, per_second)

    unseen, looked_at = by_stretches(rows, profile), by_stretches(rows, profile, look_seconds=0.7)

    assert looked_at.end == pytest.approx(unseen.end, abs=1e-6)
    assert looked_at.answer == pytest.approx(unseen.answer, abs=1e-6)
    assert looked_at.preemptions == unseen.preemptions


def test_a_request_alone_takes_its_prefill_and_a_step_for_each_further_token() -> None:
    rows = [(2.0, 100, 30, 10)]
    prefill = EIGHTH.step_seconds(0, 0, 100)
    # The context grows by one token a step; the first of 39 decodes 101 tokens.
    decodes = [EIGHTH.step_seconds(1, 100 + step, 0) for step in range(1, 40)]

    served = by_stretches(rows, EIGHTH)

    assert served.first[0] == pytest.approx(2.0 + prefill)
    assert served.answer[0] == pytest.approx(2.0 + prefill + sum(decodes[:30]))
    assert served.end[0] == pytest.approx(2.0 + prefill + sum(decodes))


def test_nothing_is_left_of_those_that_are_served() -> None:
    profile, per_second = REGIMES["KV cache"]
    rows = fitting(5, profile, per_second)
    replica = VirtualReplica(profile, gateways=2)
    flights = [Flight(at, *row, gateway=at % 2) for at, row in enumerate(rows)]
    for flight in flights:
        if replica.submit(flight, 0.0):
            replica.begin(0.0)

    now, finished = 0.0, 0
    while replica.ends_at < math.inf:
        now = replica.ends_at
        finished += len(replica.end())
        replica.begin(now)

    assert finished == len(rows)
    assert replica.generated_tokens == sum(flight.output for flight in flights)
    assert replica.prompt_tokens > sum(flight.prompt for flight in flights)  # recomputed some
    assert replica.kv_used == replica.context == replica.decoding == 0
    assert replica.counts == replica.decoding_counts == [0, 0]
    assert [replica.held_tokens(gateway, now) for gateway in (0, 1)] == [0, 0]
