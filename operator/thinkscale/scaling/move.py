"""From the size to want to what the workload is told: grow at once, shrink by idle victims only.

`spec.replicas` of a workload names a number, not the ones to remove. Kubernetes removes those that
are not ready first, then by deletion cost; so the number falls by the replicas that are not ready
(stuck, or warming and no longer wanted) and by idle victims, never by a replica at work.

Example: 4 replicas, all ready, 2 wanted: two are cordoned, the number stays 4. One is idle: 3, and
that one is retired. The other is idle: 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from thinkscale.model.decision import LimitedBy
from thinkscale.model.intent import Intent
from thinkscale.scaling import cordon, steps
from thinkscale.scaling.evidence import Evidence, Trust
from thinkscale.scaling.state import State
from thinkscale.scaling.supply import Supply


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What to tell the workload and the gateways."""

    to: int
    cordon: Mapping[str, float]
    retire: tuple[str, ...]
    limited_by: LimitedBy | None = None
    """What cut the move short, beyond what limited the size."""


def towards(
    target: int,
    state: State,
    intent: Intent,
    supply: Supply,
    evidence: Evidence,
    *,
    may_shrink: bool,
    now: float,
) -> Move:
    """The next step towards `target` serving replicas."""
    ready = len(supply.ready)
    surplus = 0 if supply.rolling else ready - target
    leaving = cordon.choose(supply.ready, state.cordon, surplus, evidence, now)
    missing = target - ready
    replacements = min(supply.replaceable, target) if missing > 0 else 0
    needed = target + replacements
    if needed > supply.size:
        return _grow(needed, target, state, intent, supply, leaving, now)
    if not may_shrink:
        return Move(to=supply.size, cordon=leaving.cordon, retire=())
    to = min(supply.size, max(needed, ready - len(leaving.idle)))
    lower = steps.lower_limit(intent.scale_down, state.changes, now, supply.size)
    if lower is not None and supply.size <= intent.max_replicas:
        to = max(to, min(lower, supply.size))
    not_ready = max(0, supply.size - ready)
    retired = max(0, supply.size - to - not_ready)
    return Move(to=to, cordon=leaving.cordon, retire=leaving.idle[:retired])


def by_hand(
    target: int, state: State, intent: Intent, supply: Supply, evidence: Evidence, now: float
) -> Move:
    """The next step towards a number that a person set: exactly that number, at once, but for
    victims that still work. Step policies and missing signals do not hold a person back; whoever is
    removed unasked still drains on its own.
    """
    surplus = len(supply.ready) - target
    if target >= supply.size or surplus <= 0 or evidence.trust is not Trust.FRESH:
        return Move(to=target, cordon={}, retire=())
    leaving = cordon.choose(supply.ready, state.cordon, surplus, evidence, now)
    to = min(supply.size, max(target, len(supply.ready) - len(leaving.idle)))
    retired = max(0, len(supply.ready) - to)
    return Move(to=to, cordon=leaving.cordon, retire=leaving.idle[:retired])


def _grow(
    needed: int,
    target: int,
    state: State,
    intent: Intent,
    supply: Supply,
    leaving: cordon.Leaving,
    now: float,
) -> Move:
    """Up to what is needed, within the maximum and the step policies; a minimum wins over them."""
    limited = None
    highest = max(intent.max_replicas, target)
    if needed > highest:
        needed, limited = highest, LimitedBy.STUCK_REPLICAS
    upper = steps.upper_limit(intent.scale_up, state.changes, now, supply.size)
    if upper is not None and needed > max(upper, intent.min_replicas):
        needed, limited = max(upper, intent.min_replicas), LimitedBy.SCALE_UP_POLICY
    return Move(to=max(needed, supply.size), cordon=leaving.cordon, retire=(), limited_by=limited)
