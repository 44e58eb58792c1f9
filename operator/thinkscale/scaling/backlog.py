"""What waits: the thinking backlog for people, and the replicas that drain a queue in time.

A short queue at the gateway is normal and costs nothing: the tightest SLO leaves some seconds to
wait. Beyond four tenths of them the queue gets its own wish, by a fluid projection: the smallest
fleet whose queue is gone by half the slack, soon after a replica ordered now has come. Beside it
stands what was measured: while requests wait, every replica gives all it has, so tokens produced
per replica are its capacity, whatever the model says.

The backlog is the expected number of thinking tokens still to be produced, each request by its age
and bounded by its budget. In seconds it is divided by the capacity that answering leaves to the
ready fleet at its design point. Never by the present throughput, which rises with the load and
hides it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from thinkscale.scaling.capacity import Design

DEAD_ZONE: Final = 0.4
"""Share of the slack that a queue may be worth before it asks for replicas."""
LEFT_OVER: Final = 0.5
"""Share of the slack that the queue may be worth when it counts as drained."""
USUAL_SLACK_SECONDS: Final = 10.0
DRAIN_LEADS: Final = 0.75
LONGEST_DRAIN_SECONDS: Final = 180.0
SHORTEST_DRAIN_SECONDS: Final = 15.0
FLUID_STEPS: Final = 24
SAMPLE_SECONDS: Final = 12.0
KEPT: Final = 9
LONG_ENOUGH_SECONDS: Final = 45.0
MOST_OVERRIDE: Final = 2.0
"""A measurement outbids the model by at most so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """While requests wait without a break: instants, tokens produced, replica-seconds served."""

    samples: tuple[tuple[float, int, float], ...] = ()


def seconds(tokens: float, replicas: int, answering: int, point: Design) -> float | None:
    """Seconds in which these replicas think `tokens`; None: no capacity is left for thinking.

    11,400 tokens on 3 replicas of 8 seats, 2 of them answering, at 30 ms: 11,400·0.03/22 = 15.5 s.
    """
    seats = replicas * point.batch - answering
    if point.token_seconds is None or seats <= 0:
        return None
    return tokens * point.token_seconds / seats


def piled_up(waiting: int, arrivals_per_second: float, slack: float | None) -> bool:
    """More wait than come in four tenths of the slack.

    8 a second and a slack of 10 s: from 33 on.
    """
    zone = DEAD_ZONE * (USUAL_SLACK_SECONDS if slack is None else slack)
    return waiting > arrivals_per_second * zone


def observe(
    saturation: Saturation, at: float, tokens: int, serving: int, *, piled: bool
) -> Saturation:
    """Keep a sample each twelve seconds while requests wait; forget all when they do not."""
    if not piled:
        return Saturation()
    if not saturation.samples:
        return Saturation(samples=((at, tokens, 0.0),))
    last = saturation.samples[-1]
    if at - last[0] < SAMPLE_SECONDS:
        return saturation
    if tokens < last[1]:
        return Saturation(samples=((at, tokens, 0.0),))
    new = (at, tokens, round(last[2] + (at - last[0]) * serving, 3))
    return replace(saturation, samples=(*saturation.samples, new)[-KEPT:])


def measured_tokens_per_second(saturation: Saturation) -> float | None:
    """What one replica produced while all had enough to do; None: not for long enough."""
    if len(saturation.samples) < 2:
        return None
    first, last = saturation.samples[0], saturation.samples[-1]
    busy = last[2] - first[2]
    if last[0] - first[0] < LONG_ENOUGH_SECONDS or busy <= 0 or last[1] <= first[1]:
        return None
    return (last[1] - first[1]) / busy


def replicas_by_measurement(
    saturation: Saturation, point: Design, arrivals_per_second: float
) -> float:
    """Replicas that produce what comes, by what they were seen to produce; 0: nothing was seen.

    8 requests a second of 1,900 tokens where a replica made 2,000 tokens a second: 7.6. The model
    said 2,400 and 6.3; it is outbid to at most twice that.
    """
    measured = measured_tokens_per_second(saturation)
    designed = point.tokens_per_second
    if measured is None or designed is None or point.request_tokens is None:
        return 0.0
    capacity = max(measured, designed / MOST_OVERRIDE)
    return arrivals_per_second * point.request_tokens / capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluid:
    """A fleet seen as a fluid: what is in it, what comes, and when ordered replicas are ready."""

    in_flight: int
    arrivals_per_second: float
    point: Design
    serving: int
    at_once: int
    """Ready, cordoned ones included: so many can serve at once."""
    coming_in_seconds: Sequence[float]
    lead_seconds: float

    def queue_at(self, replicas: int, seconds: float) -> float:
        """Requests that wait then, if `replicas` are ordered now.

        100 in flight on 1 replica of 10 at 10 s a request, nobody comes, 1 ordered: 1 a second
        leaves, so after 30 s 60 wait.
        """
        service = self.point.request_seconds
        assert service is not None
        n, step = float(self.in_flight), seconds / FLUID_STEPS
        for i in range(FLUID_STEPS):
            room = self._serving_at(replicas, (i + 0.5) * step) * self.point.batch
            n = _flowed(n, step, self.arrivals_per_second, room, service)
        return max(0.0, n - self._serving_at(replicas, seconds) * self.point.batch)

    def _serving_at(self, replicas: int, second: float) -> int:
        if second >= self.lead_seconds:
            return max(replicas, self.serving)
        come = sum(ready <= second for ready in self.coming_in_seconds)
        return max(self.serving, min(replicas, self.at_once + come))


def _flowed(n: float, seconds: float, arrivals: float, room: float, service: float) -> float:
    """In flight after a while: dn/dt = arrivals - min(n, room) / service, solved exactly.

    Exactly, because a step longer than a request would overshoot, and then more in flight could ask
    for fewer replicas. 100 in flight, room for 10, 10 s a request, nobody comes: after 30 s, 70.
    """
    settled = arrivals * service
    if n > room:
        falls = room / service - arrivals
        if falls <= 0 or n - falls * seconds >= room:
            return n - falls * seconds
        seconds, n = seconds - (n - room) / falls, room
    after = settled + (n - settled) * math.exp(-seconds / service)
    if after <= room:
        return after
    filled = service * math.log((settled - n) / (settled - room))
    return room + (seconds - filled) * (arrivals - room / service)


def drain_seconds(lead_seconds: float) -> float:
    """After a replica has come, the queue should be gone within so long: 180 s at 240 s of lead."""
    wanted = DRAIN_LEADS * lead_seconds
    return min(LONGEST_DRAIN_SECONDS, max(SHORTEST_DRAIN_SECONDS, wanted))


def replicas_to_drain(fluid: Fluid, slack: float | None, most: int) -> int:
    """The smallest fleet whose queue is worth at most half the slack then; `most` if none is."""
    until = fluid.lead_seconds + drain_seconds(fluid.lead_seconds)
    wait = LEFT_OVER * (USUAL_SLACK_SECONDS if slack is None else slack)
    left = max(1.0, fluid.arrivals_per_second * wait)
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if fluid.queue_at(middle, until) <= left:
            high = middle
        else:
            low = middle + 1
    return low
