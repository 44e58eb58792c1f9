"""From the size to want to what the workload is told: grow at once, shrink by idle victims only.

`spec.replicas` of a workload names a number, not the ones to remove. Kubernetes removes those that
are not ready first, then by deletion cost; so the number falls by the replicas that are not ready
(stuck, or warming and no longer wanted) and by idle victims, never by a replica at work. While one
that is not ready still works, or was ready a moment ago, the number does not fall at all: whoever
it was meant for, that one would go.

Example: 4 replicas, all ready, 2 wanted: two are cordoned, the number stays 4. One is idle: 3, and
that one is retired. The other is idle: 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from thinkscale.model.decision import LimitedBy
from thinkscale.model.intent import Intent
from thinkscale.scaling import cordon, steps
from thinkscale.scaling.evidence import Evidence, Trust
from thinkscale.scaling.size import LOST_SECONDS, highest_allowed
from thinkscale.scaling.state import State
from thinkscale.scaling.supply import Supply, just_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What to tell the workload and the gateways."""

    to: int
    cordon: Mapping[str, float]
    retire: tuple[str, ...]
    waits: Mapping[str, str] = field(default_factory=dict)
    """What keeps each victim that cannot go yet."""
    kept: tuple[str, ...] = ()
    """Replicas that are not ready, and would be removed at work if the number fell."""
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
        return Move(to=supply.size, cordon=leaving.cordon, retire=(), waits=leaving.waits)
    to = min(supply.size, max(needed, ready - len(leaving.idle)))
    lower = steps.lower_limit(intent.scale_down, state.changes, now, supply.size)
    if lower is not None and supply.size <= highest_allowed(intent):
        to = max(to, min(lower, supply.size))
    return _shrink(to, supply, leaving, evidence)


def by_hand(
    target: int, state: State, intent: Intent, supply: Supply, evidence: Evidence, now: float
) -> Move:
    """The next step towards a number that a person set: exactly that number, at once, but for
    victims that still work. Step policies do not hold a person back, and signals that were just
    lost do so for a minute, in which the victims stay victims; then they go, at work or not, and
    drain on their own.
    """
    if target >= supply.size:
        return Move(to=target, cordon={}, retire=())
    surplus = len(supply.ready) - target
    leaving = cordon.choose(supply.ready, state.cordon, surplus, evidence, now)
    if evidence.trust is Trust.FRESH:
        to = min(supply.size, max(target, len(supply.ready) - len(leaving.idle)))
        return _shrink(to, supply, leaving, evidence)
    if state.trusted_at is not None and now - state.trusted_at <= LOST_SECONDS:
        return Move(to=supply.size, cordon=leaving.cordon, retire=(), waits=leaving.waits)
    gone = tuple(leaving.cordon)[: _of_the_ready(supply, target)]
    return Move(to=target, cordon=leaving.cordon, retire=gone)


def _shrink(to: int, supply: Supply, leaving: cordon.Leaving, evidence: Evidence) -> Move:
    """Down to `to`, or as far as it takes nobody from work; what is not ready goes first."""
    not_ready = (*supply.warming, *supply.stuck)
    kept = [r.name for r in not_ready if just_changed(r) or cordon.at_work(r.name, evidence)]
    if kept:
        to = max(to, min(supply.size, supply.existing))
    return Move(
        to=to,
        cordon=leaving.cordon,
        retire=leaving.idle[: _of_the_ready(supply, to)],
        waits=leaving.waits,
        kept=tuple(sorted(kept)),
    )


def _of_the_ready(supply: Supply, to: int) -> int:
    """How many ready replicas go when the number falls to `to`: those not ready go before them."""
    return max(0, supply.size - to - max(0, supply.size - len(supply.ready)))


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
    highest = max(highest_allowed(intent), target)
    if needed > highest:
        needed, limited = highest, LimitedBy.STUCK_REPLICAS
    upper = steps.upper_limit(intent.scale_up, state.changes, now, supply.size)
    if upper is not None and needed > max(upper, intent.min_replicas):
        needed, limited = max(upper, intent.min_replicas), LimitedBy.SCALE_UP_POLICY
    return Move(to=max(needed, supply.size), cordon=leaving.cordon, retire=(), limited_by=limited)
