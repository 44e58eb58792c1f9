"""What was measured beside what was predicted, and whether the difference counts.

Pure. A figure is a quantile of one indicator over the requests that arrived in one phase (or in
all). It fits when measured and predicted differ by at most the tolerance, or by twice the spread of
the repeated real runs where that is wider.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from e2e.fidelity.client import Served
from thinkscale.fleet.profile import Profile
from thinkscale.simulation.fidelity import one_replica
from thinkscale.simulation.workload import Workload

Numbers = npt.NDArray[np.float64]

INDICATORS = ("ttft", "tpot", "e2e")
QUANTILES = {"p50": 0.5, "p99": 0.99}
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """One run as arrays, a row per request."""

    phase: npt.NDArray[np.str_]
    arrived: Numbers
    ttft: Numbers
    tpot: Numbers
    """NaN: fewer than two tokens."""
    e2e: Numbers

    def quantile(self, phase: str, indicator: str, share: float) -> float:
        """Seconds; NaN if nobody arrived in the phase."""
        values: Numbers = getattr(self, indicator)
        if phase != ALL:
            values = values[self.phase == phase]
        return float(np.nanquantile(values, share)) if len(values) else float("nan")

    def until(self, seconds: float) -> "Columns":
        """Of those alone who arrived before."""
        kept = self.arrived < seconds
        return Columns(
            phase=self.phase[kept],
            arrived=self.arrived[kept],
            ttft=self.ttft[kept],
            tpot=self.tpot[kept],
            e2e=self.e2e[kept],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One comparison; seconds."""

    phase: str
    indicator: str
    quantile: str
    observed: float
    predicted: float
    spread: float
    """Relative standard deviation over the repeated runs; 0 if there was one."""
    tolerance: float
    """What was asked, relative; twice the spread if that is wider."""

    @property
    def ratio(self) -> float:
        """Predicted over observed."""
        return self.predicted / self.observed

    @property
    def fits(self) -> bool:
        """Within the tolerance."""
        return abs(self.ratio - 1) <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Rounded."""
        return {
            "phase": self.phase,
            "indicator": self.indicator,
            "quantile": self.quantile,
            "observedSeconds": round(self.observed, 5),
            "predictedSeconds": round(self.predicted, 5),
            "ratio": round(self.ratio, 4),
            "spread": round(self.spread, 4),
            "tolerance": round(self.tolerance, 4),
            "fits": self.fits,
        }


def measured(served: Sequence[Served]) -> Columns:
    """What the client saw."""
    return Columns(
        phase=np.array([s.phase for s in served]),
        arrived=np.array([s.intended for s in served]),
        ttft=np.array([s.ttft_seconds for s in served]),
        tpot=np.array([s.tpot_seconds for s in served]),
        e2e=np.array([s.e2e_seconds for s in served]),
    )


def simulated(served: Sequence[Served], profile: Profile, overhead_seconds: float) -> Columns:
    """The same arrivals and lengths in the simulator. `overhead_seconds`: what HTTP takes beside
    the engine, on the way to the first token as to the last.
    """
    workload = Workload(
        name="measured",
        at_seconds=np.array([s.intended for s in served]),
        prompt_tokens=np.array([s.prompt_tokens for s in served]),
        thinking_tokens=np.array([s.thinking_tokens for s in served]),
        answer_tokens=np.array([s.answer_tokens for s in served]),
    )
    waits = one_replica(workload, profile)
    return Columns(
        phase=np.array([s.phase for s in served]),
        arrived=workload.at_seconds,
        ttft=waits.first_token_seconds + overhead_seconds,
        tpot=waits.pace_seconds,
        e2e=waits.end_seconds + overhead_seconds,
    )


def figures(
    observed: Columns, predicted: Columns, repeated: Sequence[Columns], tolerance: float
) -> list[Figure]:
    """All comparisons. `repeated`: real runs of the same requests, the first one included."""
    return [
        Figure(
            phase=phase,
            indicator=indicator,
            quantile=name,
            observed=observed.quantile(phase, indicator, share),
            predicted=predicted.quantile(phase, indicator, share),
            spread=(found := spread(repeated, phase, indicator, share)),
            tolerance=max(tolerance, 2 * found),
        )
        for phase, indicator, name, share in _kinds(observed)
    ]


def _kinds(columns: Columns) -> Iterator[tuple[str, str, str, float]]:
    phases = dict.fromkeys([ALL, *(str(phase) for phase in columns.phase)])
    for phase in phases:
        for indicator in INDICATORS:
            for name, share in QUANTILES.items():
                yield phase, indicator, name, share


def spread(repeated: Sequence[Columns], phase: str, indicator: str, share: float) -> float:
    """Standard deviation of the repeated runs' quantile over its mean.

    10.0 and 10.4 s: 0.283 / 10.2 = 2.8 %.
    """
    values = [columns.quantile(phase, indicator, share) for columns in repeated]
    if len(values) < 2:
        return 0.0
    return float(np.std(values, ddof=1) / np.mean(values))


def overhead_seconds(singles: Sequence[Served], profile: Profile) -> float:
    """What a lone request takes to its first token beyond the engine's step: the median.

    A prompt of 100 tokens at 5 ms + 0.14 ms a token takes 19 ms; seen at 26 ms, HTTP takes 7 ms.
    """
    beyond = [s.ttft_seconds - profile.step_seconds(0, 0, s.prompt_tokens) for s in singles]
    return max(0.0, float(np.median(beyond)))


def send_lag_p99_seconds(served: Sequence[Served]) -> float:
    """How late the client itself was."""
    return float(np.quantile([s.sent - s.intended for s in served], 0.99))


def table(found: Sequence[Figure], names: Mapping[str, str]) -> str:
    """Lines for people: phase, indicator, quantile, both values in ms, ratio, verdict."""
    lines = [
        f"{'phase':<12}{'figure':<10}{names['observed']:>12}{names['predicted']:>12}"
        f"{'ratio':>8}{'spread':>8}  verdict"
    ]
    lines += [_line(figure) for figure in found]
    return "\n".join(lines)


def _line(figure: Figure) -> str:
    return (
        f"{figure.phase:<12}{figure.indicator + ' ' + figure.quantile:<10}"
        f"{figure.observed * 1e3:>10.1f}ms{figure.predicted * 1e3:>10.1f}ms"
        f"{figure.ratio:>8.3f}{figure.spread:>8.3f}  "
        f"{'fits' if figure.fits else 'DOES NOT FIT'} ({figure.tolerance:.0%})"
    )
