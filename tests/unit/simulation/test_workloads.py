"""The draws that scenarios are made of have the moments that their docstrings claim."""

import numpy as np
import pytest

from thinkscale.simulation import generate, loads, replays
from thinkscale.simulation.generate import Burst


def test_streams_of_other_names_or_seeds_have_nothing_in_common() -> None:
    first = generate.stream(1, "a").uniform(size=4)
    assert np.array_equal(first, generate.stream(1, "a").uniform(size=4))
    for other in (generate.stream(2, "a"), generate.stream(1, "b"), generate.stream(1, "a", "b")):
        assert not np.array_equal(first, other.uniform(size=4))


def test_thinned_arrivals_follow_the_rate() -> None:
    at = generate.poisson(
        generate.stream(1, "rate"), lambda t: np.where(t < 5000, 2.0, 8.0), 8.0, 10_000
    )
    assert np.all(np.diff(at) >= 0)
    early, late = np.count_nonzero(at < 5000), np.count_nonzero(at >= 5000)
    assert early == pytest.approx(10_000, abs=4 * 100)
    assert late == pytest.approx(40_000, abs=4 * 200)


def test_a_rate_over_its_peak_is_refused_instead_of_flattened() -> None:
    with pytest.raises(ValueError, match="exceeds its declared peak of 2"):
        generate.poisson(generate.stream(1, "x"), lambda t: np.full(len(t), 3.0), 2.0, 1000)


@pytest.mark.parametrize("dispersion", [1.0, 4.0])
def test_renewals_have_the_rate_and_come_in_clumps(dispersion: float) -> None:
    rng = generate.stream(3, "renewals")
    counts = [len(generate.renewals(rng, 2.0, dispersion, 600.0)) for _ in range(800)]
    assert np.mean(counts) == pytest.approx(1200, rel=0.01)
    assert np.var(counts) / np.mean(counts) == pytest.approx(dispersion, rel=0.2)


def test_renewals_begin_in_the_middle_of_a_gap_so_a_window_has_no_rush_at_its_start() -> None:
    rng = generate.stream(4, "renewals")
    first = np.concatenate([generate.renewals(rng, 0.1, 4.0, 600.0) for _ in range(4000)])
    share = np.count_nonzero(first < 60) / len(first)
    assert share == pytest.approx(0.1, abs=0.006)


def test_no_rate_means_nobody_comes() -> None:
    assert len(generate.renewals(generate.stream(1, "x"), 0.0, 4.0, 600.0)) == 0


def test_lognormal_has_the_mean_and_the_variation() -> None:
    drawn = generate.lognormal(generate.stream(1, "x"), 1500.0, 1.2, 400_000)
    assert drawn.mean() == pytest.approx(1500, rel=0.01)
    assert drawn.std() / drawn.mean() == pytest.approx(1.2, rel=0.03)
    assert np.median(drawn) == pytest.approx(960, rel=0.01)


def test_two_percent_of_a_pareto_from_600_exceed_8192() -> None:
    drawn = generate.pareto(generate.stream(1, "x"), 600.0, 1.5, 400_000)
    assert drawn.min() >= 600
    assert np.mean(drawn > 8192) == pytest.approx(0.0198, abs=0.001)


def test_overlapping_bursts_count_once_the_larger_one() -> None:
    bursts = (Burst(10.0, 20.0, 0.5), Burst(15.0, 25.0, 1.0))
    factor = generate.burst_factor(bursts, np.array([5.0, 12.0, 17.0, 22.0, 25.0]))
    assert factor.tolist() == [1.0, 1.5, 2.0, 2.0, 1.0]


def test_bursts_are_of_the_announced_sizes_and_inside() -> None:
    bursts = generate.bursts(generate.stream(1, "x"), 10, 1800.0, 88_200.0)
    assert len(bursts) == 10
    for burst in bursts:
        assert 1800 <= burst.begin < burst.end <= 88_200
        assert 120 <= burst.end - burst.begin <= 600
        assert 0.5 <= burst.excess <= 1.6


def test_the_day_is_quiet_at_its_begin_and_busy_at_noon() -> None:
    load = loads.smooth(1)
    hours = np.floor((load.workload.at_seconds - 1800) / 3600).astype(int)
    per_second = np.bincount(hours[hours >= 0], minlength=24) / 3600
    assert per_second[0] == pytest.approx(2.6, rel=0.05)
    assert per_second[11:13].mean() == pytest.approx(10.4, rel=0.03)
    assert per_second.mean() == pytest.approx(6.5, rel=0.01)


def test_the_step_is_fivefold_for_an_hour() -> None:
    at = loads.step(1).workload.at_seconds
    edges = [1800, 5400, 9000, 12_600]
    counts = np.histogram(at, edges)[0] / 3600
    assert counts == pytest.approx([3, 15, 3], rel=0.05)
    assert at.max() < 12_600


def test_drifting_thoughts_double_and_nothing_else_changes() -> None:
    load = loads.drift(1)
    at, thinking = load.workload.at_seconds, load.workload.thinking_tokens
    before, after = at < 1800 + 3600, at >= 1800 + 5400
    assert thinking[before].mean() == pytest.approx(1490, rel=0.03)
    assert thinking[after].mean() / thinking[before].mean() == pytest.approx(1.93, abs=0.06)
    answers = load.workload.answer_tokens
    assert answers[after].mean() == pytest.approx(answers[before].mean(), rel=0.02)
    assert after.sum() / 9000 == pytest.approx(8, rel=0.02)


def test_a_budget_ends_the_same_thoughts_earlier() -> None:
    free, bounded = loads.heavy_tail(5).workload, loads.heavy_tail(5, budget_tokens=8192).workload
    assert np.array_equal(free.at_seconds, bounded.at_seconds)
    assert np.array_equal(np.minimum(free.thinking_tokens, 8192), bounded.thinking_tokens)
    assert free.thinking_tokens.max() > 8192


def test_the_ramp_has_the_published_stages() -> None:
    load = loads.ramp(1)
    edges = 600 + np.cumsum([0, *(seconds for seconds, _ in loads.RAMP_STAGES)])
    counts = np.histogram(load.workload.at_seconds, edges)[0]
    assert counts.sum() == pytest.approx(12_480, abs=4 * 112)
    rates = counts / np.diff(edges)
    assert rates == pytest.approx([2, 4, 6, 8, 10, 4, 1], rel=0.15)
    assert load.duration_seconds - load.warm_up_seconds == 2430


def test_the_replayed_day_keeps_rate_lengths_and_their_negative_correlation() -> None:
    load = replays.servegen(1, None)
    workload = load.workload
    scored = workload.at_seconds >= load.warm_up_seconds
    outputs = workload.output_tokens[scored]
    window = ((workload.at_seconds[scored] - load.warm_up_seconds) // 600).astype(int)
    counts = np.bincount(window, minlength=144)
    lengths = np.bincount(window, outputs, 144) / counts
    assert scored.sum() == pytest.approx(0.45 * 1_387_910, rel=0.02)
    assert outputs.mean() == pytest.approx(1531, rel=0.02)
    assert lengths.max() / lengths.min() > 5
    assert np.corrcoef(counts, lengths)[0, 1] == pytest.approx(-0.4, abs=0.05)


def test_within_a_window_of_the_replayed_day_requests_come_in_clumps() -> None:
    load = replays.servegen(2, None)
    minute = (load.workload.at_seconds // 60).astype(int)
    counts = np.bincount(minute, minlength=1470)[30:1470].reshape(144, 10).astype(float)
    dispersion = (counts.var(axis=1, ddof=1) / counts.mean(axis=1)).mean()
    assert dispersion == pytest.approx(4.0, rel=0.25)


def test_the_warm_up_of_the_replayed_day_is_the_end_of_the_same_day() -> None:
    load = replays.servegen(1, None)
    at, prompts = load.workload.at_seconds, load.workload.prompt_tokens
    warm = at < 1800
    assert np.array_equal(prompts[warm], prompts[at >= 86_400])
