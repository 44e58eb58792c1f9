"""The term that sizes the fleet: requests in flight against seats.

Everything accepted and unfinished counts: held at the gateway, waiting in an engine, thinking and
answering. Counting only the thinking ones would under-size services with long answers; counting
only those that wait would see nothing until it is too late.
"""

import math
from typing import Final

TARGET: Final = 0.8
"""Share of the seats that the fleet is sized to use."""
TARGET_DOWN: Final = 0.64
"""The fleet shrinks only to a size that stays under this; the gap to `TARGET` is the hysteresis."""


def replicas_needed(requests: float, seats_per_replica: int, target: float) -> float:
    """Replicas, as a fraction: 41 requests on replicas of 8 seats at 80 % need 41/6.4 = 6.41."""
    return requests / (seats_per_replica * target)


def whole(replicas: float) -> int:
    """The next whole number of replicas; 3.0000000001 is 3."""
    return math.ceil(replicas - 1e-9)


def projected(
    in_flight: int,
    rate: float,
    service_seconds: float,
    ahead_seconds: float,
    seats_per_replica: int,
) -> float:
    """Requests in flight when a replica ordered now would be ready.

    Where arrivals of `rate` per second stay `service_seconds` each, the count moves to
    rate·service, and has covered 1 - exp(-ahead/service) of the way after `ahead` seconds (exact
    for exponential times, M/G/∞). With 10 in flight, 2/s of 10 s and 20 s ahead:
    20 + (10 - 20)·exp(-2) = 18.6. Never below what is there now, and at most double that and one
    replica more: a projection alone shrinks nothing, and a wrong one does not explode.
    """
    if service_seconds <= 0:
        return in_flight
    limit = rate * service_seconds
    ahead = limit + (in_flight - limit) * math.exp(-ahead_seconds / service_seconds)
    return max(in_flight, min(ahead, 2 * in_flight + seats_per_replica))
