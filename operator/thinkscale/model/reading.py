"""A reading is a value, absent, or failed; each says how old it is and where it comes from.

Missing is never zero and never a reason to shrink: other autoscalers map an outage to 0 and scale
to nothing. Match on the three cases; there is deliberately no `.value_or(0)`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value(Generic[T]):
    """Something was read."""

    value: T
    age_seconds: float
    """How old the oldest part of it is, when the observation was made."""
    source: str
    complete: bool = True
    """False: a partial sum (one of two gateways missing), hence a lower bound. It may grow a fleet,
    never shrink it.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Nothing was ever there to read (no gateway yet, no request yet)."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It should have been there, and could not be read."""

    error: str
    age_seconds: float
    """How long it has been failing."""
    source: str


Reading: TypeAlias = Value[T] | Absent | Failed


def fresh(reading: Reading[T], within_seconds: float) -> Value[T] | None:
    """The reading if it is a complete value no older than the limit: the only kind that may shrink
    a fleet.
    """
    match reading:
        case Value(age_seconds=age, complete=True) if age <= within_seconds:
            return reading
    return None


def map_reading(reading: Reading[T], function: Callable[[T], U]) -> Reading[U]:
    """Apply a function to the value, if there is one; age, source and completeness stay."""
    match reading:
        case Value():
            return Value(
                value=function(reading.value),
                age_seconds=reading.age_seconds,
                source=reading.source,
                complete=reading.complete,
            )
        case _:
            return reading
