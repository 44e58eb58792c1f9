"""The term that listens to the outcome: tail latency, as the rate at which the error budget burns.

A burn of 1 spends exactly the budget (1 % of requests at an objective of 99 %). Latency says what
went wrong minutes ago, so it is a slow trim of the other terms' margin, never a reason to jump:
with everything missed (burn 10 and more) the margin doubles in a sixth of the SLO's window, and
with nothing missed it takes one and a half windows to halve. It stays within [1, 2].

Anti-windup: it does not move while replicas are warming (the cure is on its way and the misses go
on), and does not rise while the fleet is at its maximum.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from thinkscale.scaling.attainment import Outcomes

LOWEST: Final = 1.0
HIGHEST: Final = 2.0
HIGHEST_BURN: Final = 10.0
DOUBLING_WINDOWS: Final = 1 / 6
LONGEST_STEP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """How fast one SLO's error budget burns; 1 is sustainable."""

    rate: float
    window_seconds: float


def burn_rate(short: Outcomes, whole: Outcomes, objective: float) -> float:
    """Misses over allowed misses, the smaller of the short window's and the whole window's.

    Both must burn: the whole one alone remembers what is over, the short one alone is nervous. 6 of
    200 missed lately and 20 of 1,000 in all at 99 %: min(3, 2) = 2.
    """

    def burn(outcomes: Outcomes) -> float:
        return outcomes.bad / outcomes.total / (1.0 - objective) if outcomes.total else 0.0

    return min(burn(short), burn(whole))


def trimmed(
    trim: float, elapsed_seconds: float, burns: Iterable[Burn], *, frozen: bool, at_maximum: bool
) -> float:
    """The margin after `elapsed_seconds`; the worst SLO decides.

    Burn 5.5, window 3,600 s, 60 s: ln 2·(5.5 - 1)/9/600·60 = 0.0347, so the margin grows by 3.5 %.
    """
    if frozen:
        return trim
    elapsed = min(elapsed_seconds, LONGEST_STEP_SECONDS)
    speeds = [
        math.log(2) * (min(b.rate, HIGHEST_BURN) - 1) / (HIGHEST_BURN - 1)
        / (b.window_seconds * DOUBLING_WINDOWS)
        for b in burns
    ]  # fmt: skip
    speed = max(speeds, default=0.0)
    if at_maximum:
        speed = min(0.0, speed)
    return min(HIGHEST, max(LOWEST, trim * math.exp(speed * elapsed)))
