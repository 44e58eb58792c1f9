"""The directive: what the gateways are to do until the next decision.

A brown-out is allowed only inside the limits that the user declared (a floor below the maximum),
only while load is above the seats, and only while replicas cannot help yet: fewer serve than are
wished for, be it that they warm, are stuck, or that the maximum forbids more. It is allowed for a
minute and renewed each tick, so that it dies with the operator.
"""

from datetime import datetime, timedelta
from typing import Final

from thinkscale.model.directive import BudgetRule, Directive
from thinkscale.model.intent import Intent

ALLOWED_SECONDS: Final = 60
ALLOWANCE_SHARE: Final = 16


def admission_ceiling(seats_per_replica: int) -> int:
    """Requests that a gateway sends to one replica: its seats and one in sixteen more, so that a
    seat that becomes free is taken without a round trip, and everybody else waits at the gateway,
    where any replica can take him. 8 seats: 9; 128 seats: 136.
    """
    return seats_per_replica + max(1, seats_per_replica // ALLOWANCE_SHARE)


def directive(
    identity: str,
    intent: Intent,
    cordoned: tuple[str, ...],
    *,
    in_flight: int | None,
    serving: int,
    wish: int | None,
    gateways: int,
    now: datetime,
) -> Directive:
    """The order to the gateways. `serving` replicas take new requests now and are shared by
    `gateways`; `wish` were asked for.

    20 requests in flight at 2 serving replicas of 8 seats while 4 are wished for: allowed. A
    service that wakes from zero is measured by one replica's seats: its first request is not cut.
    """
    budget = intent.budget
    opted_in = (
        budget.max_tokens is not None
        and budget.floor_tokens is not None
        and budget.floor_tokens < budget.max_tokens
    )
    loaded = in_flight is not None and in_flight > max(1, serving) * intent.seats_per_replica
    allowed = opted_in and loaded and wish is not None and wish > serving
    return Directive(
        id=identity,
        gateways=max(1, gateways),
        budget=BudgetRule(
            max_tokens=budget.max_tokens,
            floor_tokens=budget.floor_tokens,
            reaches_in_flight=opted_in,
            until=now + timedelta(seconds=ALLOWED_SECONDS) if allowed else None,
        ),
        admission_ceiling=admission_ceiling(intent.seats_per_replica),
        cordoned=cordoned,
    )
