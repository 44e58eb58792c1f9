"""Who asked, and for which tier: counts by API key and by tier, for `/metrics`.

Names come from configuration and not from requests, and still the number of rows is bounded: both
change while the process lives, and a row never goes. A key is counted by its id; nothing here has
ever seen the key.
"""

from dataclasses import dataclass, field
from typing import Final

from thinkscale.gateway.slo import Outcome

MOST_NAMES: Final = 256
OTHERS: Final = "(others)"
"""Where names are counted that are too many."""


@dataclass(slots=True)
class Row:
    """What the ended requests of one tier, or with one key, came to."""

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    thinking_tokens: int = 0
    answer_tokens: int = 0


@dataclass(slots=True)
class Tally:
    """All rows since boot."""

    tiers: dict[str, Row] = field(default_factory=dict)
    """Empty name: requests of no tier."""
    keys: dict[str, Row] = field(default_factory=dict)
    unauthorized: int = 0
    """Requests without a key that we know."""

    def ended(
        self, *, tier: str, key: str | None, outcome: Outcome, thinking: int, answer: int
    ) -> None:
        """A request ended, with so many tokens. `key`: the id of its key; None: none is needed."""
        rows = [_row(self.tiers, tier)]
        if key is not None:
            rows.append(_row(self.keys, key))
        for row in rows:
            row.outcomes[outcome] += 1
            row.thinking_tokens += thinking
            row.answer_tokens += answer


def _row(rows: dict[str, Row], name: str) -> Row:
    if name not in rows and len(rows) >= MOST_NAMES:
        name = OTHERS
    return rows.setdefault(name, Row())
