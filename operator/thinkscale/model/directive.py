"""What the operator orders of the gateways, and the pure rule that a gateway evaluates each second.

The directive travels in the ConfigMap `NAME-runtime`. A brown-out is the part that must not outlive
its author: it holds `until` an instant that the operator keeps pushing ahead; past it the gateways
return to the declared budget by themselves. The cordon holds without a deadline (it takes no
capacity from anybody: the victim was picked because the rest suffices, and gateways un-cordon by
themselves when no other replica is ready).
"""

import math
from datetime import datetime
from typing import Annotated

from pydantic import Field

from thinkscale.model.admission import Ceiling
from thinkscale.model.brownout import BrownoutRule
from thinkscale.model.queueing import QueueRule
from thinkscale.model.signals import Wire


class BudgetRule(Wire):
    """The effective thinking budget as a function of load.

    Load is (requests in flight of this gateway) / (its share of the seats of the ready, un-cordoned
    replicas). Up to `load_low` the maximum holds; from `load_high` on, the floor; between them it
    falls geometrically, so that each step withholds the same share.
    """

    max_tokens: Annotated[int, Field(ge=0)] | None = None
    """The declared maximum; None: thinking is not bounded, and the rule is idle."""
    floor_tokens: Annotated[int, Field(ge=0)] | None = None
    load_low: float = 1.0
    load_high: float = 2.0
    reaches_in_flight: bool = False
    """Also requests that are thinking already are cut at the effective budget."""
    until: datetime | None = None
    """The brown-out is allowed until then; None: not allowed, the maximum holds."""


class Directive(Wire):
    """One order; `id` is the decision's id."""

    id: str
    budget: BudgetRule = BudgetRule()
    gateways: Annotated[int, Field(ge=1)] = 1
    """Gateways that share the replicas: each has its share of the seats and of the ceiling."""
    admission_ceiling: Annotated[int, Field(ge=1)] | None = None
    """Requests that a gateway sends to one replica at most; the rest is held at the gateway. None:
    no ceiling.
    """
    cordoned: tuple[str, ...] = ()
    """Replicas (pod names) that get no new request."""
    ceiling: Ceiling | None = None
    """What one replica may hold, of all gateways together; the rest waits at the gateway."""
    queue: QueueRule = QueueRule()
    brownout: BrownoutRule | None = None


def effective_max_tokens(rule: BudgetRule, load: float, now: datetime) -> int | None:
    """Thinking tokens a request may use under this load; None: not bounded.

    With max 16,384, floor 4,096, low 1 and high 2: load 1.5 gives sqrt(16,384 * 4,096) = 8,192.
    """
    if rule.max_tokens is None:
        return None
    if rule.floor_tokens is None or rule.until is None or now >= rule.until:
        return rule.max_tokens
    if rule.floor_tokens >= rule.max_tokens or load <= rule.load_low:
        return rule.max_tokens
    if load >= rule.load_high:
        return rule.floor_tokens
    share = (load - rule.load_low) / (rule.load_high - rule.load_low)
    low = max(1, rule.floor_tokens)
    return max(
        rule.floor_tokens,
        round(math.exp(math.log(rule.max_tokens) * (1 - share) + math.log(low) * share)),
    )
