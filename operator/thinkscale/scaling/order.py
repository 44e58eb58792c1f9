"""The directive: what the gateways are to do until the next decision.

The ceiling keeps the pace: what a replica cannot run within it waits at the gateway, where it can
be ordered. The queue serves those first who can still be in time. The brown-out rule is there for
whoever opted in; the gateways evaluate it. Every learnt number is rounded, so that the directive
changes when something has changed and not each tick.
"""

import math
from typing import Final

from thinkscale.model.admission import Ceiling
from thinkscale.model.brownout import BrownoutRule
from thinkscale.model.directive import Directive
from thinkscale.model.intent import Intent
from thinkscale.model.queueing import QueueRule
from thinkscale.model.step_time import StepTime
from thinkscale.scaling.capacity import Bounds, slack_seconds

ALLOWANCE_SHARE: Final = 16
PACE_SHARE: Final = 0.95
"""Of the longest time per token, that a step may take."""
FRESH_SHARE: Final = 0.93
"""Of the slack, for the wait alone; the rest is for the prefill."""
COEFFICIENT_STEP: Final = 0.02
"""Coefficients are rounded to powers of 1.02."""


def seats(seats_per_replica: int) -> int:
    """Requests that may be at one replica when nothing but seats limits it: one in sixteen more, so
    that a seat that becomes free is taken without a round trip. 8 seats: 9; 128 seats: 136.
    """
    return seats_per_replica + max(1, seats_per_replica // ALLOWANCE_SHARE)


def ceiling(bounds: Bounds) -> Ceiling:
    """What one replica may hold.

    A pace of 45 ms a token: a step may take 42.75 ms.
    """
    paced = bounds.step_time is not None and bounds.pace_limit_seconds is not None
    limit = bounds.pace_limit_seconds
    return Ceiling(
        seats=bounds.seats if paced else seats(bounds.seats),
        kv_tokens=bounds.kv_tokens,
        step_time=_coarse(bounds.step_time) if paced and bounds.step_time else None,
        step_limit_seconds=rounded(PACE_SHARE * limit) if paced and limit else None,
    )


def rounded(value: float) -> float:
    """Three significant digits: 0.0155321 is 0.0155."""
    return float(f"{value:.3g}")


def _coarse(step: StepTime) -> StepTime:
    return StepTime(
        base_seconds=_step(step.base_seconds),
        sequence_seconds=_step(step.sequence_seconds),
        context_token_seconds=_step(step.context_token_seconds),
        prompt_token_seconds=_step(step.prompt_token_seconds),
    )


def _step(value: float) -> float:
    if value <= 0:
        return 0.0
    power = round(math.log(value) / math.log(1 + COEFFICIENT_STEP))
    return rounded((1 + COEFFICIENT_STEP) ** power)


def fresh_seconds(intent: Intent) -> float | None:
    """Who has waited longer than this is late already: the tightest threshold, less what a prompt
    takes until its first token. In an overload the first of the fresh is always on this edge, and
    sending him on a moment too late would make everybody late.

    A slack of 10 s: 9.3 s.
    """
    slack = slack_seconds(intent.objectives)
    return None if slack is None else rounded(FRESH_SHARE * slack)


def directive(
    identity: str,
    intent: Intent,
    bounds: Bounds,
    cordoned: tuple[str, ...],
    brownout: BrownoutRule | None,
    gateways: int,
) -> Directive:
    """The order to the gateways, `gateways` of which share the replicas."""
    return Directive(
        id=identity,
        gateways=max(1, gateways),
        cordoned=cordoned,
        ceiling=ceiling(bounds),
        queue=QueueRule(fresh_seconds=fresh_seconds(intent)),
        brownout=brownout,
    )
