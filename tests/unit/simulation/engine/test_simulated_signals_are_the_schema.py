"""What a policy sees is a live gateway's answer: valid by the schema, and its counts add up."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.unit.simulation.engine.small_fleets import EIGHTH, FLOOR_TOKENS, arrivals, scenario
from thinkscale.model.intent import Budget
from thinkscale.model.signals import GatewaySignals
from thinkscale.simulation.ours import thinkscale
from thinkscale.simulation.policy import Factory
from thinkscale.simulation.run import Simulation
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.schedule import static

ROWS = arrivals(21, 200, 0.7, thinking=700)
SHARED = replace(scenario(ROWS, duration_seconds=300.0, replicas=2), gateways=2)


def looks(what: Scenario, factory: Factory) -> Iterator[tuple[Simulation, list[GatewaySignals]]]:
    """Every 20 s, and at the end."""
    simulation = Simulation(what, factory)
    for moment in (*np.arange(5.0, 600.0, 20.0), math.inf):
        simulation.advance(float(moment))
        now = min(float(moment), 10_000.0)
        yield simulation, simulation.eyes.gateways(now)


@pytest.mark.parametrize("factory", [static(2), thinkscale], ids=["static", "ours"])
def test_what_a_gateway_answers_is_valid_by_the_schema(factory: Factory) -> None:
    for _, answers in looks(SHARED, factory):
        for answer in answers:
            wire = answer.model_dump(mode="json", by_alias=True)
            assert GatewaySignals.model_validate(wire) == answer
            assert set(answer.model_dump()) == set(GatewaySignals.model_fields)


def test_phases_ages_and_replicas_add_up_to_the_requests_in_flight() -> None:
    most = 0
    for simulation, answers in looks(SHARED, static(2)):
        for answer in answers:
            counters, phases = answer.counters, answer.phases
            flying = counters.arrivals - counters.completed - counters.failed
            assert phases.in_flight == flying
            placed = [replica.phases.in_flight for replica in answer.replicas.values()]
            assert sum(placed) + answer.held == flying
            assert sum(answer.thinking_ages) == phases.thinking
            assert sum(answer.output_ages) == phases.thinking + phases.answering
            assert counters.answers_begun >= counters.completed
            most = max(most, flying)
        running = [m.replica.running for m in simulation.members.present]
        seated = {m.name: len(m.replica.running) for m in simulation.members.present}
        assert max(len(r) for r in running) <= EIGHTH.seats
        for name, replica in answers[0].replicas.items():
            assert replica.engine is not None
            assert replica.engine.running == seated[name]
            there = sum(answer.replicas[name].phases.in_flight for answer in answers)
            assert replica.engine.running + replica.engine.waiting == there
    assert most > 15


def test_life_tables_are_exposed_to_every_token_that_was_generated() -> None:
    for _, answers in looks(SHARED, static(2)):
        generated = 0
        for answer in answers:
            counters = answer.counters
            assert sum(answer.life_table.exposure_tokens) == counters.thinking_tokens
            total = counters.thinking_tokens + counters.answer_tokens
            assert sum(answer.output_life_table.exposure_tokens) == total
            assert sum(answer.output_life_table.ends) == counters.completed
            assert sum(answer.life_table.ends) == counters.answers_begun
            generated += total
        engines = [replica.engine for replica in answers[0].replicas.values()]
        assert generated == sum(engine.generated_tokens for engine in engines if engine)
    assert generated == sum(thinking + answer for _, _, thinking, answer in ROWS)


def test_counters_never_fall() -> None:
    for (_, before), (_, after) in pairwise(looks(SHARED, thinkscale)):
        for old, new in zip(before, after, strict=True):
            assert new.sequence > old.sequence
            for name, count in old.counters.model_dump().items():
                assert getattr(new.counters, name) >= count
            for name, slo in old.slos.items():
                assert new.slos[name].good >= slo.good
                assert new.slos[name].bad >= slo.bad
            for table in ("life_table", "output_life_table"):
                for column in ("exposure_tokens", "ends"):
                    risen = np.subtract(
                        getattr(getattr(new, table), column), getattr(getattr(old, table), column)
                    )
                    assert risen.min() >= 0


def test_objectives_are_counted_as_they_are_scored() -> None:
    simulation = Simulation(scenario(ROWS, duration_seconds=300.0, replicas=1), static(1))
    simulation.advance(math.inf)

    (answer,) = simulation.eyes.gateways(10_000.0)
    outcome = simulation.outcome("one")

    assert 0.05 < outcome.attainment < 0.9  # one is too few: both kinds are there
    for name, met in outcome.requests.met.items():
        verdicts = answer.slos[name]
        if name == "answer-pace":  # a single answer token has no pace: within it, but not counted
            assert verdicts.bad == np.count_nonzero(~met)
        else:
            assert (verdicts.good, verdicts.bad) == (met.sum(), np.count_nonzero(~met))
        assert verdicts.overdue == 0


def test_a_thought_that_the_declared_budget_ends_is_censored() -> None:
    plain = scenario(ROWS, duration_seconds=300.0, replicas=3)
    budget = Budget(max_tokens=FLOOR_TOKENS, floor_tokens=FLOOR_TOKENS)
    simulation = Simulation(replace(plain, intent=replace(plain.intent, budget=budget)), static(3))
    simulation.advance(math.inf)

    (answer,) = simulation.eyes.gateways(10_000.0)

    thoughts = np.array([thinking for _, _, thinking, _ in ROWS])
    assert not (thoughts == FLOOR_TOKENS).any()
    longer = int(np.count_nonzero(thoughts > FLOOR_TOKENS))
    assert longer > 20
    assert sum(answer.life_table.ends) == len(ROWS) - longer
    assert answer.counters.thinking_tokens == np.minimum(thoughts, FLOOR_TOKENS).sum()
    assert answer.budget.cut == longer
    assert answer.budget.cut_by_load == 0
