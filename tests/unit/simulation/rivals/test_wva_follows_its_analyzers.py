"""llm-d's Workload Variant Autoscaler: three analyzers and the HPA that obeys them."""

from collections import deque

import pytest

from tests.unit.simulation.rivals.fleet_metrics import drift, fleet, scrape
from thinkscale.simulation.rivals import wva_tokens
from thinkscale.simulation.rivals.wva_actuation import Actuation
from thinkscale.simulation.rivals.wva_queueing import (
    Queue,
    QueueingLaw,
    Server,
    capacity_per_second,
)
from thinkscale.simulation.rivals.wva_saturation import SaturationLaw, Thresholds, analyze
from thinkscale.simulation.rivals.wva_tokens import Load, Shape, TokenLaw, capacity_tokens

DEFAULT = Thresholds()


# --- V1 ---


def test_little_room_asks_for_one_more() -> None:
    assert analyze([(0.72, 0), (0.74, 0)], 2, None, DEFAULT) == 3  # 7 points to spare
    assert analyze([(0.3, 3), (0.3, 2.5)], 2, None, DEFAULT) == 3  # 2.25 places to spare
    assert analyze([(0.5, 0), (0.5, 0)], 2, None, DEFAULT) == 2


def test_all_saturated_asks_for_one_more() -> None:
    assert analyze([(0.9, 0), (0.2, 9)], 2, None, DEFAULT) == 3


def test_saturated_replicas_do_not_count_for_the_room_of_the_others() -> None:
    assert analyze([(0.95, 20), (0.5, 0), (0.5, 0)], 3, None, DEFAULT) == 3


def test_it_shrinks_only_where_the_rest_keeps_its_room() -> None:
    assert analyze([(0.5, 0)] * 3, 3, None, DEFAULT) == 3  # 80 - 75 = 5 points left
    assert analyze([(0.3, 0)] * 3, 3, None, DEFAULT) == 2  # 80 - 45 = 35
    assert analyze([(0.1, 0)], 1, None, DEFAULT) == 1
    # The queue alone can forbid it: 5 - 1.6 * 3/2 = 2.6 places.
    assert analyze([(0.1, 1.6)] * 3, 3, None, DEFAULT) == 3


def test_nothing_happens_in_transition() -> None:
    assert analyze([(0.9, 9)] * 4, 4, 5, DEFAULT) == 5
    assert analyze([(0.9, 9)] * 4, 5, 5, DEFAULT) == 5


def test_one_replica_a_cold_start_is_all_that_v1_gives() -> None:
    law = SaturationLaw(drift(), DEFAULT)
    assert law.step(0.0, fleet(4), scrape(0.0, kv_usage=0.95)) == 5
    for tick in range(1, 16):
        size = law.step(15.0 * tick, fleet(4, warming=1), scrape(15.0 * tick, kv_usage=0.99))
        assert size == 5
    assert law.step(240.0, fleet(5), scrape(240.0, pods=5, kv_usage=0.95)) == 6


def test_v1_without_metrics_holds() -> None:
    law = SaturationLaw(drift(), DEFAULT)
    for tick in range(40):
        assert law.step(15.0 * tick, fleet(6), None) == 6


# --- V2 ---

SHAPE = Shape(prompt_tokens=1000.0, output_tokens=1900.0, step_tokens=2048, seats=128)


def load(tokens: float, queue: float = 0.0) -> Load:
    return Load(tokens=tokens, kv_tokens=290_000.0, queue=queue)


def test_capacity_is_the_cache_or_what_the_batch_can_use() -> None:
    assert capacity_tokens(load(50_000), SHAPE, deque()) == 232_000.0
    fewer_seats = Shape(prompt_tokens=1000.0, output_tokens=1900.0, step_tokens=2048, seats=64)
    assert capacity_tokens(load(50_000), fewer_seats, deque()) == 64 * 1950.0


def test_a_queue_teaches_the_capacity_of_all() -> None:
    observed: deque[float] = deque(maxlen=10)
    assert capacity_tokens(load(150_000, queue=5), SHAPE, observed) == 150_000.0
    assert capacity_tokens(load(90_000), SHAPE, observed) == 150_000.0


def test_without_lengths_only_the_cache_counts() -> None:
    unknown = Shape(prompt_tokens=0.0, output_tokens=0.0, step_tokens=2048, seats=128)
    assert capacity_tokens(load(50_000), unknown, deque()) == 232_000.0


def test_v2_jumps_by_what_is_missing_and_by_what_is_spare() -> None:
    capacities = [232_000.0] * 4
    assert wva_tokens.analyze(900_000, capacities, 4, 0, 0.85) == 5
    assert wva_tokens.analyze(1_500_000, capacities, 4, 0, 0.85) == 8  # 1,764,706 by 232,000
    assert wva_tokens.analyze(400_000, capacities, 4, 0, 0.85) == 3
    assert wva_tokens.analyze(700_000, capacities, 4, 0, 0.85) == 4


def test_v2_counts_pending_replicas_as_supply() -> None:
    assert wva_tokens.analyze(1_500_000, [232_000.0] * 4, 8, 4, 0.85) == 8


def test_all_reasoning_lengths_are_one_bucket() -> None:
    assert [wva_tokens.bucket(o) for o in (50, 99, 100, 499, 500, 1500, 30_000)] == [
        *["short"] * 2, *["medium"] * 2, *["long"] * 3,
    ]  # fmt: skip


def test_v2_without_metrics_holds() -> None:
    law = TokenLaw(drift(), 0.85)
    for tick in range(40):
        assert law.step(15.0 * tick, fleet(6), None) == 6


# --- the queueing model ---


def published(output_tokens: float) -> Server:
    """The values at which the reference for this model was computed; seconds."""
    return Server(
        alpha=7e-3,
        beta=0.03e-3,
        gamma=5e-8,
        prompt_tokens=1000.0,
        output_tokens=output_tokens,
        batch=256,
    )


@pytest.mark.parametrize(
    ("output_tokens", "requests_per_second"), [(1000, 6.042), (4000, 1.12), (8000, 0.374)]
)
def test_capacity_by_inversion_is_the_reference_value(
    output_tokens: float, requests_per_second: float
) -> None:
    found = capacity_per_second(published(output_tokens), 3.0, 0.05)
    assert found == pytest.approx(requests_per_second, rel=2e-3)


def test_an_unreachable_target_has_no_capacity() -> None:
    assert capacity_per_second(published(1000), 3.0, 0.005) == 0.0


def test_a_batch_of_one_is_the_plain_single_server_queue() -> None:
    # M/M/1 with room for 100 more, at half its rate: one in the system on average, half of the
    # time waits; so the wait is one service time.
    server = Server(alpha=0.01, beta=0.0, gamma=0.0, prompt_tokens=1.0, output_tokens=99.0, batch=1)
    found = Queue.of(server).performance(0.5)  # a service takes 100 iterations: 1 s
    assert found.throughput == pytest.approx(0.5)
    assert found.itl_seconds == pytest.approx(0.01)
    assert found.ttft_seconds == pytest.approx(1.0 + 0.02)


def test_the_fleet_is_arrivals_by_capacity() -> None:
    scenario = drift()
    law = QueueingLaw(scenario, 0.8)
    law.step(0.0, fleet(4), scrape(0.0, arrivals=0, completed=0))
    size = law.step(15.0, fleet(4), scrape(15.0, arrivals=90, completed=90))
    each = 6.0 / size
    # Between half and all of what the true replica carries of this mix.
    assert 0.5 < each < 1.9


def test_gamma_follows_the_observed_pace_by_five_percent_a_cycle() -> None:
    law = QueueingLaw(drift(), 0.8)
    sizes, steps = [], 0
    for tick in range(30):
        at = 15.0 * tick
        steps = int(at / 0.060)  # 60 ms a token with 60 sequences: far over the model's 31 ms
        seen = scrape(at, running=60, steps=steps, arrivals=int(6 * at), completed=int(6 * at))
        sizes.append(law.step(at, fleet(40), seen))
    wanted = [w for w in sizes[1:]]
    assert wanted[-1] >= wanted[0]
    assert law._gamma > 2 * drift().profile.context_token_seconds


def test_the_queueing_model_without_metrics_holds() -> None:
    law = QueueingLaw(drift(), 0.8)
    for tick in range(40):
        assert law.step(15.0 * tick, fleet(6), None) == 6


def test_the_benchmarks_hpa_adds_at_most_ten_in_150_seconds() -> None:
    actuation = Actuation(drift())
    assert actuation.step(0.0, 5, 30) == 15
    assert actuation.step(15.0, 15, 30) == 15
    assert actuation.step(150.0, 15, 30) == 25
