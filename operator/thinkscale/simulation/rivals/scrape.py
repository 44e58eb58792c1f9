"""The metrics that a rival's Prometheus would hold, taken from the observation alone.

Rates and means come from differences of counters over a window, quantiles from histograms by linear
interpolation, as PromQL's `rate` and `histogram_quantile` do. Lengths are those of *completed*
requests (the ends of the output life table), because that is what engines export. The time per
output token of a replica is the time between its steps: all its sequences share them.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thinkscale.model.ages import AGE_EDGES_TOKENS
from thinkscale.model.observation import MergedSignals, Observation, ReplicaState
from thinkscale.model.reading import Value
from thinkscale.model.signals import LATENCY_EDGES_SECONDS, ReplicaSignals

_BIN_TOKENS: Final = tuple(
    (low + high) / 2
    for low, high in zip(
        AGE_EDGES_TOKENS, (*AGE_EDGES_TOKENS[1:], 2 * AGE_EDGES_TOKENS[-1]), strict=True
    )
)
"""The length that stands for each bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The workload as Kubernetes shows it."""

    current: int
    """`spec.replicas`."""
    ready: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One ready replica, as its engine describes itself."""

    name: str
    running: int
    waiting: float
    """In its own queue, and its share of those held before the engines."""
    kv_usage: float
    kv_tokens: int | None
    steps: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """All metrics at one instant; counters are cumulative."""

    at_seconds: float
    epoch: str
    in_flight: int
    """Accepted and unfinished."""
    waiting: int
    """Held, or in an engine's queue."""
    arrivals: int
    ended: int
    prompt_tokens: int
    """Of those that ended."""
    output_ends: tuple[int, ...]
    """Requests that finished, by bin of their output tokens."""
    ttft_counts: tuple[int, ...]
    pods: tuple[Pod, ...]
    """Ready ones whose engine was heard."""


def fleet_of(observation: Observation) -> Fleet | None:
    """None: Kubernetes could not be read."""
    match observation.fleet:
        case Value(value=view):
            ready = sum(replica.state is ReplicaState.READY for replica in view.replicas)
            return Fleet(current=view.desired, ready=ready)
    return None


def scrape_of(observation: Observation, now: float) -> Scrape | None:
    """None: the metrics could not be read, or never were there."""
    match observation.signals:
        case Value(value=signals, age_seconds=age):
            return _scrape(signals, observation.epoch, now - age)
    return None


def _scrape(signals: MergedSignals, epoch: str, at_seconds: float) -> Scrape:
    heard = [(name, each) for name, each in signals.replicas.items() if each.ready and each.engine]
    share = signals.held / len(heard) if heard else 0.0
    pods = tuple(_pod(name, each, share) for name, each in heard)
    counters = signals.counters
    in_engines = sum(each.engine.waiting for _, each in heard if each.engine)
    return Scrape(
        at_seconds=at_seconds,
        epoch=epoch,
        in_flight=signals.phases.in_flight,
        waiting=signals.held + in_engines,
        arrivals=counters.arrivals,
        ended=counters.completed + counters.failed + counters.cancelled,
        prompt_tokens=counters.prompt_tokens,
        output_ends=signals.output_life_table.ends,
        ttft_counts=signals.ttft_seconds.counts,
        pods=pods,
    )


def _pod(name: str, signals: ReplicaSignals, held_share: float) -> Pod:
    engine = signals.engine
    assert engine is not None  # the caller left out the others
    return Pod(
        name=name,
        running=engine.running,
        waiting=engine.waiting + held_share,
        kv_usage=engine.kv_usage,
        kv_tokens=engine.kv_capacity_tokens,
        steps=engine.steps,
    )


class History:
    """The scrapes of a window: `rate()`, means and quantiles over it.

    With fewer than two scrapes in the window nothing can be said, as in PromQL. A restart of the
    counters (another epoch, or one that fell) begins anew.
    """

    def __init__(self, window_seconds: float) -> None:
        self.window_seconds = window_seconds
        self._scrapes: deque[Scrape] = deque()

    def add(self, scrape: Scrape | None, now: float) -> None:
        """Keep it, if there is one, and let go what is older than the window."""
        if scrape is not None:
            last = self._scrapes[-1] if self._scrapes else None
            if last is not None and _began_anew(last, scrape):
                self._scrapes.clear()
            if not self._scrapes or scrape.at_seconds > self._scrapes[-1].at_seconds:
                self._scrapes.append(scrape)
        while self._scrapes and self._scrapes[0].at_seconds < now - self.window_seconds:
            self._scrapes.popleft()

    def ends(self) -> tuple[Scrape, Scrape] | None:
        """The first and the last of the window."""
        if len(self._scrapes) < 2:
            return None
        return self._scrapes[0], self._scrapes[-1]

    def arrivals_per_second(self) -> float | None:
        """Requests that came, per second."""
        ends = self.ends()
        if ends is None:
            return None
        first, last = ends
        return (last.arrivals - first.arrivals) / (last.at_seconds - first.at_seconds)

    def mean_prompt_tokens(self) -> float | None:
        """Of requests that ended within the window; None: none did."""
        ends = self.ends()
        if ends is None or ends[1].ended <= ends[0].ended:
            return None
        first, last = ends
        return (last.prompt_tokens - first.prompt_tokens) / (last.ended - first.ended)

    def mean_output_tokens(self) -> float | None:
        """Of requests that completed within the window; None: none did."""
        ends = self.ends()
        if ends is None:
            return None
        counts = _difference(ends[0].output_ends, ends[1].output_ends)
        total = sum(counts)
        if total == 0:
            return None
        return sum(c * t for c, t in zip(counts, _BIN_TOKENS, strict=True)) / total

    def ttft_quantile(self, probability: float) -> float | None:
        """Of first tokens within the window; None: there was none."""
        ends = self.ends()
        if ends is None:
            return None
        return histogram_quantile(
            probability, _difference(ends[0].ttft_counts, ends[1].ttft_counts)
        )

    def token_seconds(self) -> list[tuple[float, int]]:
        """For each replica that was busy at both ends: seconds between its steps, and how many
        sequences it runs.
        """
        ends = self.ends()
        if ends is None:
            return []
        first, last = ends
        before = {pod.name: pod for pod in first.pods}
        elapsed = last.at_seconds - first.at_seconds
        found = []
        for pod in last.pods:
            old = before.get(pod.name)
            if old is None or old.steps is None or pod.steps is None:
                continue
            if old.running and pod.running and pod.steps > old.steps:
                found.append((elapsed / (pod.steps - old.steps), pod.running))
        return found

    def token_seconds_quantile(self, probability: float) -> float | None:
        """Over the sequences that run; None: nothing does."""
        found = sorted(self.token_seconds())
        wanted = probability * sum(weight for _, weight in found)
        passed = 0
        for seconds, weight in found:
            passed += weight
            if passed >= wanted:
                return seconds
        return None

    def token_seconds_mean(self) -> float | None:
        """Over the sequences that run; None: nothing does."""
        found = self.token_seconds()
        if not found:
            return None
        return sum(seconds * weight for seconds, weight in found) / sum(w for _, w in found)

    def mean_in_flight(self) -> float | None:
        """Over the scrapes of the window."""
        if not self._scrapes:
            return None
        return sum(scrape.in_flight for scrape in self._scrapes) / len(self._scrapes)


def _began_anew(before: Scrape, after: Scrape) -> bool:
    return before.epoch != after.epoch or any(
        old > new
        for old, new in (
            (before.arrivals, after.arrivals),
            (before.ended, after.ended),
            (before.prompt_tokens, after.prompt_tokens),
        )
    )


def _difference(before: Sequence[int], after: Sequence[int]) -> list[int]:
    return [max(0, b - a) for a, b in zip(before, after, strict=True)]


def histogram_quantile(probability: float, counts: Sequence[int]) -> float | None:
    """PromQL's: linear within a bin; the last edge for what is beyond it. None: no observation.

    Ten in the bin (0.5, 0.75]: the 0.9 quantile is 0.5 + 0.9 * 0.25 = 0.725 s.
    """
    total = sum(counts)
    if total == 0:
        return None
    wanted, passed, low = probability * total, 0, 0.0
    for count, high in zip(counts, LATENCY_EDGES_SECONDS, strict=False):
        if count and passed + count >= wanted:
            return low + (high - low) * (wanted - passed) / count
        passed, low = passed + count, high
    return LATENCY_EDGES_SECONDS[-1]
