"""How far the signals of this tick may be trusted, decided once, before anybody reads a number.

Only complete and fresh signals may shrink a fleet. A partial sum is a lower bound: it may grow the
fleet. Stale, failed and absent ones do neither; they are never read as zero.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from thinkscale.model.observation import MergedSignals, Observation
from thinkscale.model.reading import Absent, Failed, Value, fresh

FRESH_SECONDS: Final = 15.0
FLEET_FRESH_SECONDS: Final = 120.0
"""Of the replicas: a watch is silent while nothing changes, but for about one bookmark a minute."""


class Trust(StrEnum):
    """What the signals are good for."""

    FRESH = "fresh"
    """Complete and recent: for everything."""
    PARTIAL = "partial"
    """A lower bound: for growing."""
    STALE = "stale"
    """Too old, or the sources fail: for nothing."""
    ABSENT = "absent"
    """No gateway was ever heard: for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The signals, if they are good for anything, and how old they are."""

    trust: Trust
    signals: MergedSignals | None
    age_seconds: float = 0.0
    trouble: str = ""
    """What is wrong with them, in words."""


def weigh(observation: Observation) -> Evidence:
    """Judge the signals of one observation."""
    reading = observation.signals
    heard, expected = observation.gateways_heard, observation.gateways_expected
    match reading:
        case Absent(reason=reason):
            return Evidence(trust=Trust.ABSENT, signals=None, trouble=reason)
        case Failed(error=error, age_seconds=age):
            trouble = f"{error} (for {age:.0f} s)"
            return Evidence(trust=Trust.STALE, signals=None, age_seconds=age, trouble=trouble)
        case Value(value=signals, age_seconds=age):
            if age > FRESH_SECONDS:
                trouble = f"the last signals are {age:.0f} s old"
                return Evidence(trust=Trust.STALE, signals=None, age_seconds=age, trouble=trouble)
            if fresh(reading, FRESH_SECONDS) is None or heard < expected:
                trouble = f"{heard} of {expected} gateways were heard"
                return Evidence(
                    trust=Trust.PARTIAL, signals=signals, age_seconds=age, trouble=trouble
                )
            if fresh(observation.fleet, FLEET_FRESH_SECONDS) is None:
                trouble = "the replicas were not read for a while"
                return Evidence(
                    trust=Trust.PARTIAL, signals=signals, age_seconds=age, trouble=trouble
                )
            return Evidence(trust=Trust.FRESH, signals=signals, age_seconds=age)
