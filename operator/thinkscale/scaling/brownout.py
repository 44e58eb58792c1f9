"""The brown-out rule that the gateways evaluate: r(B), the floor in force, the cuts that are left.

r(B) is what a mean request takes of a replica when no thought goes beyond B: shorter outputs, a
shorter context, hence a larger batch. All three come from the same life table and design point that
size the fleet. Tiers that tell their quality have budgets of their own at each point
(`tier_budgets`). The rule triggers by itself, by what waits at a gateway; the law need not foresee
it. It is renewed with each decision and ends a minute after the last.
"""

import math
from datetime import datetime, timedelta
from typing import Final

from thinkscale.model.brownout import BrownoutRule, Carried
from thinkscale.model.intent import Intent
from thinkscale.model.tier_budgets import TierBudgets
from thinkscale.scaling import allowance as bucket
from thinkscale.scaling.allowance import Allowance
from thinkscale.scaling.capacity import Bounds, design
from thinkscale.scaling.survival import Survival

ALLOWED_SECONDS: Final = 60
CUTS_PER_REPLICA_SECOND: Final = 2.0
"""A closed thought is a prompt again, mostly from the prefix cache: not too many at once."""
LEAST_BUDGET: Final = 256
HALF_OCTAVES: Final = 13
"""256 to 16,384."""
RELATIVE_STEP: Final = 0.03
"""r is rounded to powers of 1.03, so that the directive does not change with each request."""


def budgets(intent: Intent) -> list[int]:
    """Budgets of the table: half octaves within the declared floor and maximum, both included."""
    floor = intent.budget.floor_tokens or 0
    most = intent.budget.max_tokens
    inner = [round(LEAST_BUDGET * 2 ** (k / 2)) for k in range(HALF_OCTAVES)]
    inside = [b for b in inner if b > floor and (most is None or b < most)]
    return [floor, *inside, *([] if most is None else [most])]


def carried(
    intent: Intent,
    bounds: Bounds,
    outputs: Survival,
    prompt_tokens: float,
    answer_tokens: float,
    measured_seconds: float | None = None,
    running_prompt_tokens: float | None = None,
) -> tuple[Carried, ...]:
    """r(B) by rising budgets; empty while lengths or the time of a token are unknown.

    Thoughts of 1,000 or more with an answer of 0 and prompts of 1,000, on the reference profile
    with 128 seats: within 1,000 every output is 1,000 tokens, the context 1,500, the batch 128, a
    token takes 15.5 + 128·(.027 + .114 + .051) = 40 ms: 1,000·.0401/128 = 0.31 replica-seconds.
    """
    if not outputs.certain or (bounds.step_time is None and measured_seconds is None):
        return ()
    points: list[Carried] = []
    for budget in budgets(intent):
        within = budget + answer_tokens
        point = design(
            bounds, outputs, prompt_tokens, measured_seconds, within, running_prompt_tokens
        )
        seconds = point.replica_seconds
        assert seconds is not None
        seconds = rounded(seconds)
        if points:
            seconds = max(seconds, points[-1].replica_seconds)
        points.append(Carried(budget_tokens=budget, replica_seconds=seconds))
    return tuple(points)


def rule(
    intent: Intent,
    allowance: Allowance,
    points: tuple[Carried, ...],
    now: datetime,
    tiers: tuple[TierBudgets, ...] = (),
) -> BrownoutRule | None:
    """The rule for the next minute; None: the user did not opt in."""
    if not bucket.opted_in(intent):
        return None
    return BrownoutRule(
        floor_tokens=floor_in_force(intent, allowance),
        carried=points,
        cuts_allowed=_two_digits(bucket.cuts_left(allowance, intent.truncation_allowance)),
        cuts_per_replica_second=CUTS_PER_REPLICA_SECOND,
        tiers=tiers,
        until=now + timedelta(seconds=ALLOWED_SECONDS),
    )


def floor_in_force(intent: Intent, allowance: Allowance) -> int:
    """The declared floor, or more as the allowance is used up."""
    return _coarse(bucket.floor_tokens(allowance, intent), intent)


def rounded(value: float) -> float:
    """To the nearest power of 1.03, four digits: 1.6 is 1.6047."""
    return float(f"{(1 + RELATIVE_STEP) ** round(math.log(value, 1 + RELATIVE_STEP)):.4g}")


def _coarse(floor: int, intent: Intent) -> int:
    """A risen floor in steps of 3 %, upwards; the declared one and the maximum as they are."""
    declared = intent.budget.floor_tokens or 0
    if floor <= declared or floor == intent.budget.max_tokens:
        return floor
    steps = math.ceil(math.log(floor / max(1, declared), 1 + RELATIVE_STEP) - 1e-9)
    risen = round(max(1, declared) * (1 + RELATIVE_STEP) ** steps)
    highest = round(declared * bucket.FLOOR_RISE)
    return min(highest, risen, intent.budget.max_tokens or highest)


def _two_digits(count: int) -> int:
    """Downwards: 3,456 is 3,400."""
    scale = int("1" + "0" * max(0, len(str(count)) - 2))
    return count // scale * scale
