"""How many requests are under way at once, as an endpoint lets on. Pure.

`--concurrency` is the most. Many endpoints serve fewer, and say no (429, 503) to the rest: each no
halves what is sent together, and every ten rounds of replies add one again, much as TCP does.
Without it everybody would come back at once after each pause, and most would be told no again.
"""

from typing import Final

ROUNDS: Final = 10


class Concurrency:
    """Requests under way, and how many may be."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(most)
        self._under_way = 0

    @property
    def has_room(self) -> bool:
        """Whether one more may be sent; one always may."""
        return self._under_way < max(1, int(self._allowed))

    def sent(self) -> None:
        """One more is under way."""
        self._under_way += 1

    def ended(self) -> None:
        """One is not any more, for better or worse."""
        self._under_way -= 1

    def refused(self) -> None:
        """The endpoint is busy. Eight at once: four."""
        self._allowed = max(1.0, self._allowed / 2)

    def replied(self) -> None:
        """The endpoint has answered. Four at once: five after some forty replies."""
        self._allowed = min(float(self._most), self._allowed + 1 / (ROUNDS * self._allowed))
