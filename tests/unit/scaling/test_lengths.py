"""Life tables and the lengths that they imply: the arithmetic, the forgetting, the trend."""

import dataclasses
import math
import random

import pytest

from tests.unit.scaling.builders import make_intent, make_signals
from tests.unit.scaling.tables import exactly, memoryless, table
from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS, bin_of
from thinkscale.scaling import State, knowledge, length_trend, life_table
from thinkscale.scaling.lead_time import Warmed
from thinkscale.scaling.length_trend import LengthTrend
from thinkscale.scaling.life_table import Lengths, Table
from thinkscale.scaling.survival import LONGEST_TOKENS, Survival


@pytest.mark.parametrize("mean", [50, 300, 3000])
def test_a_constant_hazard_has_no_memory(mean: int):
    lengths = memoryless(mean)
    for age in (0, 10, 500, 5000):
        assert lengths.remaining(age) == pytest.approx(mean, rel=0.01)
    assert lengths.longer_than(mean) == pytest.approx(1 / math.e, rel=0.01)
    assert lengths.survives(700, mean) == pytest.approx(1 / math.e, rel=0.01)
    assert lengths.quantile(0.5) == pytest.approx(mean * math.log(2), rel=0.01)
    assert lengths.square_within(LONGEST_TOKENS) == pytest.approx(2 * mean**2, rel=0.02)


@pytest.mark.parametrize("within", [100, 777, 1000, 3333])
def test_moments_inside_a_bin_are_those_of_the_exponential(within: int):
    lengths, u = memoryless(500), within / 500
    assert lengths.mean_within(within) == pytest.approx(500 * (1 - math.exp(-u)), rel=0.001)
    square = 2 * 500**2 * (1 - math.exp(-u) * (1 + u))
    assert lengths.square_within(within) == pytest.approx(square, rel=0.001)


def test_recent_lengths_beyond_five_times_the_slow_ones_are_taken_for_five_times():
    slow, recent = table(1 / 100), table(1 / 2000, ends=50.0)
    tail = 40
    mixed = dataclasses.replace(
        slow,
        exposure_tokens=(*recent.exposure_tokens[:tail], *(0.0,) * (BINS - tail)),
        ends=(*recent.ends[:tail], *(0.0,) * (BINS - tail)),
    )
    assert Survival(mixed, None).remaining(60_000) == pytest.approx(500, rel=0.02)


def test_a_budget_bounds_what_is_expected():
    lengths = memoryless(300, 300)
    assert lengths.mean == pytest.approx(300 * (1 - 1 / math.e), rel=0.01)
    assert lengths.mean_within(300) == lengths.mean
    assert memoryless(300).mean_within(300) == pytest.approx(lengths.mean, rel=0.001)
    assert lengths.remaining(300) == 0.0
    assert lengths.longer_than(300) == 0.0
    assert lengths.survives(100, 250) == 0.0
    assert lengths.quantile(0.999) == 300
    ages = (4, *(0,) * 44)
    assert lengths.backlog_tokens(ages, 0) == pytest.approx(4 * lengths.remaining(16), rel=0.001)
    assert lengths.backlog_tokens((0,) * 45, 7) == pytest.approx(7 * lengths.mean)


def test_when_nobody_ends_the_whole_budget_is_used():
    lengths = exactly(4096)
    assert lengths.mean == pytest.approx(4096, rel=0.001)
    assert lengths.square_within(4096) == pytest.approx(4096**2, rel=0.001)
    assert lengths.quantile(0.99) == 4096


def test_a_budget_of_nothing_leaves_nothing_to_think():
    lengths = Survival(Table(), 0)
    assert lengths.mean == 0.0
    assert lengths.backlog_tokens((0,) * 45, 7) == 0.0
    assert not lengths.known
    assert not lengths.certain


def test_ends_at_the_youngest_ages_alone_say_nothing_of_the_mean():
    """A hundred and forty began 20 s ago and eight have ended: nobody has been old yet."""
    exposure = tuple(100_000.0 if edge < 500 else 0.0 for edge in AGE_EDGES_TOKENS)
    ends = tuple(2.0 if 100 < edge < 500 else 0.0 for edge in AGE_EDGES_TOKENS)
    young = Table(
        exposure_tokens=exposure, ends=ends, slow_exposure_tokens=exposure, slow_ends=ends
    )
    assert sum(ends) >= 8
    assert Survival(young, None).known
    assert not Survival(young, None).certain
    assert Survival(young, 600).certain  # a budget bounds what is not known
    assert memoryless(300).certain


@pytest.mark.parametrize(("ends", "certain"), [(7.0, False), (8.0, True)])
def test_eight_ends_are_enough_to_extrapolate_with(ends: float, certain: bool):
    exposure = (10_000.0, *(0.0,) * (BINS - 1))
    ended = (ends, *(0.0,) * (BINS - 1))
    few = Table(
        exposure_tokens=exposure, ends=ended, slow_exposure_tokens=exposure, slow_ends=ended
    )
    assert Survival(few, AGE_EDGES_TOKENS[1]).certain is certain


def test_the_moments_agree_with_a_million_draws_of_a_heavy_tail():
    """Pareto(1.5) from 600: cut at 8,192, 2 % are cut, as a table of true lengths should say."""
    rng = random.Random(5)
    draws = [min(32_768, round(600 * rng.paretovariate(1.5))) for _ in range(200_000)]
    exposure, ends = [0.0] * BINS, [0.0] * BINS
    for length in draws:
        ends[bin_of(length)] += 1
    edges = life_table_edges()
    for j in range(BINS - 1):
        exposure[j] = sum(min(x, edges[j + 1]) - edges[j] for x in draws if x > edges[j])
    made = Table(
        exposure_tokens=tuple(exposure),
        ends=tuple(ends),
        slow_exposure_tokens=tuple(exposure),
        slow_ends=tuple(ends),
    )
    lengths = Survival(made, None)
    for bound in (1024, 4096, 8192, 32_768):
        cut = [min(x, bound) for x in draws]
        assert lengths.mean_within(bound) == pytest.approx(sum(cut) / len(cut), rel=0.02)
        square = sum(x * x for x in cut) / len(cut)
        assert lengths.square_within(bound) == pytest.approx(square, rel=0.06)
    assert lengths.longer_than(8192) == pytest.approx(0.02, rel=0.1)


def life_table_edges() -> tuple[int, ...]:
    from thinkscale.model.ages import AGE_EDGES_TOKENS

    return AGE_EDGES_TOKENS


def test_lengths_that_are_stretched_have_everything_stretched_but_the_budget():
    plain, longer = memoryless(300), memoryless(300, stretch=1.2)
    assert longer.mean == pytest.approx(1.2 * plain.mean, rel=0.001)
    assert longer.longer_than(1200) == pytest.approx(plain.longer_than(1000), rel=0.001)
    assert memoryless(3000, 500, stretch=1.2).bound == 500


def test_what_happens_at_ages_that_are_stretched_past_the_budget_is_no_matter():
    """From the 20th edge on thoughts end at once; stretched by 1.2 that is beyond the budget."""
    plain, edge = table(1 / 3000), AGE_EDGES_TOKENS[20]
    ends = (*plain.ends[:20], *(1000 * n for n in plain.ends[20:]))
    abrupt = dataclasses.replace(plain, ends=ends, slow_ends=ends)
    bound = round(1.1 * edge)
    known, smooth = Survival(abrupt, bound, 1.2), Survival(plain, bound, 1.2)
    assert known.mean == pytest.approx(smooth.mean, rel=1e-6)
    assert known.remaining(edge) == pytest.approx(smooth.remaining(edge), rel=1e-6)
    assert Survival(abrupt, bound).mean < 0.999 * Survival(plain, bound).mean


def test_lengths_are_never_taken_to_more_than_double_however_late_a_replica_comes():
    """A rise of a ninth of a percent a second for a lead of 20 minutes would be threefold."""
    slowly = Warmed(name="r-0", ready_at=0.0, seconds=1200.0)
    rising = LengthTrend(at=0.0, slope=1 / 900)
    assert length_trend.stretch(rising, 1215.0) > 3
    state = State(lead_times=(slowly,), length_trend=rising)
    assert knowledge.gather(state, make_intent(), None).outputs.stretch == 2.0


def test_where_recent_ends_are_few_the_slow_twin_speaks_rescaled():
    """All lengths have doubled lately: where nothing ended recently, the old hazard is halved."""
    slow = table(1 / 300)
    recent = table(1 / 600, ends=100.0)
    tail = 40
    exposure = (*recent.exposure_tokens[:tail], *(0.0,) * (BINS - tail))
    ends = (*recent.ends[:tail], *(0.0,) * (BINS - tail))
    mixed = dataclasses.replace(slow, exposure_tokens=exposure, ends=ends)
    lengths = Survival(mixed, None)
    assert lengths.mean == pytest.approx(600, rel=0.02)
    assert lengths.remaining(60_000) == pytest.approx(600, rel=0.02)


def _observed(lengths: Lengths, second: float, mean: int, thoughts: int, rate: float) -> Lengths:
    signals = make_signals(mean_tokens=mean, thoughts=thoughts, arrivals=thoughts)
    return life_table.observe(lengths, second, signals, rate)


def test_requests_that_go_on_count_by_their_exposure():
    first = _observed(Lengths(), 1.0, 300, 50, 1.0)
    before = Survival(first.outputs, None).mean
    signals = make_signals(mean_tokens=300, thoughts=50)
    counts = signals.output_life_table
    longer = counts.model_copy(
        update={"exposure_tokens": tuple(2 * e for e in counts.exposure_tokens)}
    )
    after = life_table.observe(
        first, 5.0, dataclasses.replace(signals, output_life_table=longer), 1.0
    )
    assert Survival(after.outputs, None).mean > 1.5 * before


def test_half_of_what_is_known_is_forgotten_in_the_time_of_fourteen_hundred_requests():
    assert life_table.half_life_seconds(8.0) == pytest.approx(173, abs=1)
    assert life_table.half_life_seconds(100.0) == 120.0
    assert life_table.half_life_seconds(0.01) == 3600.0
    assert life_table.half_life_seconds(None) == 3600.0


def test_ticking_every_second_forgets_as_fast_as_every_fifteen():
    def after(step: int) -> Lengths:
        lengths = Lengths()
        for second in range(1, 602, step):
            lengths = _observed(lengths, float(second), 300, 8 * second, 8.0)
        return lengths

    often, seldom = after(1), after(15)
    assert sum(often.outputs.ends) == pytest.approx(sum(seldom.outputs.ends), rel=0.03)
    assert sum(often.outputs.slow_ends) == pytest.approx(sum(seldom.outputs.slow_ends), rel=0.03)


def test_an_idle_night_forgets_nothing():
    busy = _observed(Lengths(), 1.0, 300, 500, 1.0)
    night = busy
    for hour in range(1, 9):
        night = _observed(night, 3600.0 * hour, 300, 500, 0.001)
    assert night.outputs.ends == busy.outputs.ends


def test_counts_of_another_edges_version_are_not_mixed_in():
    signals = make_signals(mean_tokens=300)
    strange = signals.output_life_table.model_copy(update={"edges_version": 2})
    lengths = life_table.observe(
        Lengths(), 1.0, dataclasses.replace(signals, output_life_table=strange), 1.0
    )
    assert lengths.outputs == Table()
    assert sum(lengths.thinking.ends) > 0


def test_a_trend_of_the_mean_is_followed_damped_and_bounded():
    assert length_trend.stretch(LengthTrend(slope=1 / 2600), 255.0) == pytest.approx(1.122, 0.001)
    assert length_trend.stretch(LengthTrend(slope=1.0), 255.0) == pytest.approx(1.396, 0.001)
    assert length_trend.stretch(LengthTrend(slope=-1.0), 255.0) == pytest.approx(0.920, 0.001)
    trend = LengthTrend()
    for second in range(0, 3600, 15):
        trend = length_trend.observe(trend, float(second), 1500 * 2 ** (second / 1800))
    assert trend.slope == pytest.approx(math.log(2) / 1800, rel=0.02)
    same = length_trend.observe(trend, trend.at + 5.0, 9999.0)
    assert same is trend
    assert length_trend.observe(trend, trend.at + 500.0, 3000.0).slope == trend.slope
    assert length_trend.observe(trend, 1e9, 0.0) is trend
