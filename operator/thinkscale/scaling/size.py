"""From wishes to one size: stabilisation windows, idleness, limits.

The order is HPA's: windows first, then the step policies, then minimum and maximum, which win over
everything but missing knowledge: nothing shrinks while signals are not complete and fresh, or while
the workload rolls.
"""

from dataclasses import dataclass, replace
from typing import Final

from thinkscale.model.decision import LimitedBy
from thinkscale.model.intent import Intent
from thinkscale.scaling import stabilize, steps
from thinkscale.scaling.demand import Demand
from thinkscale.scaling.evidence import Trust
from thinkscale.scaling.state import State
from thinkscale.scaling.supply import Supply

LOST_SECONDS: Final = 60.0
"""When signals are missing for so long, a surplus that was being drained is kept after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many replicas should serve, and what was in the way of other numbers."""

    wanted: int
    standing: int
    """What was wanted before."""
    limited_by: LimitedBy
    waking: bool
    """From zero, because there are requests."""
    may_shrink: bool
    """The signals are complete and fresh, and no roll is under way."""
    settles_at: float | None
    """When the scale-down window next lets go of something (Unix seconds)."""


def highest_allowed(intent: Intent) -> int:
    """The declared maximum, or what a shared GPU limit leaves of it. The limit wins over a minimum
    too: GPUs that are not there cannot be had.
    """
    if intent.granted_replicas is None:
        return intent.max_replicas
    return max(0, min(intent.max_replicas, intent.granted_replicas))


def standing(state: State, intent: Intent, supply: Supply, now: float) -> int:
    """The size to start from: what was wanted last, or what is there."""
    there = min(supply.size, len(supply.ready) + supply.coming)
    if state.wanted is None:
        return there
    wanted = max(0, min(state.wanted, max(highest_allowed(intent), there)))
    if state.trusted_at is not None and now - state.trusted_at > LOST_SECONDS:
        return max(wanted, there)
    return wanted


def choose(
    state: State, intent: Intent, supply: Supply, demand: Demand, trust: Trust, now: float
) -> tuple[Size, State]:
    """The size to want now, and the memory with this tick's wishes in it."""
    most = highest_allowed(intent)
    before = standing(state, intent, supply, now)
    may_shrink = trust is Trust.FRESH and not supply.rolling
    if intent.min_replicas == 0 and trust is Trust.FRESH and _idle(state, intent, now):
        demand = replace(demand, up=0, down=0)
    state = _recorded(state, intent, demand, before, trust, now)
    size, limited = _windowed(state, demand, before, trust, may_shrink=may_shrink)
    waking = before == 0 and bool(demand.up)
    size, limited = _stepped(state, intent, supply, before, max(size, int(waking)), limited, now)
    lowest = min(intent.min_replicas, most)
    if lowest == 0 and not _idle(state, intent, now):
        lowest = min(1, before + int(waking))
    highest = most if may_shrink else max(most, before)
    if max(size, demand.up or 0) > most:
        limited = LimitedBy.GPU_POOL if most < intent.max_replicas else LimitedBy.MAX_REPLICAS
    elif size <= lowest and demand.up is not None and demand.up < lowest:
        limited = LimitedBy.MIN_REPLICAS
    return Size(
        wanted=min(max(size, lowest), highest),
        standing=before,
        limited_by=limited,
        waking=waking,
        may_shrink=may_shrink,
        settles_at=_settles_at(state, intent, demand),
    ), state


def _windowed(
    state: State, demand: Demand, before: int, trust: Trust, *, may_shrink: bool
) -> tuple[int, LimitedBy]:
    """The size that the stabilisation windows allow; without signals, the one that stands."""
    if demand.up is None or demand.down is None:
        return before, LimitedBy.SIGNALS
    size = stabilize.stabilized(before, state.ups, state.downs)
    if not may_shrink and size < before:
        size = before
    if trust is not Trust.FRESH and demand.up < before:
        return size, LimitedBy.SIGNALS
    if demand.up > size or demand.down < size:
        return size, LimitedBy.STABILIZATION
    return size, LimitedBy.NONE


def _settles_at(state: State, intent: Intent, demand: Demand) -> float | None:
    """When the scale-down window lets go of its largest wish, if that is what holds the size."""
    since, largest = state.downs[0]
    if demand.down is None or largest <= max(demand.down, intent.min_replicas):
        return None
    return since + intent.scale_down.stabilization_window_seconds


def _recorded(
    state: State, intent: Intent, demand: Demand, before: int, trust: Trust, now: float
) -> State:
    """Whoever does not see has no vote: a lost scrape neither ends a window nor begins it anew.
    Only a minute without any is a new beginning, with what there is.
    """
    ups, downs = state.ups, state.downs
    if demand.up is None or demand.down is None:
        return replace(state, ups=ups or ((now, before),), downs=downs or ((now, before),))
    if trust is Trust.FRESH and (not downs or now - downs[-1][0] > LOST_SECONDS):
        # NB: nobody saw everything for a while: what there is gets a full window.
        downs = (*downs, (now, before))
    if trust is Trust.FRESH or demand.down > before:
        down_window = intent.scale_down.stabilization_window_seconds
        downs = stabilize.largest(downs, now, demand.down, down_window)
    up_window = intent.scale_up.stabilization_window_seconds
    return replace(
        state,
        ups=stabilize.smallest(ups, now, demand.up, up_window),
        downs=downs or ((now, before),),
    )


def _idle(state: State, intent: Intent, now: float) -> bool:
    """Nobody has used the service for as long as its owner said."""
    if intent.scale_to_zero_after_seconds is None or state.busy_at is None:
        return False
    return now - state.busy_at >= intent.scale_to_zero_after_seconds


def _stepped(
    state: State,
    intent: Intent,
    supply: Supply,
    before: int,
    size: int,
    limited: LimitedBy,
    now: float,
) -> tuple[int, LimitedBy]:
    """The size within the step policies, seen from the workload's present size. That counts stuck
    replicas too, so the lower limit keeps what stands, and never adds to it.
    """
    if size > supply.size:
        upper = steps.upper_limit(intent.scale_up, state.changes, now, supply.size)
        if upper is not None and size > max(upper, supply.size):
            return max(upper, supply.size), LimitedBy.SCALE_UP_POLICY
    if size < min(before, supply.size):
        lower = steps.lower_limit(intent.scale_down, state.changes, now, supply.size)
        if lower is not None and size < lower:
            return min(lower, before, supply.size), LimitedBy.SCALE_DOWN_POLICY
    return size, limited
