"""Those who run hold other prompts than those who arrive, where prompts tell of thoughts."""

import dataclasses

import pytest

from tests.unit.scaling.builders import make_signals
from tests.unit.scaling.tables import exactly
from thinkscale.fleet.profile import REFERENCE
from thinkscale.model.ages import BINS, bin_of
from thinkscale.model.observation import MergedSignals
from thinkscale.model.signals import ReplicaSignals
from thinkscale.scaling.capacity import Bounds, design
from thinkscale.scaling.running_prompt import MOST_RATIO, RunningPrompt, mean_tokens, observe
from thinkscale.scaling.survival import middle

AGE = bin_of(1000)
GENERATED = middle(AGE)


def running(requests: int, prompt_tokens: float) -> MergedSignals:
    """So many requests at two replicas, all at one age, with prompts of this size."""
    ages = [0] * BINS
    ages[AGE] = requests
    held = round(requests * (prompt_tokens + GENERATED))
    shares = {"a": held // 3, "b": held - held // 3}
    replicas = {
        name: ReplicaSignals(ready=True, cordoned=False, context_tokens=tokens)
        for name, tokens in shares.items()
    }
    return dataclasses.replace(make_signals(), output_ages=tuple(ages), replicas=replicas)


def test_the_worked_example_of_its_docstring():
    known = observe(RunningPrompt(), 100.0, running(100, 500))
    assert known.request_seconds == 6000
    assert mean_tokens(known, 2000.0) == pytest.approx(1000, rel=0.001)


@pytest.mark.parametrize("prompt_tokens", [500, 4000])
def test_it_becomes_what_is_counted_and_forgets_within_minutes(prompt_tokens: float):
    known = RunningPrompt()
    for tick in range(60):
        known = observe(known, 15.0 * tick, running(200, 2000))
    assert mean_tokens(known, 2000.0) == pytest.approx(2000, rel=0.01)
    for tick in range(60, 60 + 20):  # one half-life
        known = observe(known, 15.0 * tick, running(200, prompt_tokens))
    assert mean_tokens(known, 2000.0) == pytest.approx((2000 + prompt_tokens) / 2, rel=0.05)


def test_looking_more_often_changes_nothing():
    often = seldom = observe(RunningPrompt(), 0.0, running(100, 500))
    for second in range(1, 601):
        often = observe(often, float(second), running(100, 500))
        if second % 15 == 0:
            seldom = observe(seldom, float(second), running(100, 500))
    assert mean_tokens(often, 2000.0) == pytest.approx(mean_tokens(seldom, 2000.0), rel=0.01)
    assert observe(often, 600.0, running(100, 5)) == often


def test_who_tells_nothing_of_what_is_held_says_nothing():
    known = observe(RunningPrompt(), 0.0, running(100, 500))
    silent = dataclasses.replace(running(100, 500), replicas={})
    assert observe(known, 15.0, silent) == known
    idle = observe(known, 15.0, dataclasses.replace(silent, output_ages=(0,) * BINS))
    assert idle.request_seconds < known.request_seconds


@pytest.mark.parametrize(("counted", "told"), [(1, 1000 / MOST_RATIO), (10**6, 1000 * MOST_RATIO)])
def test_nobody_is_believed_beyond_a_bound(counted: int, told: float):
    known = RunningPrompt()
    for tick in range(200):
        known = observe(known, 15.0 * tick, running(1000, counted))
    assert mean_tokens(known, 1000.0) == told


def test_a_batch_holds_the_prompts_of_those_who_run_and_prefills_those_who_arrive():
    bounds = Bounds(
        seats=128, kv_tokens=600_000, pace_limit_seconds=0.045, step_time=REFERENCE.step_time
    )
    point = design(bounds, exactly(2000), 1000.0, None, running_prompt_tokens=2000.0)
    assert point.context_tokens == pytest.approx(3000, rel=0.001)
    assert point.batch == pytest.approx((42.3 - 15.5) / (0.027 + 0.228 + 0.0255), rel=0.01)
