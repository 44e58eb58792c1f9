"""The truncation allowance: how many thoughts load may cut, as a bucket that fills with arrivals.

Half of a day's allowance is the bucket, full at first; the other half comes back bit by bit with
the arrivals. The emptier it is the higher the floor: cuts become milder before they must end.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from thinkscale.model.intent import Intent
from thinkscale.scaling.survival import LONGEST_TOKENS

DAY_SECONDS: Final = 86_400.0
BUCKET_SHARE: Final = 0.5
FLOOR_RISE: Final = 4.0
"""The floor of an empty bucket, in declared floors."""
LEAST_CAPACITY: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The bucket, and the totals up to which it has counted."""

    level: float = 1.0
    """0 to 1."""
    day_seconds: float = 0.0
    """Of arrivals known, discounted with a time constant of a day."""
    day_arrivals: float = 0.0
    at: float | None = None
    arrivals: int = 0
    cuts: int = 0


def opted_in(intent: Intent) -> bool:
    """The user allows load to cut: a floor below the maximum, and an allowance."""
    budget = intent.budget
    if budget.floor_tokens is None or intent.truncation_allowance <= 0:
        return False
    return budget.max_tokens is None or budget.floor_tokens < budget.max_tokens


def capacity(allowance: Allowance, share: float) -> float:
    """Cuts that a full bucket holds.

    1 % a day at 8 requests a second: .5·.01·86,400·8 = 3,456.
    """
    rate = allowance.day_arrivals / allowance.day_seconds if allowance.day_seconds > 0 else 0.0
    return max(LEAST_CAPACITY, BUCKET_SHARE * share * DAY_SECONDS * rate)


def observe(allowance: Allowance, at: float, arrivals: int, cuts: int, share: float) -> Allowance:
    """Take the cuts out, put the arrivals' share in. `share`: of requests that may be cut."""
    new = replace(allowance, at=at, arrivals=arrivals, cuts=cuts)
    if allowance.at is None or at <= allowance.at:
        return new if allowance.at is None else allowance
    elapsed = at - allowance.at
    keep = max(0.0, 1.0 - elapsed / DAY_SECONDS)
    came = max(0, arrivals - allowance.arrivals)
    cut = max(0, cuts - allowance.cuts)
    known = replace(
        new,
        day_seconds=round(allowance.day_seconds * keep + elapsed, 3),
        day_arrivals=round(allowance.day_arrivals * keep + came, 3),
    )
    filled = (BUCKET_SHARE * share * came - cut) / capacity(known, share)
    return replace(known, level=round(min(1.0, max(0.0, allowance.level + filled)), 6))


def rebased(allowance: Allowance, at: float, arrivals: int, cuts: int) -> Allowance:
    """The same bucket, counting from these totals on."""
    return replace(allowance, at=at, arrivals=arrivals, cuts=cuts)


def cuts_left(allowance: Allowance, share: float) -> int:
    """Whole thoughts that may be cut now."""
    return int(allowance.level * capacity(allowance, share))


def floor_tokens(allowance: Allowance, intent: Intent) -> int:
    """The floor in force, never above the maximum.

    Declared 1,024 with half of the bucket left: 1,024·4^.5 = 2,048.
    """
    declared = intent.budget.floor_tokens or 0
    most = LONGEST_TOKENS if intent.budget.max_tokens is None else intent.budget.max_tokens
    risen = round(declared * math.pow(FLOOR_RISE, 1.0 - allowance.level))
    return max(declared, min(most, risen))
