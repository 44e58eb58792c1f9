"""Several gateways share the replicas: each counts on its share of the seats and of the ceiling."""

from datetime import UTC, datetime, timedelta

import pytest

from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.routing import Replica
from thinkscale.model.directive import BudgetRule, Directive
from thinkscale.model.gateway_config import GatewayConfig

NOW = datetime.now(UTC)


def gateway_of(*, gateways: int, ceiling: int | None = None) -> Gateway:
    gateway = Gateway("g")
    gateway.configure(GatewayConfig(service="n/s", model="m", seats_per_replica=8))
    gateway.locate([Replica(name=name, url=f"http://{name}", ready=True) for name in "ab"])
    rule = BudgetRule(max_tokens=1600, floor_tokens=400, until=NOW + timedelta(hours=1))
    gateway.direct(Directive(id="d", budget=rule, gateways=gateways, admission_ceiling=ceiling))
    return gateway


@pytest.mark.parametrize(("gateways", "load", "allowed"), [(1, 0.5, 1600), (3, 1.5, 800)])
def test_the_load_is_by_the_share_of_the_seats(gateways: int, load: float, allowed: int) -> None:
    gateway = gateway_of(gateways=gateways)
    for _ in range(8):
        gateway.arrive()
    assert gateway.load == pytest.approx(load)
    assert gateway.allowed_now() == allowed


@pytest.mark.parametrize(
    ("gateways", "ceiling", "share"), [(1, 8, 8), (2, 8, 4), (3, 8, 3), (9, 8, 1), (2, None, None)]
)
def test_the_ceiling_is_shared_and_never_nothing(
    gateways: int, ceiling: int | None, share: int | None
) -> None:
    assert gateway_of(gateways=gateways, ceiling=ceiling).router.ceiling == share
