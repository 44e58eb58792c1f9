"""One replica alone under a workload: what a measurement against a real engine is compared with.

No gateway, no scaling, no bill: clients talk to the engine, so whoever waits does so in its own
queue, and a seat that falls free is taken in the very next step. (`run` has the gateway in between,
which sees that a request ended only when the next step has begun.)
"""

from dataclasses import dataclass

import numpy as np

from thinkscale.fleet.profile import Profile
from thinkscale.simulation.flight import Flight
from thinkscale.simulation.outcome import Numbers
from thinkscale.simulation.virtual_replica import VirtualReplica
from thinkscale.simulation.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """A row per request, seconds since its arrival."""

    first_token_seconds: Numbers
    end_seconds: Numbers
    pace_seconds: Numbers
    """Mean seconds per token after the first; NaN for a single one."""
    preemptions: int


def one_replica(workload: Workload, profile: Profile) -> Waits:
    """What this replica makes of the workload. ValueError: a request that it could never hold."""
    longest = int((workload.prompt_tokens + workload.output_tokens).max(initial=0))
    if longest > profile.kv_tokens:
        raise ValueError(f"a request of {longest} tokens exceeds the KV cache")
    first, end = np.full(len(workload), np.nan), np.full(len(workload), np.nan)

    def began(flight: Flight, now: float) -> None:
        first[flight.index] = now - flight.arrived

    replica = VirtualReplica(profile, on_first_token=began)
    arrivals = workload.at_seconds.tolist()
    coming = 0
    while coming < len(arrivals) or replica.m:
        # Who comes at the very end of a step is there when the next one begins.
        if coming < len(arrivals) and arrivals[coming] <= replica.ends_at:
            now = arrivals[coming]
            flight = Flight(
                coming,
                now,
                int(workload.prompt_tokens[coming]),
                int(workload.thinking_tokens[coming]),
                int(workload.answer_tokens[coming]),
                0,
            )
            coming += 1
            if replica.submit(flight, now):
                replica.begin(now)
            continue
        now = replica.ends_at
        for flight in replica.end():
            end[flight.index] = now - flight.arrived
        replica.begin(now)
    with np.errstate(divide="ignore", invalid="ignore"):
        pace = (end - first) / (workload.output_tokens - 1)
    return Waits(
        first_token_seconds=first,
        end_seconds=end,
        pace_seconds=np.where(workload.output_tokens > 1, pace, np.nan),
        preemptions=replica.preemptions,
    )
