"""Two services under one GPU limit: smooth days of half the rate whose peaks are eight hours apart.

Each alone would have enough at its peak; together they are short for some hours of the day, by
about a tenth, and whoever divides the limit decides who waits. Here stands what they share;
`shared_run` runs them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from thinkscale.api.pool import DEFAULT_PRIORITY
from thinkscale.simulation import loads
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.scenarios import replay_load
from thinkscale.simulation.variants import UnknownScenario

NAME: Final = "two-services"
LIMIT_GPUS: Final = 14
"""Together they need about 16 at the worst hour."""
MORNING, EVENING = "morning", "evening"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Several services and what they share."""

    name: str
    seed: int
    services: Mapping[str, Scenario]
    """By name, all of one duration."""
    gpus: int
    priorities: Mapping[str, int]
    """What a late request weighs, by service."""


def two_services(seed: int, *, brownout: bool = True) -> Shared:
    """A service whose peak is at 10 o'clock and one whose peak is at 18, of equal priority."""
    days = {
        name: loads.smooth(seed, peak_hour=peak, mean_rate=3.25)
        for name, peak in ((MORNING, 10.0), (EVENING, 18.0))
    }
    return Shared(
        name=NAME,
        seed=seed,
        services={
            name: replay_load(load, f"{NAME}-{name}", seed, brownout=brownout)
            for name, load in days.items()
        },
        gpus=LIMIT_GPUS,
        priorities=dict.fromkeys(days, DEFAULT_PRIORITY),
    )


def is_shared(name: str) -> bool:
    """Whether a scenario's name means several services."""
    return name.partition("+")[0] == NAME


def make(name: str, seed: int, *, brownout: bool = True) -> Shared:
    """The two services by name; `two-services+priority4`: the morning's late requests weigh four
    times the evening's. UnknownScenario: there is no such variant.
    """
    shared = two_services(seed, brownout=brownout)
    _, plus, variant = name.partition("+")
    if not plus:
        return shared
    written = re.fullmatch(r"priority([1-9]\d{0,1})", variant)
    if written is None:
        raise UnknownScenario(f"{NAME} has no variant +{variant}; there is +priority2 to 99")
    weighs = {**shared.priorities, MORNING: int(written.group(1)) * DEFAULT_PRIORITY}
    return replace(shared, name=f"{NAME}+{variant}", priorities=weighs)
