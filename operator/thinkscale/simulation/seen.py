"""The eyes of a policy: observations with the delay and the losses that the scenario asks for.

Kubernetes' view is prompt (a watch); the gateways' signals are as old as the scenario says, and a
share of them is lost. A lost look is a failed reading, not a zero.
"""

import random
from collections import deque
from collections.abc import Sequence

from thinkscale.model.observation import MergedSignals, Observation
from thinkscale.model.reading import Absent, Failed, Reading, Value
from thinkscale.model.signals import GatewaySignals
from thinkscale.signals.merge import merge
from thinkscale.signals.totals import Totals
from thinkscale.simulation.books import Books
from thinkscale.simulation.front import Front
from thinkscale.simulation.members import Members
from thinkscale.simulation.observe import gateway_signals
from thinkscale.simulation.scenario import Scenario

SOURCE = "gateways"
NOTHING = Totals()


class Eyes:
    """Looks at one fleet. With a delay, somebody must call `glance` more often than the policy
    looks, so that there is a past to see.
    """

    def __init__(
        self,
        scenario: Scenario,
        fronts: Sequence[Front],
        books: Sequence[Books],
        members: Members,
    ) -> None:
        self._faults = scenario.faults
        self._service = scenario.intent.service
        self._fronts = fronts
        self._books = books
        self._members = members
        self._random = random.Random(f"losses {scenario.seed}")
        self._past: deque[tuple[float, MergedSignals]] = deque()
        self._sequence = 0
        self._heard_at = 0.0

    def gateways(self, now: float) -> list[GatewaySignals]:
        """What each gateway would answer now."""
        self._sequence += 1
        return [
            gateway_signals(
                f"gateway-{front.index}",
                self._service,
                self._sequence,
                front,
                books,
                self._members.present,
                now,
            )
            for front, books in zip(self._fronts, self._books, strict=True)
        ]

    @property
    def depth(self) -> int:
        """Thinking depth at the last look, whether or not the policy saw it."""
        return self._past[-1][1].phases.depth if self._past else 0

    def glance(self, now: float) -> None:
        """Keep what there is to see, for later."""
        delay = self._faults.scrape_delay_seconds
        self._past.append((now, merge(self.gateways(now), NOTHING)))
        while len(self._past) > 1 and self._past[1][0] <= now - delay:
            self._past.popleft()

    def observe(self, now: float) -> Observation:
        """What the policy sees now."""
        self.glance(now)
        count = len(self._fronts)
        return Observation(
            fleet=Value(value=self._members.view(now), age_seconds=0.0, source="workload"),
            signals=self._signals(now),
            epoch="1",
            gateways_expected=count,
            gateways_heard=count,
        )

    def _signals(self, now: float) -> Reading[MergedSignals]:
        if self._faults.lost_scrapes and self._random.random() < self._faults.lost_scrapes:
            return Failed(error="lost", age_seconds=now - self._heard_at, source=SOURCE)
        self._heard_at = now
        at, signals = self._past[0]
        if at > now - self._faults.scrape_delay_seconds:
            return Absent(reason="nothing was scraped yet")
        return Value(value=signals, age_seconds=now - at, source=SOURCE)
