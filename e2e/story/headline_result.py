"""What the headline compares, what it found, and whether that is what the headline says.

Pure: fleets and their requests in, rows and verdicts out. The running is `headline`'s, the picture
`headline_plot`'s.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from e2e.story.drain import Victim
from e2e.story.outcomes import Outcome, Slo, missed, send_lag_p99_seconds
from e2e.story.sampling import Sample
from e2e.story.summary import first_late_second, first_scale_up_second
from e2e.story.traffic import (
    SAMPLE,
    Request,
    read_trace,
    shortened,
    thinned,
    with_mean_thinking,
)

LENGTH_DIVISOR = 10
SHORT_TOKENS, LONG_TOKENS = 300 / LENGTH_DIVISOR, 3000 / LENGTH_DIVISOR
WINDOW_SECONDS = (48.0, 138.0)
"""The part of the sample that is played: the rise, the peak and the fall."""
SHARE, SEED = 0.65, 4
"""Thinned, so that the fleet of fixed size has served everybody before the run ends."""
RATE_TARGET, CONCURRENCY_TARGET = 3.0, 6.4
"""Per replica; docs/measurements.md tells how they were tuned."""
BUSY_SECONDS = 60.0
"""What a victim must still have had to do when it was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """One fleet of the headline."""

    name: str
    scaler: str
    thinking_tokens: float
    metric: str = ""
    """What its HPA scales on; empty: none."""
    target: float = 0.0


FLEETS = (
    Fleet(name="short", scaler="thinkscale", thinking_tokens=SHORT_TOKENS),
    Fleet(name="long", scaler="thinkscale", thinking_tokens=LONG_TOKENS),
    Fleet(name="long-fixed", scaler="fixed", thinking_tokens=LONG_TOKENS),
    Fleet(
        name="long-hpa-rate",
        scaler="hpa-rate",
        thinking_tokens=LONG_TOKENS,
        metric="arrivals_per_second",
        target=RATE_TARGET,
    ),
    Fleet(
        name="long-hpa-concurrency",
        scaler="hpa-concurrency",
        thinking_tokens=LONG_TOKENS,
        metric="concurrency",
        target=CONCURRENCY_TARGET,
    ),
    Fleet(
        name="short-hpa-rate",
        scaler="hpa-rate",
        thinking_tokens=SHORT_TOKENS,
        metric="arrivals_per_second",
        target=RATE_TARGET,
    ),
)
"""In this order in the JSON and in the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All that a run of the headline found."""

    fleets: tuple[Fleet, ...]
    outcomes: dict[str, list[Outcome]]
    samples: dict[str, list[Sample]]
    slo: Slo
    probes: list[Outcome]
    victims: list[Victim]
    void: bool
    emulator_lag_p99_seconds: float
    emulator_steps: int
    run_seconds: float

    def row(self, fleet: Fleet) -> dict[str, Any]:
        """One fleet in the JSON; seconds count from the first instant of the traffic."""
        outcomes, samples = self.outcomes[fleet.name], self.samples[fleet.name]
        return {
            "name": fleet.name,
            "scaler": fleet.scaler,
            "requests": len(outcomes),
            "mean_thinking_tokens": round(
                sum(outcome.thinking_tokens for outcome in outcomes) / max(1, len(outcomes)), 1
            ),
            "peak_replicas": max(sample.desired for sample in samples),
            "first_scale_up_second": first_scale_up_second(samples),
            "first_late_second": first_late_second(outcomes, [self.slo]),
            "late_share": round(
                sum(missed(outcome, self.slo) for outcome in outcomes) / max(1, len(outcomes)), 4
            ),
            "failed": sum(outcome.failed for outcome in outcomes),
        }

    def to_json(self) -> dict[str, Any]:
        """The whole result for machines."""
        lags = send_lag_p99_seconds([o for some in self.outcomes.values() for o in some])
        return {
            "fleets": [self.row(fleet) for fleet in self.fleets],
            "scale_down": {
                "requests": len(self.probes),
                "failed": sum(outcome.failed for outcome in self.probes),
                "victims": [
                    {**dataclasses.asdict(v), "worked_on_seconds": round(v.worked_on_seconds, 1)}
                    for v in self.victims
                ],
            },
            "void": self.void,
            "emulator_lag_p99_seconds": self.emulator_lag_p99_seconds,
            "emulator_steps": self.emulator_steps,
            "generator_lag_p99_seconds": round(lags, 4),
            "run_seconds": round(self.run_seconds, 1),
        }


def requests_for(fleet: Fleet) -> tuple[Request, ...]:
    """What the fleet is sent: the same for all but for the thinking."""
    begin, end = WINDOW_SECONDS
    window = [
        dataclasses.replace(request, at_seconds=request.at_seconds - begin)
        for request in read_trace(SAMPLE)
        if begin <= request.at_seconds < end
    ]
    kept = shortened(thinned(window, SHARE, SEED), LENGTH_DIVISOR)
    return tuple(with_mean_thinking(kept, fleet.thinking_tokens))


def problems(result: Result) -> list[str]:
    """What did not go as the headline says; empty if all did."""
    rows = {row["name"]: row for row in result.to_json()["fleets"]}
    short, long = rows["short"], rows["long"]
    found = []
    if long["peak_replicas"] < short["peak_replicas"] + 2:
        found.append(
            f"the operator's fleets are not clearly different: short {short['peak_replicas']}, "
            f"long {long['peak_replicas']}"
        )
    up, late = long["first_scale_up_second"], long["first_late_second"]
    if up is None or (late is not None and up >= late):
        found.append(f"long began to scale at {up}, and was late first at {late}")
    if rows["long-fixed"]["late_share"] < 0.2:
        found.append("the test does not bite: the fixed fleet was late for less than a fifth")
    objective = 1 - result.slo.objective_percent / 100
    found += [
        f"{name} missed its SLO: {rows[name]['late_share']:.1%} late"
        for name in ("short", "short-hpa-rate")
        if rows[name]["late_share"] > objective
    ]
    found += [f"{row['name']}: {row['failed']} failed" for row in rows.values() if row["failed"]]
    return found + _drain_problems(result) + _void_problems(result)


def _drain_problems(result: Result) -> list[str]:
    found = [f"probe {o.index} failed: {o.error}" for o in result.probes if o.failed]
    busy = [victim for victim in result.victims if victim.worked_on_seconds >= BUSY_SECONDS]
    if not busy:
        found.append("no replica was given up while it was busy for long")
    found += [
        f"{victim.replica} was told to go before it was idle"
        for victim in result.victims
        if victim.terminating_second is not None and not victim.went_in_peace
    ]
    return found


def _void_problems(result: Result) -> list[str]:
    if result.emulator_steps == 0:
        return ["no emulator told how punctual it was"]
    late = f"{result.emulator_lag_p99_seconds * 1000:.1f} ms"
    return [f"the machine was too slow: engine steps ended {late} late (p99)"] * result.void


def spoken(result: Result) -> list[str]:
    """The result for people."""
    lines = [
        f"{'fleet':<22}{'scaler':<17}{'thinks':>7}{'peak':>6}{'scaled at':>11}"
        f"{'late at':>9}{'late':>7}{'failed':>8}"
    ]
    for row in result.to_json()["fleets"]:
        up, late = row["first_scale_up_second"], row["first_late_second"]
        lines.append(
            f"{row['name']:<22}{row['scaler']:<17}{row['mean_thinking_tokens']:>7.0f}"
            f"{row['peak_replicas']:>6}{'–' if up is None else f'{up:.1f} s':>11}"
            f"{'–' if late is None else f'{late:.1f} s':>9}{row['late_share']:>7.0%}"
            f"{row['failed']:>8}"
        )
    return lines + [
        f"given up at {victim.cordoned_second:.0f} s with {victim.in_flight_when_cordoned} "
        f"requests: {victim.replica}, which worked on for {victim.worked_on_seconds:.0f} s"
        for victim in result.victims
    ]
