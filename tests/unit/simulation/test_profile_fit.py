"""Fitted distributions against samples whose law is known."""

import math

import numpy as np
import pytest

from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS, bin_of
from thinkscale.model.signals import LATENCY_EDGES_SECONDS, Histogram, LifeTableCounts
from thinkscale.simulation import profile_fit
from thinkscale.simulation.profile_fit import TailKind
from thinkscale.simulation.workload import Workload


def test_a_pareto_tail_is_recognised_with_its_index():
    sample = 300 * np.random.default_rng(1).pareto(1.5, 100_000) + 300
    fitted = profile_fit.fit(sample)
    assert fitted.tail.kind is TailKind.PARETO
    assert fitted.tail.pareto_index == pytest.approx(1.5, abs=0.06)
    assert fitted.tail.exceeds(10 * fitted.tail.threshold) == pytest.approx(10**-1.5, rel=0.15)


def test_a_lognormal_tail_is_recognised_and_says_how_much_lies_beyond():
    sample = np.random.default_rng(2).lognormal(6.5, 1.0, 100_000)
    fitted = profile_fit.fit(sample)
    assert fitted.tail.kind is TailKind.LOGNORMAL
    assert (fitted.log_mean, fitted.log_deviation) == pytest.approx((6.5, 1.0), abs=0.01)
    p999 = math.exp(6.5 + 3.0902)
    assert fitted.tail.share * fitted.tail.exceeds(p999) == pytest.approx(0.001, rel=0.12)


def test_moments_are_those_of_the_values():
    fitted = profile_fit.fit([1.0, 3.0])
    assert (fitted.mean, fitted.second_moment, fitted.variation) == (2.0, 5.0, 0.5)
    assert fitted.residual_mean == 1.25
    assert fitted.tail.kind is TailKind.NONE


def test_nothing_seen_is_no_distribution():
    with pytest.raises(ValueError, match="nothing was seen"):
        profile_fit.fit([])


def test_the_body_is_as_seen_and_the_tail_follows_its_law():
    sample = 300 * np.random.default_rng(3).pareto(2.0, 40_000) + 300
    fitted = profile_fit.fit(sample)
    x = np.array([400.0, fitted.tail.threshold * 2])
    seen, law = profile_fit.exceeding(fitted, sample, x)
    assert seen[0] == law[0]
    assert law[1] == pytest.approx(0.05 * 2**-fitted.tail.pareto_index, rel=0.01)


def test_the_context_of_running_requests_is_biased_to_the_long_ones():
    load = Workload(
        name="two",
        at_seconds=np.array([0.0, 1.0]),
        prompt_tokens=np.array([1000, 1000]),
        thinking_tokens=np.array([900, 8900]),
        answer_tokens=np.array([100, 100]),
    )
    assert profile_fit.length_biased_context(load) == pytest.approx((5100, 3500))


def _table(lengths, finished) -> LifeTableCounts:
    """Counts as a gateway makes them; the unfinished are censored at their length."""
    exposure, ends = [0] * BINS, [0] * BINS
    for length, is_finished in zip(lengths, finished, strict=True):
        last = bin_of(int(length))
        for j in range(last):
            exposure[j] += AGE_EDGES_TOKENS[j + 1] - AGE_EDGES_TOKENS[j]
        exposure[last] += int(length) - AGE_EDGES_TOKENS[last]
        ends[last] += bool(is_finished)
    return LifeTableCounts(exposure_tokens=tuple(exposure), ends=tuple(ends))


def test_a_life_table_gives_the_quantiles_of_the_lengths_it_counted():
    lengths = np.random.default_rng(4).lognormal(6.8, 0.9, 20_000)
    values = profile_fit.values_of_table(_table(lengths, np.ones(20_000)))
    for mark in (0.1, 0.5, 0.9, 0.99):
        assert np.quantile(values, mark) == pytest.approx(np.quantile(lengths, mark), rel=0.06)
    assert values.mean() == pytest.approx(lengths.mean(), rel=0.03)


def test_cancelled_requests_do_not_make_the_lengths_look_short():
    generator = np.random.default_rng(5)
    lengths, patience = generator.exponential(1000, 20_000), generator.exponential(2000, 20_000)
    finished = lengths <= patience
    values = profile_fit.values_of_table(_table(np.minimum(lengths, patience), finished))
    assert values.mean() == pytest.approx(1000, rel=0.04)
    assert lengths[finished].mean() < 700  # what statistics of the finished alone would say


def test_a_table_without_an_end_says_nothing():
    assert len(profile_fit.values_of_table(_table([500], [False]))) == 0


def test_a_histogram_gives_quantiles_within_its_bins():
    seconds = np.random.default_rng(6).lognormal(2.5, 0.8, 20_000)
    counts = np.bincount(
        np.searchsorted(LATENCY_EDGES_SECONDS, seconds), minlength=len(LATENCY_EDGES_SECONDS) + 1
    )
    histogram = Histogram(counts=tuple(int(c) for c in counts), sum_seconds=float(seconds.sum()))
    values = profile_fit.values_of_histogram(histogram)
    for mark in (0.05, 0.5, 0.95, 0.99):
        assert np.quantile(values, mark) == pytest.approx(np.quantile(seconds, mark), rel=0.05)


def test_an_empty_histogram_says_nothing():
    assert len(profile_fit.values_of_histogram(Histogram())) == 0
