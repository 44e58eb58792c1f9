"""When a prediction fits a measurement, and what the pieces of the comparison are."""

import dataclasses

import numpy as np
import pytest

from e2e.fidelity import verdict
from e2e.fidelity.client import Served
from e2e.fidelity.verdict import Columns, Figure
from thinkscale.fleet.profile import Profile
from thinkscale.fleet.replica import Replica

PROFILE = Profile(
    name="tiny",
    base_seconds=0.005,
    sequence_seconds=0.00015,
    context_token_seconds=7.5e-7,
    prompt_token_seconds=0.00014,
    kv_tokens=100_000,
    seats=4,
)


def served(at: float, *, ttft: float = 0.05, thinking: int = 10, answer: int = 5) -> Served:
    return Served(
        phase="calm" if at < 10 else "saturating",
        intended=at,
        sent=at + 0.001,
        first_token=at + ttft,
        end=at + ttft + 0.01 * (thinking + answer - 1),
        prompt_tokens=100,
        thinking_tokens=thinking,
        answer_tokens=answer,
    )


def columns(ttft: list[float]) -> Columns:
    values = np.array(ttft)
    return Columns(
        phase=np.array(["calm"] * len(ttft)),
        arrived=np.arange(len(ttft), dtype=float),
        ttft=values,
        tpot=values,
        e2e=values,
    )


def figure(observed: float, predicted: float, tolerance: float) -> Figure:
    return Figure(
        phase="all",
        indicator="ttft",
        quantile="p50",
        observed=observed,
        predicted=predicted,
        spread=0.0,
        tolerance=tolerance,
    )


def test_latencies_count_from_the_intended_instant() -> None:
    request = served(3.0, ttft=0.5)
    assert request.ttft_seconds == pytest.approx(0.5)
    assert request.tpot_seconds == pytest.approx(0.01)
    assert request.e2e_seconds == pytest.approx(0.64)
    assert verdict.send_lag_p99_seconds([request]) == pytest.approx(0.001)


def test_a_single_token_has_no_pace() -> None:
    assert np.isnan(served(1.0, thinking=0, answer=1).tpot_seconds)
    made = verdict.measured([served(1.0, thinking=0, answer=1), served(2.0)])
    assert made.quantile("all", "tpot", 0.5) == pytest.approx(0.01)


def test_a_prediction_within_the_tolerance_fits_on_either_side() -> None:
    assert figure(1.0, 1.09, 0.1).fits
    assert figure(1.0, 0.91, 0.1).fits
    assert not figure(1.0, 1.11, 0.1).fits
    assert not figure(1.0, 0.89, 0.1).fits


def test_twice_the_spread_of_repeated_runs_is_tolerated_where_that_is_wider() -> None:
    # 10.0 and 10.4: standard deviation 0.283, mean 10.2.
    runs = [columns([10.0] * 3), columns([10.4] * 3)]
    assert verdict.spread(runs, "all", "ttft", 0.5) == pytest.approx(0.0277, abs=1e-4)
    narrow = verdict.figures(runs[0], columns([11.2] * 3), runs, 0.1)
    assert narrow[0].tolerance == 0.1
    assert not narrow[0].fits
    wide = verdict.figures(
        runs[0], columns([11.2] * 3), [columns([10.0] * 3), columns([11.5] * 3)], 0.1
    )
    assert wide[0].tolerance == pytest.approx(0.1973, abs=1e-3)
    assert wide[0].fits


def test_one_run_alone_has_no_spread() -> None:
    assert verdict.spread([columns([1.0])], "all", "ttft", 0.5) == 0.0


def test_figures_cover_the_whole_and_every_phase() -> None:
    requests = [served(1.0), served(12.0, ttft=2.0)]
    observed = verdict.measured(requests)
    found = verdict.figures(observed, observed, (), 0.05)
    assert {f.phase for f in found} == {"all", "calm", "saturating"}
    assert len(found) == 3 * 3 * 2
    assert all(f.fits and f.ratio == 1.0 for f in found)
    assert "DOES NOT FIT" not in verdict.table(found, {"observed": "a", "predicted": "b"})


def test_a_window_leaves_out_who_came_later() -> None:
    observed = verdict.measured([served(1.0), served(12.0)])
    assert list(observed.until(10.0).phase) == ["calm"]


def test_the_simulation_of_a_lone_request_is_its_steps_and_the_overhead() -> None:
    request = served(0.0, thinking=2, answer=1)
    said = verdict.simulated([request], PROFILE, overhead_seconds=0.007)
    first = 0.005 + 100 * 0.00014
    assert said.ttft[0] == pytest.approx(first + 0.007)
    # Two more steps with one sequence, of 101 and 102 tokens.
    rest = 2 * (0.005 + 0.00015) + (101 + 102) * 7.5e-7
    assert said.e2e[0] == pytest.approx(first + rest + 0.007, rel=1e-3)


def test_the_simulation_agrees_with_the_literal_engine_when_seats_are_short() -> None:
    rng = np.random.default_rng(5)
    requests = [
        served(0.05 * i, thinking=int(rng.integers(1, 80)), answer=int(rng.integers(1, 20)))
        for i in range(60)
    ]
    said = verdict.simulated(requests, PROFILE, 0.0)
    assert said.e2e == pytest.approx(literal(requests), rel=1e-3)


def literal(requests: list[Served]) -> list[float]:
    """End to end by the emulator's own scheduler, step by step."""
    replica, now, coming, ends = Replica(PROFILE), 0.0, 0, [0.0] * len(requests)
    while coming < len(requests) or replica.running or replica.waiting:
        while coming < len(requests) and requests[coming].intended <= now:
            replica.submit(coming, requests[coming].prompt_tokens, requests[coming].output_tokens)
            coming += 1
        step = replica.next_step(now)
        if step is None:
            now = requests[coming].intended
            continue
        now = step.ends_at
        for number in replica.advance().finished:
            ends[number] = now - requests[number].intended
    return ends


def test_the_overhead_is_what_a_lone_request_takes_beyond_its_step() -> None:
    # 5 ms + 100 * 0.14 ms = 19 ms; seen 26, 27 and once, by accident, 200.
    singles = [served(0.0, ttft=seconds) for seconds in (0.026, 0.2, 0.027)]
    assert verdict.overhead_seconds(singles, PROFILE) == pytest.approx(0.008)
    faster = [dataclasses.replace(singles[0], first_token=0.001)]
    assert verdict.overhead_seconds(faster, PROFILE) == 0.0
