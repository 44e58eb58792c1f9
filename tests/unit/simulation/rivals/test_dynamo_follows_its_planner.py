"""NVIDIA Dynamo: the SLA planner's decode arithmetic, the aggregated planner's two loops."""

import pytest

from tests.unit.simulation.rivals.fleet_metrics import drift, fleet, middle_of_bin, scrape
from thinkscale.fleet.profile import REFERENCE
from thinkscale.simulation.rivals.dynamo_planner import (
    Engine,
    Planner,
    Worker,
    engine_requests_per_second,
    load_replicas,
)
from thinkscale.simulation.rivals.dynamo_sla import (
    Means,
    SlaPlanner,
    best_tokens_per_second,
    decode_replicas,
    interpolated_itl,
)
from thinkscale.simulation.rivals.forecast import LocalTrend

LOAD = Means(requests=1440.0, prompt_tokens=1000.0, output_tokens=2000.0)
ENGINE = Engine(
    base_seconds=0.0155,
    kv_token_seconds=0.1e-6,
    prompt_token_seconds=51e-6,
    step_tokens=2048,
    kv_tokens=290_000,
    seats=128,
    ttft_slo=10.0,
    itl_slo=0.045,
)


def test_context_is_the_prompt_and_half_of_the_output() -> None:
    assert LOAD.context_tokens == 2000.0


def test_best_throughput_is_that_of_the_largest_batch_within_the_itl() -> None:
    # 38.4 ms at all 128 seats.
    assert best_tokens_per_second(REFERENCE, 0.045, 2000.0) == pytest.approx(3332, rel=1e-3)
    # 30 ms: (30 - 15.5) / 0.179 = 81 sequences, 29.999 ms.
    assert best_tokens_per_second(REFERENCE, 0.030, 2000.0) == pytest.approx(81 / 0.029999)
    # The cache binds: 290,000 / 4,000 = 72 sequences.
    assert best_tokens_per_second(REFERENCE, 0.045, 4000.0) == pytest.approx(
        72 / (0.0155 + 72 * (27e-6 + 0.076e-6 * 4000))
    )


def test_an_itl_out_of_reach_is_served_by_one_sequence_each() -> None:
    assert best_tokens_per_second(REFERENCE, 0.001, 2000.0) == pytest.approx(1 / 0.015679)


def test_replicas_are_forecast_tokens_by_throughput() -> None:
    assert decode_replicas(LOAD, REFERENCE, 0.045, 1.0) == 5  # 16,000 by 3,332
    # Observed ITL 1.5 times the expected one: the target is 30 ms, 2,700 each.
    assert decode_replicas(LOAD, REFERENCE, 0.045, 1.5) == 6


def test_expected_itl_stops_at_what_was_profiled() -> None:
    assert interpolated_itl(REFERENCE, 50.0, 2000.0) == pytest.approx(0.0155 + 50 * 0.179e-3)
    assert interpolated_itl(REFERENCE, 500.0, 2000.0) == pytest.approx(0.0155 + 128 * 0.179e-3)


def steady(at: float, **other: int) -> dict[str, int]:
    return {"arrivals": int(8 * at), "completed": int(8 * at), **other}


def test_the_sla_planner_acts_every_three_minutes_only() -> None:
    planner, sizes = SlaPlanner(drift(), 1.0), []
    for tick in range(25):
        at = 15.0 * tick
        sizes.append(planner.step(at, fleet(9), scrape(at, pods=9, output=2000, **steady(at))))
    assert sizes[:12] == [9] * 12
    assert sizes[13:24] == [9] * 11
    # 8 a second of the bin's middle, at 3,332 tokens a second or a little more.
    context = 1000 + middle_of_bin(2000) / 2
    each = best_tokens_per_second(REFERENCE, 0.045, context)
    assert sizes[12] == -(-8 * middle_of_bin(2000) // each)


def test_the_sla_planner_skips_intervals_without_metrics() -> None:
    planner = SlaPlanner(drift(), 1.0)
    for tick in range(60):
        assert planner.step(15.0 * tick, fleet(9), None) == 9


def test_it_corrects_a_slower_engine() -> None:
    planner, sizes = SlaPlanner(drift(), 1.0), []
    for tick in range(13):
        at = 15.0 * tick
        metrics = scrape(at, pods=9, running=40, output=2000, **steady(at, steps=int(at / 0.045)))
        sizes.append(planner.step(at, fleet(9), metrics))
    # Expected at 40 sequences: 22.7 ms; observed 45: the target halves, and the fleet grows.
    assert sizes[-1] > 5


# --- the forecast ---


def test_the_first_point_moves_level_and_trend_as_computed_by_hand() -> None:
    trend = LocalTrend()
    trend.observe(100.0)
    assert trend._level == pytest.approx(100 * 2001 / 2011)
    assert trend._trend == pytest.approx(100 * 1000 / 2011)
    assert trend.forecast() == 100.0  # too few points: the last one


def test_a_steady_climb_is_carried_on() -> None:
    trend = LocalTrend()
    for value in range(100, 600, 10):
        trend.observe(float(value))
    assert trend.forecast() == pytest.approx(600, rel=0.01)


def test_a_constant_is_forecast_as_itself_and_nothing_below_none() -> None:
    trend = LocalTrend()
    for _ in range(40):
        trend.observe(50.0)
    assert trend.forecast() == pytest.approx(50.0, rel=0.01)
    for value in (40.0, 20.0, 0.0, 0.0, 0.0):
        trend.observe(value)
    assert trend.forecast() >= 0.0


# --- the aggregated planner ---


def test_an_engines_rate_is_littles_law_at_its_largest_batch() -> None:
    # 128 seats: 15.5 + 25.6 (256,000 KV at 0.1 us) + 51 us * 64 = 3.26: 44.4 ms.
    assert engine_requests_per_second(ENGINE, LOAD) == pytest.approx(
        128 / (2000 * 0.044364), rel=1e-3
    )


def test_a_stricter_itl_makes_the_batch_smaller() -> None:
    strict = Engine(
        base_seconds=0.0155,
        kv_token_seconds=0.1e-6,
        prompt_token_seconds=51e-6,
        step_tokens=2048,
        kv_tokens=290_000,
        seats=128,
        ttft_slo=10.0,
        itl_slo=0.030,
    )
    # 14.5 ms / (0.2 + 0.0255) = 64 sequences, 29.93 ms.
    assert engine_requests_per_second(strict, LOAD) == pytest.approx(
        64 / (2000 * 0.029932), rel=1e-3
    )


def test_one_more_only_if_all_engines_are_late() -> None:
    full, light = Worker(queued_prefill=0.0, kv=290_000.0), Worker(queued_prefill=0.0, kv=50_000.0)
    # 15.5 + 29.2 + prefill 3.7 is over 45 ms.
    assert load_replicas([full, full], 2, ENGINE, LOAD, 1) == 3
    assert load_replicas([full, light], 2, ENGINE, LOAD, 1) == 2


def test_one_fewer_only_if_the_rest_stays_within_four_fifths() -> None:
    light, medium = Worker(queued_prefill=0, kv=50_000.0), Worker(queued_prefill=0, kv=150_000.0)
    assert load_replicas([light] * 3, 3, ENGINE, LOAD, 1) == 2
    # 225,000 on each of the rest: 15.5 + 22.7 is over 36 ms.
    assert load_replicas([medium] * 3, 3, ENGINE, LOAD, 1) == 3


def test_the_floor_of_the_slow_loop_holds() -> None:
    light = Worker(queued_prefill=0, kv=50_000.0)
    assert load_replicas([light] * 3, 3, ENGINE, LOAD, 7) == 7


def test_nothing_is_done_while_replicas_warm() -> None:
    planner = Planner(drift(), 1.0)
    for tick in range(20):
        at = 5.0 * tick
        metrics = scrape(at, running=90, kv_usage=1.0, **steady(at))
        size = planner.step(at, fleet(4, warming=2), metrics)
        assert size == 6


def test_an_overloaded_fleet_grows_by_one_at_a_time() -> None:
    # 15.5 + 24.6 (291,950 KV at 0.084 us) + 4.0 (prefill) is over nine tenths of 45 ms.
    planner, sizes = Planner(drift(), 0.9), []
    for tick in range(4):
        at = 5.0 * tick
        sizes.append(planner.step(at, fleet(4), scrape(at, running=90, kv_usage=1.0, **steady(at))))
    assert sizes == [4, 5, 5, 5]


def test_the_aggregated_planner_without_metrics_holds() -> None:
    planner = Planner(drift(), 1.0)
    for tick in range(100):
        assert planner.step(5.0 * tick, fleet(9), None) == 9
