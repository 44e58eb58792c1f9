"""The block bootstrap against cases whose answer is known in closed form."""

import math

import numpy as np
import pytest

from tests.unit.simulation.outcomes import outcome
from thinkscale.simulation import bootstrap, statistics
from thinkscale.simulation.statistics import Blocks


def _blocks(arrived, good, gpu=None) -> Blocks:
    arrived, good = np.asarray(arrived, float), np.asarray(good, float)
    gpu = np.ones(len(arrived)) if gpu is None else np.asarray(gpu, float)
    return Blocks(arrived=arrived, good=good, clean=good, gpu_hours=gpu)


def test_independent_blocks_of_equal_size_give_the_normal_bound():
    generator = np.random.default_rng(1)
    good = generator.binomial(1000, 0.98, size=400).astype(float)
    blocks = _blocks(np.full(400, 1000.0), good)
    shares = good / 1000
    expected = shares.mean() - 1.645 * shares.std(ddof=1) / math.sqrt(400)
    assert bootstrap.attainment_lower_bound(blocks) == pytest.approx(expected, abs=8e-5)


def test_misses_that_come_together_widen_the_bound_by_the_root_of_the_block():
    # 40 of 400 blocks of 100 requests are lost whole: as uncertain as 40 of 400 requests.
    together = _blocks(np.full(400, 100.0), np.where(np.arange(400) % 10 < 1, 0.0, 100.0))
    scattered = _blocks(np.full(400, 100.0), np.random.default_rng(2).binomial(100, 0.9, 400))
    widths = [
        statistics.attainment(blocks) - bootstrap.attainment_lower_bound(blocks)
        for blocks in (together, scattered)
    ]
    assert widths[0] == pytest.approx(1.645 * math.sqrt(0.9 * 0.1 / 400), rel=0.15)
    assert widths[0] / widths[1] == pytest.approx(math.sqrt(100), rel=0.2)


def test_the_lower_bound_covers_the_truth_in_about_95_of_100_cases():
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        bad = generator.gamma(0.5, 2.0, size=120)  # skewed, as misses are; mean 1 of 100
        blocks = _blocks(np.full(120, 100.0), 100 - bad)
        covered += bootstrap.attainment_lower_bound(blocks) < 0.99
    assert 0.91 <= covered / 200 <= 0.99


def test_what_both_policies_suffer_cancels_in_the_paired_interval():
    generator = np.random.default_rng(4)
    load = generator.uniform(5, 50, size=200)
    one = _blocks(np.full(200, 10.0), np.full(200, 10.0), load)
    other = _blocks(np.full(200, 10.0), np.full(200, 9.0), 0.8 * load)
    ratio = bootstrap.gpu_ratio(one, other)
    assert (ratio.low, ratio.estimate, ratio.high) == pytest.approx((1.25, 1.25, 1.25))
    difference = bootstrap.attainment_difference(one, other)
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))


def test_the_paired_ratio_has_the_width_of_the_linearised_ratio():
    generator = np.random.default_rng(5)
    below = generator.uniform(5, 15, size=300)
    above = below * generator.normal(1.1, 0.05, size=300)
    ratio = bootstrap.gpu_ratio(
        _blocks(np.ones(300), np.ones(300), above), _blocks(np.ones(300), np.ones(300), below)
    )
    residual = above - ratio.estimate * below
    deviation = residual.std(ddof=1) / math.sqrt(300) / below.mean()
    assert ratio.high - ratio.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def _seeds(parts: np.ndarray) -> Blocks:
    """Good requests of 100 arrived, by seed and block; arrivals differ a little by seed."""
    return statistics.pooled(
        [_blocks(np.full(len(good), 100.0 + i / 1e6), good) for i, good in enumerate(parts)]
    )


def test_what_a_scenario_does_to_every_seed_alike_is_no_uncertainty():
    hours = np.full(18, 100.0)
    hours[6:12] = 40.0
    every = _seeds(np.tile(hours, (4, 1)))
    assert bootstrap.attainment_lower_bound(every) == pytest.approx(0.8, abs=1e-6)
    one = _blocks(np.full(18, 100.0), hours)
    assert bootstrap.attainment_lower_bound(one) < 0.71


def test_the_spread_between_few_seeds_gives_the_normal_bound():
    generator = np.random.default_rng(7)
    lost = np.repeat(generator.gamma(4.0, 1.0, size=(3, 40)), 6, axis=1)  # hours of one kind
    blocks = _seeds(100 - lost)
    spread = np.sqrt(lost[:, ::6].var(axis=0, ddof=1).mean() / (3 * 40)) / 100
    expected = statistics.attainment(blocks) - 1.645 * spread
    assert bootstrap.attainment_lower_bound(blocks) == pytest.approx(expected, abs=3e-4)


def test_a_recorded_trace_is_not_repeated_by_another_seed():
    part = _blocks(np.full(12, 100.0), np.full(12, 99.0))
    assert statistics.pooled([part, part]).seeds == 1
    assert statistics.pooled([part]).seeds == 1
    assert _seeds(np.full((3, 12), 99.0)).seeds == 3


def test_one_block_says_nothing_of_its_uncertainty():
    assert bootstrap.attainment_lower_bound(_blocks([100], [99])) is None


def test_runs_of_different_traces_are_not_paired():
    with pytest.raises(ValueError, match="same seeds"):
        bootstrap.gpu_ratio(_blocks([1, 2], [1, 2]), _blocks([2, 1], [2, 1]))


def test_a_dead_hour_is_the_worst_hour_wherever_it_begins():
    good = np.full(36, 100.0)
    good[9:15] = 20.0
    assert statistics.worst_hour(_blocks(np.full(36, 100.0), good)) == pytest.approx(0.2)


def test_an_hour_with_hardly_a_request_is_no_worst_hour():
    arrived = np.concatenate((np.full(12, 100.0), np.full(6, 1.0)))
    good = np.concatenate((np.full(12, 99.0), np.zeros(6)))
    assert statistics.worst_hour(_blocks(arrived, good)) > 0.9


def test_blocks_count_every_request_once_and_bill_every_gpu_hour_once():
    run = outcome(seed=1, hours=2.4)
    blocks = statistics.blocks_of(run, 1800.0)
    assert len(blocks) == 14
    assert blocks.arrived.sum() == len(run.requests.arrived_seconds)
    assert blocks.good.sum() == run.requests.good.sum()
    assert blocks.gpu_hours.sum() == pytest.approx(run.gpu_hours)
    assert (blocks.clean <= blocks.good).all()


def test_the_bill_of_a_block_is_what_stood_during_it():
    run = outcome(seed=1, hours=1.0, billed=lambda at: np.where(at < 1800 + 1800, 2, 6))
    blocks = statistics.blocks_of(run, 1800.0)
    assert blocks.gpu_hours[3:].sum() / blocks.gpu_hours[:3].sum() == pytest.approx(3, rel=0.02)


def test_a_request_that_never_ended_is_infinitely_late_in_the_quantiles():
    values = np.array([1.0, 2.0, 3.0, np.nan])
    assert statistics.quantiles(values, (0.5, 0.75, 0.99)) == [2.0, 3.0, math.inf]


def test_minutes_of_violation_count_windows_under_the_target():
    run = outcome(seed=1, hours=1.0)
    late = (run.requests.arrived_seconds >= 2400) & (run.requests.arrived_seconds < 3000)
    requests = run.requests
    object.__setattr__(requests, "met", {"wait": ~late})
    assert statistics.violation_minutes(requests, 0.99) == 10.0
