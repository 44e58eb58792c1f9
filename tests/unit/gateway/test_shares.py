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


@pytest.mark.parametrize(("gateways", "share"), [(1, 6), (2, 3), (4, 2), (9, 1)])
def test_the_seats_are_shared_and_never_nothing(gateways: int, share: int) -> None:
    gateway = gateway_of(gateways=gateways, ceiling=Ceiling(seats=6))
    assert gateway.router.ceiling == Ceiling(seats=share)


@pytest.mark.parametrize(("gateways", "share"), [(1, 8), (3, 3)])
def test_without_a_ceiling_the_declared_seats_bound_a_replica(gateways: int, share: int) -> None:
    assert gateway_of(gateways=gateways).router.ceiling == Ceiling(seats=share)


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
