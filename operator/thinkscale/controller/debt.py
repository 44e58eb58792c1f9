"""The quality debt of the last day: how many thoughts load has cut short, and the tokens withheld.

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
    hours: tuple[tuple[int, int, int], ...] = ()
    """Hour since 1970, cut thoughts, withheld tokens; only hours in which there were any."""


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
        debt, epoch=observation.epoch, cut=budget.cut_by_load, withheld=budget.withheld_tokens
    )
    cut, withheld = seen.cut - debt.cut, seen.withheld - debt.withheld
    if debt.epoch != observation.epoch or (cut <= 0 and withheld <= 0):
        return seen
    hour = _hour(now)
    recent = {at: (cuts, tokens) for at, cuts, tokens in debt.hours if at > hour - HOURS}
    cuts, tokens = recent.get(hour, (0, 0))
    recent[hour] = (cuts + cut, tokens + withheld)
    return replace(seen, hours=tuple((at, *made) for at, made in sorted(recent.items())))


def owed(debt: Debt, now: datetime) -> tuple[int, int]:
    """Cut thoughts and withheld tokens of the last day, to the hour."""
    recent = [made for at, *made in debt.hours if at > _hour(now) - HOURS]
    return sum(cut for cut, _ in recent), sum(withheld for _, withheld in recent)


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
