"""What a comparison came to: one row per policy and scenario, and what equal attainment costs.

Made from records alone. The single-setting rows say what a policy is worth to somebody who sets it
once; equal attainment takes each policy's own best way to the target, so that none is praised for
buying attainment with GPUs, nor blamed for a cautious setting.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from thinkscale.simulation import bootstrap, statistics
from thinkscale.simulation.bootstrap import Interval
from thinkscale.simulation.record import Record, blocks_in
from thinkscale.simulation.statistics import Blocks
from thinkscale.simulation.tuning import equal_attainment

REFERENCE_FAMILY: Final = "thinkscale"
LATENCIES: Final = ("queue_seconds", "ttft_seconds", "ttfa_seconds", "tpot_seconds", "e2e_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy at one setting in one scenario, over all seeds."""

    scenario: str
    policy: str
    family: str
    setting: str
    seeds: tuple[int, ...]
    target: float
    attainment: float
    attainment_lower_95: float | None
    attainment_clean: float
    attainment_worst_hour: float | None
    attainment_by_slo: Mapping[str, float | None]
    attainment_minus_thinkscale: Interval | None
    gpu_hours: float
    """A seed's, on average."""
    gpu_hours_to_oracle: float | None
    gpu_hours_to_lower_bound: float | None
    gpu_hours_to_thinkscale: Interval | None
    mean_replicas: float | None
    truncated_share: float
    withheld_tokens: float
    """A seed's, on average."""
    withheld_tokens_share: float | None
    violation_minutes: float
    reversals_per_day: float | None
    preemptions: float
    latencies_seconds: Mapping[str, Mapping[str, float | None]]
    """Means of the seeds' percentiles; None: of one of them nobody came so far."""

    searched: bool
    """One of all settings; not the one that its policy is set to for all scenarios."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equal:
    """What a policy needs for the target in one scenario, at whichever setting does it."""

    scenario: str
    family: str
    target: float
    gpu_hours: float | None
    """None: no setting that was tried reaches it."""
    gpu_hours_to_oracle: float | None
    gpu_hours_to_thinkscale: float | None
    settings: int
    """How many were tried; with one, that it reaches the target is all that is known."""
    best_attainment: float


def rows(records: Sequence[Record]) -> list[Row]:
    """By scenario in order of appearance; ours first, then the others by GPU-hours."""
    grouped: dict[tuple[str, str], list[Record]] = {}
    for made in records:
        grouped.setdefault((made["scenario"], made["policy"]), []).append(made)
    result = []
    for scenario in dict.fromkeys(made["scenario"] for made in records):
        mine = [
            _row(group, grouped.get((scenario, REFERENCE_FAMILY)))
            for (where, _), group in grouped.items()
            if where == scenario
        ]
        result += sorted(mine, key=lambda row: (_rank(row.family), row.gpu_hours))
    return result


def _rank(family: str) -> int:
    if family.startswith("oracle"):
        return 0
    return 1 if family.startswith(REFERENCE_FAMILY) else 2


def _row(group: Sequence[Record], reference: Sequence[Record] | None) -> Row:
    blocks = statistics.pooled([blocks_in(made) for made in group])
    first = group[0]
    requests = sum(made["requests"] for made in group)
    difference, ratio = _paired(group, reference)
    return Row(
        scenario=first["scenario"],
        policy=first["policy"],
        family=first["family"],
        setting=first["setting"],
        searched=first["searched"],
        seeds=tuple(made["seed"] for made in group),
        target=first["target"],
        attainment=statistics.attainment(blocks),
        attainment_lower_95=bootstrap.attainment_lower_bound(blocks),
        attainment_clean=float(blocks.clean.sum() / max(1.0, blocks.arrived.sum())),
        attainment_worst_hour=_least(made["attainment_worst_hour"] for made in group),
        attainment_by_slo={
            name: _mean([made["attainment_by_slo"].get(name) for made in group])
            for name in first["attainment_by_slo"]
        },
        attainment_minus_thinkscale=difference,
        gpu_hours=_sum(group, "gpu_hours") / len(group),
        gpu_hours_to_oracle=_ratio(group, "oracle_gpu_hours"),
        gpu_hours_to_lower_bound=_ratio(group, "lower_bound_gpu_hours"),
        gpu_hours_to_thinkscale=ratio,
        mean_replicas=_mean([made["mean_replicas"] for made in group]),
        truncated_share=_sum(group, "truncated_requests") / max(1, requests),
        withheld_tokens=_sum(group, "withheld_tokens") / len(group),
        withheld_tokens_share=_mean([made["withheld_tokens_share"] for made in group]),
        violation_minutes=_sum(group, "violation_minutes") / len(group),
        reversals_per_day=_mean([made["reversals_per_day"] for made in group]),
        preemptions=_sum(group, "preemptions") / len(group),
        latencies_seconds={
            name: {label: _mean([made[name][label] for made in group]) for label in first[name]}
            for name in LATENCIES
        },
    )


def _paired(
    group: Sequence[Record], reference: Sequence[Record] | None
) -> tuple[Interval | None, Interval | None]:
    """Attainment minus ours and GPU-hours by ours, on the seeds that both have."""
    if reference is None or group[0]["policy"] == reference[0]["policy"]:
        return None, None
    mine = {made["seed"]: made for made in group}
    theirs = {made["seed"]: made for made in reference}
    seeds = sorted(set(mine) & set(theirs))
    if not seeds:
        return None, None
    one, other = (_pool(side, seeds) for side in (mine, theirs))
    if len(one) < 2:
        return None, None
    return bootstrap.attainment_difference(one, other), bootstrap.gpu_ratio(one, other)


def _pool(side: Mapping[int, Record], seeds: Iterable[int]) -> Blocks:
    return statistics.pooled([blocks_in(side[seed]) for seed in seeds])


def at_equal_attainment(table: Sequence[Row], target: float | None = None) -> list[Equal]:
    """GPU-hours of each policy at the target (default: the scenario's objective)."""
    result = []
    for scenario in dict.fromkeys(row.scenario for row in table):
        here = [row for row in table if row.scenario == scenario]
        wanted = here[0].target if target is None else target
        needed = {
            family: _needed([row for row in here if row.family == family], wanted)
            for family in dict.fromkeys(row.family for row in here)
        }
        for family, hours in needed.items():
            mine = [row for row in here if row.family == family]
            result.append(
                Equal(
                    scenario=scenario,
                    family=family,
                    target=wanted,
                    gpu_hours=hours,
                    gpu_hours_to_oracle=_divided(hours, needed.get("oracle")),
                    gpu_hours_to_thinkscale=_divided(hours, needed.get(REFERENCE_FAMILY)),
                    settings=len(mine),
                    best_attainment=max(row.attainment for row in mine),
                )
            )
    return result


def _needed(mine: Sequence[Row], target: float) -> float | None:
    """A single point counts whole if it reaches the target; several are interpolated."""
    if len(mine) == 1:
        return mine[0].gpu_hours if mine[0].attainment >= target else None
    return equal_attainment([(row.gpu_hours, row.attainment) for row in mine], target)


def _sum(group: Sequence[Record], key: str) -> float:
    return float(sum(made[key] for made in group))


def _ratio(group: Sequence[Record], key: str) -> float | None:
    known = [made for made in group if made[key]]
    return _sum(known, "gpu_hours") / _sum(known, key) if known else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if values and len(known) == len(values) else None


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _divided(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below
