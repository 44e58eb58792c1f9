"""Two services under one GPU limit: smooth days of half the rate whose peaks are eight hours apart.

Each alone would have enough at its peak; together they are short for some hours of the day, by
about a tenth, and whoever divides the limit decides who waits.
"""

from dataclasses import dataclass
from typing import Final

from thinkscale.simulation import loads
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.scenarios import replay_load

LIMIT_GPUS: Final = 14
"""Together they need about 16 at the worst hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Several services and what they share."""

    scenarios: tuple[Scenario, ...]
    gpus: int


def two_services(seed: int, *, brownout: bool = True) -> Shared:
    """A service whose peak is at 10 o'clock and one whose peak is at 18."""
    days = {
        name: loads.smooth(seed, peak_hour=peak, mean_rate=3.25)
        for name, peak in (("morning", 10.0), ("evening", 18.0))
    }
    return Shared(
        scenarios=tuple(
            replay_load(load, f"two-services-{name}", seed, brownout=brownout)
            for name, load in days.items()
        ),
        gpus=LIMIT_GPUS,
    )
