"""From wishes to one size: stabilisation windows, idleness, limits.

The order is HPA's: windows first, then the step policies, then minimum and maximum, which win over
everything but missing knowledge: nothing shrinks while signals are not complete and fresh, or while
the workload rolls.
"""

from dataclasses import dataclass, replace

from thinkscale.model.decision import LimitedBy
from thinkscale.model.intent import Intent
from thinkscale.scaling import stabilize, steps
from thinkscale.scaling.demand import Demand
from thinkscale.scaling.evidence import Trust
from thinkscale.scaling.state import State
from thinkscale.scaling.supply import Supply

LOST_SECONDS: float = 60.0
"""When signals are missing for so long, a surplus that was being drained is kept after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many replicas should serve, and what was in the way of other numbers."""

    wanted: int
    standing: int
    """What was wanted before."""
    wish: int | None
    """What the terms asked for, before every limit."""
    limited_by: LimitedBy
    idle: bool
    waking: bool
    may_shrink: bool
    settles_at: float | None = None
    """When the scale-down window next lets go of something (Unix seconds)."""


def standing(state: State, intent: Intent, supply: Supply, now: float) -> int:
    """The size to start from: what was wanted last, or what is there."""
    there = min(supply.size, len(supply.ready) + supply.coming)
    if state.wanted is None:
        return there
    if state.trusted_at is not None and now - state.trusted_at > LOST_SECONDS:
        return max(state.wanted, there)
    return max(0, min(state.wanted, max(intent.max_replicas, there)))


def choose(
    state: State, intent: Intent, supply: Supply, demand: Demand, trust: Trust, now: float
) -> tuple[Size, State]:
    """The size to want now, and the memory with this tick's wishes in it."""
    before = standing(state, intent, supply, now)
    may_shrink = trust is Trust.FRESH and not supply.rolling
    state = _recorded(state, intent, demand, before, trust, now)
    size = before
    if demand.up is not None:
        size = stabilize.stabilized(before, state.ups, state.downs)
        if not may_shrink:
            size = max(size, before)
    held = demand.up is not None and (
        demand.up > size or (demand.down is not None and demand.down < size)
    )
    limited = LimitedBy.STABILIZATION if held else LimitedBy.NONE
    if demand.up is not None and not may_shrink and demand.up < before:
        limited = LimitedBy.SIGNALS if trust is not Trust.FRESH else limited
    if demand.up is None:
        limited = LimitedBy.SIGNALS
    idle = _idle(state, intent, now)
    waking = before == 0 and bool(demand.up)
    if waking:
        size = max(size, 1)
    size, limited = _stepped(state, intent, supply, size, limited, now)
    lowest = intent.min_replicas or (0 if idle or (before == 0 and not waking) else 1)
    if size <= lowest and demand.up is not None and demand.up < lowest:
        limited = LimitedBy.MIN_REPLICAS
    size = max(size, lowest)
    highest = intent.max_replicas if may_shrink else max(intent.max_replicas, before)
    if max(size, demand.up or 0) > intent.max_replicas:
        limited = LimitedBy.MAX_REPLICAS
    settles = state.downs[0] if state.downs else (now, 0)
    window = intent.scale_down.stabilization_window_seconds
    return Size(
        wanted=min(size, highest),
        standing=before,
        wish=demand.up,
        limited_by=limited,
        idle=idle,
        waking=waking,
        may_shrink=may_shrink,
        settles_at=settles[0] + window if settles[1] > (demand.down or 0) else None,
    ), state


def _recorded(
    state: State, intent: Intent, demand: Demand, before: int, trust: Trust, now: float
) -> State:
    """Missing signals wish for what there is: the scale-down window agrees to nothing less."""
    up, down = demand.up, demand.down
    if up is None or down is None:
        up = down = before
    elif trust is not Trust.FRESH:
        down = max(down, before)
    ups, downs = state.ups, state.downs
    if not downs:
        downs = ((now, before),)
    up_window = intent.scale_up.stabilization_window_seconds
    down_window = intent.scale_down.stabilization_window_seconds
    return replace(
        state,
        ups=stabilize.smallest(ups, now, up, up_window),
        downs=stabilize.largest(downs, now, down, down_window),
    )


def _idle(state: State, intent: Intent, now: float) -> bool:
    """Nobody has used the service for as long as its owner said."""
    if intent.scale_to_zero_after_seconds is None or state.busy_at is None:
        return False
    return now - state.busy_at >= intent.scale_to_zero_after_seconds


def _stepped(
    state: State, intent: Intent, supply: Supply, size: int, limited: LimitedBy, now: float
) -> tuple[int, LimitedBy]:
    """The size within the step policies, seen from the workload's present size."""
    if size > supply.size:
        upper = steps.upper_limit(intent.scale_up, state.changes, now, supply.size)
        if upper is not None and size > max(upper, supply.size):
            return max(upper, supply.size), LimitedBy.SCALE_UP_POLICY
    if size < supply.size:
        lower = steps.lower_limit(intent.scale_down, state.changes, now, supply.size)
        if lower is not None and size < min(lower, supply.size):
            return min(lower, supply.size), LimitedBy.SCALE_DOWN_POLICY
    return size, limited
