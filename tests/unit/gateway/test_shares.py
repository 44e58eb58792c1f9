"""Several gateways share the replicas: each counts on its part of the ceiling and of the cuts."""

import pytest

from thinkscale.engines.vllm_metrics import EngineLoad
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.routing import Replica
from thinkscale.model.admission import Ceiling
from thinkscale.model.directive import Directive
from thinkscale.model.gateway_config import GatewayConfig
from thinkscale.model.step_time import StepTime


def gateway_of(*, gateways: int = 1, ceiling: Ceiling | None = None) -> Gateway:
    gateway = Gateway("g")
    gateway.configure(GatewayConfig(service="n/s", model="m", seats_per_replica=8))
    gateway.locate([Replica(name=name, url=f"http://{name}", ready=True) for name in "ab"])
    gateway.direct(Directive(id="d", gateways=gateways, ceiling=ceiling))
    return gateway


class Asked:
    prompt_tokens = 100
    conversation = None


def placed(gateway: Gateway, most: int = 40) -> int:
    """Of so many requests, how many find room at replica a (b is cordoned)."""
    gateway.router.cordoned = frozenset("b")
    found = [gateway.router.submit(Asked(), gateway.clock()) for _ in range(most)]
    return sum(each is not None for each in found)


@pytest.mark.parametrize(("gateways", "share"), [(1, 6), (2, 3), (4, 2), (9, 1)])
def test_while_the_replicas_say_nothing_the_seats_are_shared_and_never_nothing(
    gateways: int, share: int
) -> None:
    assert placed(gateway_of(gateways=gateways, ceiling=Ceiling(seats=6))) == share


@pytest.mark.parametrize(("gateways", "share"), [(1, 8), (3, 3)])
def test_without_a_ceiling_the_declared_seats_bound_a_replica(gateways: int, share: int) -> None:
    assert placed(gateway_of(gateways=gateways)) == share


def told(running: int, waiting: int = 0, capacity: int | None = 10_000) -> EngineLoad:
    return EngineLoad(
        running=running, waiting=waiting, kv_usage=running / 100, kv_capacity_tokens=capacity
    )


@pytest.mark.parametrize(
    ("running", "waiting", "room"), [(0, 0, 8), (3, 1, 6), (8, 2, 4), (16, 0, 4)]
)
def test_a_gateway_takes_what_the_others_leave_and_reckons_that_they_send_as_much(
    running: int, waiting: int, room: int
) -> None:
    """16 seats for two gateways, each request sent stands for two. Beside four of the other's there
    is room for six each; half of a part, four, is its own however many they are.
    """
    gateway = gateway_of(gateways=2, ceiling=Ceiling(seats=16))
    gateway.scraped("a", told(running, waiting))
    assert placed(gateway) == room


def test_who_was_held_is_placed_when_a_replica_tells_of_room() -> None:
    gateway = gateway_of(gateways=2, ceiling=Ceiling(seats=4))
    gateway.scraped("a", told(4))
    assert placed(gateway, 1) == 1
    assert placed(gateway, 3) == 0
    held = gateway.router.held
    gateway.router.cordoned = frozenset("b")
    gateway.router.looked("a", 2, 200.0, gateway.clock())
    assert len(gateway.router.assign(gateway.clock())) == 1
    assert gateway.router.held == held - 1


def test_an_engine_that_does_not_tell_its_cache_leaves_each_gateway_its_part() -> None:
    gateway = gateway_of(gateways=2, ceiling=Ceiling(seats=16))
    gateway.scraped("a", told(0, capacity=None))
    gateway.scraped("nobody", told(0))
    assert placed(gateway) == 8
    assert set(gateway.engines) == {"a"}


def test_a_configuration_with_other_seats_moves_the_bound_and_an_order_overrules_it() -> None:
    gateway = gateway_of()
    gateway.configure(GatewayConfig(service="n/s", model="m", seats_per_replica=16))
    assert gateway.router.ceiling == Ceiling(seats=16)
    gateway.direct(Directive(id="e", ceiling=Ceiling(seats=12)))
    assert gateway.router.ceiling == Ceiling(seats=12)


@pytest.mark.parametrize(("block", "computed"), [(None, 2065), (16, 1), (128, 17)])
def test_a_continuation_is_booked_as_what_the_prefix_cache_does_not_cover(
    block: int | None, computed: int
) -> None:
    """2,065 tokens are 129 blocks of 16 and one token, or 16 of 128 and 17 tokens."""
    step = StepTime(
        base_seconds=0, sequence_seconds=0, context_token_seconds=0, prompt_token_seconds=1e-3
    )
    gateway = gateway_of(ceiling=Ceiling(seats=8, step_time=step, step_limit_seconds=1))
    load = EngineLoad(running=0, waiting=0, kv_usage=0, prefix_block_tokens=block)
    gateway.engines["a"] = (load, gateway.clock())
    gateway.goes_on("a", 2065)
    holding = gateway.router.holding("a")
    assert holding is not None
    assert holding.stall_seconds == pytest.approx(computed * 1e-3)
    assert gateway.router.holding("b").stall_seconds == 0
