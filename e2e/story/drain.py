"""What became of the replicas that the operator gave up: the proof that none was cut off.

A victim is a replica that the gateways were told to send nothing new (cordoned). `DrainWatch` notes
four times a second, from the gateways' own `/signals`, who is cordoned and how much work each still
has, and from Kubernetes when a pod is asked to go. The order must be: cordoned, then idle, then
told to go. `victims` is pure.
"""

import json
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from e2e.story.gateway_load import ADMIN_PORT, is_gateway_of
from e2e.story.sampling import Watches

LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLook:
    """One replica as the gateways saw it."""

    cordoned: bool
    in_flight: int
    terminating: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All replicas of the service at one instant."""

    second: float
    replicas: Mapping[str, ReplicaLook]


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A replica on its way out. None: not seen until the end of the run."""

    replica: str
    cordoned_second: float
    in_flight_when_cordoned: int
    idle_second: float | None
    terminating_second: float | None

    @property
    def worked_on_seconds(self) -> float:
        """How long it kept serving what it had after it was chosen."""
        return 0.0 if self.idle_second is None else self.idle_second - self.cordoned_second

    @property
    def went_in_peace(self) -> bool:
        """It was idle before it was told to go."""
        if self.terminating_second is None:
            return self.idle_second is not None
        return self.idle_second is not None and self.idle_second <= self.terminating_second


def victims(looks: Sequence[Look]) -> list[Victim]:
    """Every replica whose last cordon was not taken back, in the order of being chosen."""
    names = {name for look in looks for name in look.replicas}
    found = [victim for name in names if (victim := _victim(name, looks)) is not None]
    return sorted(found, key=lambda victim: victim.cordoned_second)


def _victim(name: str, looks: Sequence[Look]) -> Victim | None:
    seen = [(look.second, look.replicas[name]) for look in looks if name in look.replicas]
    start = len(seen)
    while start > 0 and (seen[start - 1][1].cordoned or seen[start - 1][1].terminating):
        start -= 1
    last_leg = seen[start:]
    cordoned = next(((second, look) for second, look in last_leg if look.cordoned), None)
    if cordoned is None:
        return None
    return Victim(
        replica=name,
        cordoned_second=cordoned[0],
        in_flight_when_cordoned=cordoned[1].in_flight,
        idle_second=next((second for second, look in last_leg if look.in_flight == 0), None),
        terminating_second=next((second for second, look in last_leg if look.terminating), None),
    )


class DrainWatch:
    """Looks at one service while it is entered; `looks` has what it saw."""

    def __init__(self, watches: Watches, service: str, now: Callable[[], float]) -> None:
        self._watches = watches
        self._service = service
        self._now = now
        self.looks: list[Look] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="drain")

    def __enter__(self) -> "DrainWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            pods = self._watches.pods.objects()
            gateways = [pod for pod in pods.values() if is_gateway_of(pod, self._service)]
            terminating = {
                name for name, pod in pods.items() if "deletionTimestamp" in pod["metadata"]
            }
            found: dict[str, ReplicaLook] = {}
            try:
                for gateway in gateways:
                    for name, look in _ask(gateway["status"]["podIP"], terminating).items():
                        before = found.get(name)
                        found[name] = look if before is None else _sum(before, look)
            except (OSError, KeyError):
                continue  # A look that misses a gateway would miss work: leave it out.
            if found:
                self.looks.append(Look(second=round(self._now(), 2), replicas=found))


def _ask(address: str, terminating: set[str]) -> dict[str, ReplicaLook]:
    with urllib.request.urlopen(f"http://{address}:{ADMIN_PORT}/signals", timeout=1) as answer:
        signals = json.load(answer)
    return {
        name: ReplicaLook(
            cordoned=replica["cordoned"],
            in_flight=sum(replica["phases"].values()),
            terminating=name in terminating,
        )
        for name, replica in signals["replicas"].items()
    }


def _sum(one: ReplicaLook, other: ReplicaLook) -> ReplicaLook:
    return ReplicaLook(
        cordoned=one.cordoned or other.cordoned,
        in_flight=one.in_flight + other.in_flight,
        terminating=one.terminating or other.terminating,
    )
