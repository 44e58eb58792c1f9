"""The quality debt of the last day: how many thoughts load has cut short, the tokens withheld, and
the expected score that was lost by it.

Counted by the hour, so that a day is two dozen small numbers, and kept beside the law's memory: a
restart of the operator forgives nothing. Totals that began anew (another epoch) are a new baseline;
what was cut while nobody listened is not known and not guessed.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter, ValidationError

from thinkscale.model.observation import Observation
from thinkscale.model.reading import Value

HOUR_SECONDS: Final = 3600
HOURS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """What is owed, by hour, and the totals up to which it was counted."""

    epoch: str | None = None
    cut: int = 0
    withheld: int = 0
    millipoints: int = 0
    hours: tuple[tuple[int, ...], ...] = ()
    """Hour since 1970, cut thoughts, withheld tokens, thousandths of percent points of score; only
    hours in which there were any. Hours that were kept without the last have none.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """Of the last day, to the hour."""

    cut: int = 0
    """Thoughts that load has cut."""
    withheld_tokens: int = 0
    points: float = 0.0
    """Percent points of expected score, as far as tiers tell their quality."""


def observe(debt: Debt, observation: Observation, now: datetime) -> Debt:
    """With what was cut since the last look. A partial sum counts nothing: the missing gateway's
    cuts would be taken for new ones when it is heard again.
    """
    match observation.signals:
        case Value(value=signals, complete=True):
            budget = signals.budget
        case _:
            return debt
    seen = replace(
        debt,
        epoch=observation.epoch,
        cut=budget.cut_by_load,
        withheld=budget.withheld_tokens,
        millipoints=budget.withheld_millipoints,
    )
    new = (
        seen.cut - debt.cut,
        seen.withheld - debt.withheld,
        seen.millipoints - debt.millipoints,
    )
    if debt.epoch != observation.epoch or (new[0] <= 0 and new[1] <= 0):
        return seen
    recent = _recent(debt, now)
    before = recent.get(_hour(now), (0, 0, 0))
    recent[_hour(now)] = tuple(a + b for a, b in zip(before, new, strict=True))
    return replace(seen, hours=tuple((at, *made) for at, made in sorted(recent.items())))


def owed(debt: Debt, now: datetime) -> Owed:
    """What load has cost in the last day."""
    cut, withheld, millipoints = (
        sum(column) for column in zip((0, 0, 0), *_recent(debt, now).values(), strict=True)
    )
    return Owed(cut=cut, withheld_tokens=withheld, points=millipoints / 1000)


def _recent(debt: Debt, now: datetime) -> dict[int, tuple[int, ...]]:
    """The hours of the last day."""
    since = _hour(now) - HOURS
    return {at: (*made, 0, 0, 0)[:3] for at, *made in debt.hours if at > since}


def to_json(debt: Debt) -> str:
    """As it is kept."""
    return _CODEC.dump_json(debt).decode()


def from_json(text: str) -> Debt:
    """As it was kept; nothing is owed if that cannot be read."""
    try:
        return _CODEC.validate_json(text)
    except ValidationError:
        return Debt()


def _hour(now: datetime) -> int:
    return int(now.timestamp()) // HOUR_SECONDS


_CODEC: Final = TypeAdapter(Debt)
