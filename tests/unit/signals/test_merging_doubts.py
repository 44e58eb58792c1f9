"""One gateway that doubts a replica's native budget is enough, and the status says how many."""

import pytest

from thinkscale.controller.status import doubted
from thinkscale.model.signals import GatewaySignals, ReplicaSignals
from thinkscale.signals.merge import merge
from thinkscale.signals.totals import Totals


def gateway(name: str, **replicas: bool) -> GatewaySignals:
    return GatewaySignals(
        boot_id=name,
        sequence=1,
        gateway=name,
        service="n/s",
        uptime_seconds=1.0,
        replicas={
            replica: ReplicaSignals(ready=True, cordoned=False, budget_doubted=is_doubted)
            for replica, is_doubted in replicas.items()
        },
    )


@pytest.mark.parametrize(
    ("gateways", "told"),
    [
        ([gateway("g", a=False, b=False)], None),
        ([gateway("g", a=True, b=False)], 1),
        ([gateway("g", a=True, b=False), gateway("h", a=True, b=False)], 1),
        ([gateway("g", a=True, b=False), gateway("h", a=False, b=True)], 2),
        ([], None),
    ],
)
def test_a_replica_is_doubted_if_any_gateway_doubts_it(
    gateways: list[GatewaySignals], told: int | None
) -> None:
    assert doubted(merge(gateways, Totals())) == told


def test_who_was_not_heard_doubts_nobody() -> None:
    assert doubted(None) is None
