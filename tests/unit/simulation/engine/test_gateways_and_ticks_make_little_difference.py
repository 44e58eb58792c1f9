"""Several gateways share a fleet, each by its own accounts alone; ticks come when they are due."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.unit.simulation.engine.small_fleets import Witness, arrivals, scenario
from thinkscale.fleet.profile import REFERENCE
from thinkscale.simulation.ours import thinkscale
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.run import run

RATE = 12.0
SHORT = replace(
    scenario(
        arrivals(31, int(900 * RATE), RATE, thinking=700),
        duration_seconds=900.0,
        replicas=5,
        profile=REFERENCE,
    ),
    warm_up_seconds=300.0,
)
"""On whole replicas: a gateway's share of sixteen seats is too few to be even."""


@cache
def with_gateways(count: int) -> Outcome:
    return run(replace(SHORT, gateways=count), thinkscale, policy="ours")


@pytest.mark.parametrize("gateways", [2, 4])
def test_several_gateways_attain_what_one_does(gateways: int) -> None:
    one, several = with_gateways(1), with_gateways(gateways)

    assert len(several.requests.good) > 5000
    assert several.attainment == pytest.approx(one.attainment, abs=0.005)
    assert several.gpu_hours == pytest.approx(one.gpu_hours, rel=0.1)


def test_ticking_every_second_attains_no_more_than_ticking_when_it_is_due() -> None:
    due, often = with_gateways(1), Witness(every_seconds=1.0)

    every_second = run(SHORT, often.around(thinkscale), policy="every second")

    assert len(often.seen) > 1.8 * len(due.timeline.at_seconds)
    assert every_second.attainment == pytest.approx(due.attainment, abs=noise(due))


def noise(outcome: Outcome) -> float:
    """Two standard errors of an attainment, counted in blocks of 30 s: neighbours share luck."""
    good = outcome.requests.good
    blocks = (outcome.requests.arrived_seconds // 30).astype(int)
    shares = np.array([good[blocks == block].mean() for block in np.unique(blocks)])
    return float(2 * shares.std(ddof=1) / np.sqrt(len(shares)))
