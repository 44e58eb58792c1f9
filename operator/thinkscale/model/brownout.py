"""The brown-out rule: which thoughts in flight are closed while the fleet is too small. Pure; the
gateways evaluate it every second, and so does the simulator.

It is on while the first of the fresh waits longer than `wait_on_seconds`: early and mild cuts fewer
than late and hard. The effective budget is the largest B under which the ready replicas carry the
arrivals and drain the queue: `(arrivals per second + fresh / drain_seconds) * r(B) <= replicas`,
with r(B) the replica-seconds of one request, learnt by the law. Every thought of age B or more is
closed, and its answer follows. Requests are never capped when they are sent: most of those would
never have needed it. Never under the floor; never more cuts than the allowance. A tier that tells
its quality has a budget of its own at each point of r(B) (`model.tier_budgets`), and thoughts of a
dear one are closed one after the other: mostly the cheap one's suffice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field

from thinkscale.model.signals import Wire
from thinkscale.model.tier_budgets import Place, TierBudgets, TierTerms

STAYS_ON_SECONDS: Final = 1.0
ARRIVALS_SECONDS: Final = 10.0
"""The arrivals per second that a gateway tells the rule are those of the last ten seconds."""

DEAR_CUTS_PER_REPLICA_SECOND: Final = 0.35
"""Each second looks at what the last one's cuts have done before more is given up. With 0.2 a fleet
of ten gives up a tenth less, and a fifth more are late.
"""


class Carried(Wire):
    """One point of r(B)."""

    budget_tokens: Annotated[int, Field(ge=0)]
    replica_seconds: Annotated[float, Field(gt=0)]
    """Replica-seconds that a mean request takes under this budget."""


class BrownoutRule(Wire):
    """Part of the directive; None there: no thought is cut by load."""

    floor_tokens: Annotated[int, Field(ge=0)]
    """The floor in force: the declared one or more, as the allowance is used up."""
    carried: tuple[Carried, ...] = ()
    """Rising budgets. Empty: nothing was learnt yet, so the floor holds while it is on."""
    wait_on_seconds: float = 2.0
    drain_seconds: float = 60.0
    cuts_allowed: Annotated[int, Field(ge=0)] = 0
    """Thoughts that all gateways together may cut under this directive."""
    cuts_per_replica_second: float = 1.0
    tiers: Annotated[
        tuple[TierBudgets, ...], Field(exclude_if=lambda tiers: not tiers, max_length=8)
    ] = ()
    """Tiers that tell their quality; all others have the common budget."""
    until: datetime
    """It ends then, unless the law pushes it ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """What one gateway sees at this second; of several gateways each sees its own share."""

    fresh_wait_seconds: float
    fresh: int
    arrivals_per_second: float
    """Over the last ten seconds."""
    replicas: float
    """Ready and un-cordoned, divided by the gateways that share them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brownout:
    """The state between two evaluations, and the result of the last."""

    last_on: float | None = None
    """When it was last triggered (seconds on the caller's clock); None: it is off."""
    effective_tokens: int | None = None
    """Thoughts of this age are closed; None: nobody's is."""
    tokens_by_tier: Mapping[str, int] = field(default_factory=dict)
    """Where a tier has a budget of its own, that one; empty while nobody's thought is closed."""
    dear_cuts_per_second: float = 0.0
    """See `TierTerms`."""


def evaluate(
    rule: BrownoutRule | None, state: Brownout, pressure: Pressure, now: float, *, expired: bool
) -> Brownout:
    """The rule at this second. `expired`: the rule's `until` has passed.

    Stays on while somebody fresh waits, or one second after it was last triggered.
    """
    if rule is None or expired:
        return Brownout()
    triggered = pressure.fresh_wait_seconds > rule.wait_on_seconds
    lingering = state.last_on is not None and (
        pressure.fresh > 0 or now - state.last_on <= STAYS_ON_SECONDS
    )
    if not (triggered or lingering):
        return Brownout()
    since = now if triggered else state.last_on
    rate = _rate(rule, pressure)
    if rate <= 0:
        return Brownout(last_on=since)
    if not rule.carried:
        return Brownout(last_on=since, effective_tokens=rule.floor_tokens)
    place = _largest(rule.carried, pressure.replicas / rate)
    if place is None:
        return Brownout(last_on=since)
    return Brownout(
        last_on=since,
        effective_tokens=max(rule.floor_tokens, place.tokens(_budgets(rule))),
        tokens_by_tier={
            tier.name: max(rule.floor_tokens, place.tokens(tier.budget_tokens))
            for tier in rule.tiers
        },
        dear_cuts_per_second=(
            DEAR_CUTS_PER_REPLICA_SECOND * pressure.replicas if rule.tiers else 0.0
        ),
    )


def terms(rule: BrownoutRule | None, state: Brownout) -> TierTerms | None:
    """What is in force for tiers; None: no tier tells its quality."""
    if rule is None or not rule.tiers:
        return None
    return TierTerms(
        ages=_budgets(rule),
        tiers=rule.tiers,
        tokens=state.tokens_by_tier,
        dear_cuts_per_second=state.dear_cuts_per_second,
    )


def carried_budget(rule: BrownoutRule, pressure: Pressure) -> int | None:
    """The largest budget that the replicas carry; None: even the largest of the table.

    Replicas 4, 2 arrivals a second, 60 fresh with 60 s to drain: r(B) may be 4/(2 + 1) = 1.33.
    With points (1,024: 1.0) and (4,096: 2.0) that is a third of the way in log tokens: 1,625.
    """
    rate = _rate(rule, pressure)
    if rate <= 0:
        return None
    if not rule.carried:
        return rule.floor_tokens
    place = _largest(rule.carried, pressure.replicas / rate)
    return None if place is None else place.tokens(_budgets(rule))


def _rate(rule: BrownoutRule, pressure: Pressure) -> float:
    return pressure.arrivals_per_second + pressure.fresh / rule.drain_seconds


def _budgets(rule: BrownoutRule) -> tuple[int, ...]:
    return tuple(point.budget_tokens for point in rule.carried)


def _largest(carried: Sequence[Carried], allowed: float) -> Place | None:
    if allowed >= carried[-1].replica_seconds:
        return None
    for at, point in enumerate(carried):
        if point.replica_seconds > allowed:
            if at == 0:
                return Place(index=0)
            below = carried[at - 1].replica_seconds
            share = (allowed - below) / (point.replica_seconds - below)
            return Place(index=at - 1, share=share)
    return None
