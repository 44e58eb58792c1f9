"""Runs in figures: blocks of ten minutes, the worst hour, quantiles of latencies.

Requests are counted by when they arrived. What never ended is infinitely late, not left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from thinkscale.simulation.outcome import Numbers, Outcome, Requests

BLOCK_SECONDS: Final = 600.0
HOUR_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What each block of scored time brought, in order."""

    arrived: Numbers
    good: Numbers
    """Met all objectives."""
    clean: Numbers
    """Met all objectives, and nobody cut its thought."""
    gpu_hours: Numbers
    """Billed within the block."""
    seeds: int = 1
    """So many runs with other requests, each of as many blocks, one after the other."""

    def __len__(self) -> int:
        return len(self.arrived)


def blocks_of(
    outcome: Outcome, begin_seconds: float, block_seconds: float = BLOCK_SECONDS
) -> Blocks:
    """Cut a run into blocks; `begin_seconds`: where its scored time begins.

    The last block takes the remainder: 25 minutes are blocks of 10 and 15.
    """
    count = max(1, int(outcome.scored_seconds // block_seconds))
    edges = begin_seconds + block_seconds * np.arange(count + 1, dtype=np.float64)
    edges[-1] = max(edges[-1], begin_seconds + outcome.scored_seconds)
    requests = outcome.requests
    where = np.clip(
        np.searchsorted(edges, requests.arrived_seconds, side="right") - 1, 0, count - 1
    )
    good = requests.good

    def counted(flags: np.ndarray | None) -> Numbers:
        weights = None if flags is None else flags.astype(np.float64)
        return np.bincount(where, weights=weights, minlength=count).astype(np.float64)

    return Blocks(
        arrived=counted(None),
        good=counted(good),
        clean=counted(good & ~requests.cut),
        gpu_hours=_billed(outcome, edges),
    )


def _billed(outcome: Outcome, edges: Numbers) -> Numbers:
    """GPU-hours by block: the timeline's shape, scaled to the exact bill."""
    at, billed = outcome.timeline.at_seconds, outcome.timeline.billed.astype(np.float64)
    if len(at) == 0:
        shares = np.diff(edges)
    else:
        ends = np.append(at[1:], max(at[-1], edges[-1]))
        before = np.concatenate(([0.0], np.cumsum(billed * (ends - at))))
        shares = np.diff(np.interp(edges, np.append(at, ends[-1]), before))
    total = float(shares.sum())
    if total <= 0:
        return np.full(len(edges) - 1, outcome.gpu_hours / (len(edges) - 1))
    scaled: Numbers = shares * (outcome.gpu_hours / total)
    return scaled


def pooled(parts: Sequence[Blocks]) -> Blocks:
    """The blocks of several seeds, one after the other. Recorded traces are the same requests for
    every seed: their seeds are no repetitions.
    """
    alike = all(len(part) == len(parts[0]) for part in parts)
    repeated = len(parts) > 1 and all(
        np.array_equal(part.arrived, parts[0].arrived) for part in parts
    )
    return Blocks(
        arrived=np.concatenate([part.arrived for part in parts]),
        good=np.concatenate([part.good for part in parts]),
        clean=np.concatenate([part.clean for part in parts]),
        gpu_hours=np.concatenate([part.gpu_hours for part in parts]),
        seeds=len(parts) if alike and not repeated else 1,
    )


def attainment(blocks: Blocks) -> float:
    """Share of requests that met all objectives; NaN without any."""
    arrived = float(blocks.arrived.sum())
    return float(blocks.good.sum()) / arrived if arrived else float("nan")


def worst_hour(blocks: Blocks, block_seconds: float = BLOCK_SECONDS) -> float:
    """The lowest attainment of any hour, looked at every ten minutes; hours with fewer than a tenth
    of the mean hour's arrivals say nothing. A p99 over a day would hide a dead hour.
    """
    width = min(len(blocks), max(1, round(HOUR_SECONDS / block_seconds)))
    window = np.ones(width)
    arrived = np.convolve(blocks.arrived, window, "valid")
    good = np.convolve(blocks.good, window, "valid")
    enough = arrived >= max(1.0, 0.1 * float(arrived.mean()))
    return float((good[enough] / arrived[enough]).min()) if enough.any() else float("nan")


def violation_minutes(requests: Requests, target: float, window_seconds: float = 300.0) -> float:
    """Minutes of arrivals in windows whose attainment was under the target."""
    if len(requests.arrived_seconds) == 0:
        return 0.0
    where = (requests.arrived_seconds // window_seconds).astype(np.int64)
    where -= where.min()
    arrived = np.bincount(where)
    good = np.bincount(where, weights=requests.good.astype(np.float64))
    missed = int(np.sum(good < target * arrived))
    return missed * window_seconds / 60


def quantiles(values: Numbers, probabilities: Sequence[float] = (0.5, 0.95, 0.99)) -> list[float]:
    """Quantiles that are values seen; NaN counts as "never", hence infinitely late."""
    if len(values) == 0:
        return [float("nan")] * len(probabilities)
    late = np.where(np.isnan(values), np.inf, values)
    return [float(q) for q in np.quantile(late, probabilities, method="inverted_cdf")]


def latencies(requests: Requests) -> Mapping[str, Numbers]:
    """The latencies that people ask for, by name, in seconds.

    NaN stands for "never" where the request failed; a request that ended without an answer has no
    answer's latency, and is left out there.
    """
    ended = ~np.isnan(requests.end_seconds)
    answered = ~np.isnan(requests.first_answer_seconds) | ~ended
    paced = ~np.isnan(requests.output_pace_seconds) | ~ended
    return {
        "queue_seconds": requests.queue_seconds,
        "ttft_seconds": requests.first_token_seconds,
        "ttfa_seconds": requests.first_answer_seconds[answered],
        "tpot_seconds": requests.output_pace_seconds[paced],
        "e2e_seconds": requests.end_seconds,
    }
