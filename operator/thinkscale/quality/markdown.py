"""A sweep's result for people: tables by use case, what follows from them, what it costs. Pure.

Says what the JSON says: each level's accuracy with its interval, where the plateau begins, what
minima repair and break, what it costs to serve, and what the data cannot tell.
"""

from collections.abc import Sequence

from thinkscale.quality import tiers
from thinkscale.quality.analysis import Case
from thinkscale.quality.levels import Level
from thinkscale.quality.plateau import Standing, Verdict
from thinkscale.quality.report import Result
from thinkscale.quality.settings import Method
from thinkscale.quality.trade import Trade


def markdown(result: Result, pictures: Sequence[str]) -> str:
    """For people."""
    lines = [f"# What thinking buys: {result.settings.model} on {result.dataset}", ""]
    if result.unfinished:
        told = (
            f"**Unfinished: {result.unfinished}.** Intervals below are of the rows that are "
            "answered at all levels; nothing is recommended from an unfinished plan."
        )
        lines += [told, ""]
    lines += [f"![{picture}]({picture})" for picture in pictures]
    lines += [""] if pictures else []
    for case in result.cases:
        lines += _case_lines(case, result)
    if result.trade is not None:
        lines += _trade_lines(result.trade)
    if not result.unfinished and tiers.recommends(result.cases):
        lines += _apply_lines()
    return "\n".join([*lines, *_method_lines(result)]) + "\n"


def _apply_lines() -> list[str]:
    return [
        "## Apply it",
        "",
        "`tiers.yaml` is the recommendation as a patch, with the scores that load goes by:",
        "",
        "```sh",
        tiers.COMMAND,
        "```",
        "",
        "It replaces the tiers that the ReasoningService has.",
        "",
    ]


def _case_lines(case: Case, result: Result) -> list[str]:
    left_out = f" ({case.incomplete_rows} more not finished)" if case.incomplete_rows else ""
    lines = [f"## {case.name}: {case.rows} rows{left_out}", ""]
    lines += conclusion(case, result)
    lines += [
        "",
        "| budget | accuracy | 95 % interval | mean thinking tokens | cut | fixed / broken "
        f"against {case.most.level.name} | p | against the best |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for point in case.points:
        verdict = None if result.unfinished else case.plateau.verdicts.get(point.level)
        accuracy = point.accuracy
        lines.append(
            f"| {point.level.name} | {_percent(accuracy.value)} | {_percent(accuracy.low)} to "
            f"{_percent(accuracy.high)} | {point.thinking_mean:,.1f} | {_percent(point.cut_share)} "
            f"| {point.fixed} / {point.broken} | {_p(point.p_value)} | {_standing(verdict)} |"
        )
    empty = max(case.points, key=lambda point: point.empty_share)
    if empty.empty_share > 0:
        lines += ["", f"At {empty.level.name}, {_percent(empty.empty_share)} of the answers were "
                  "empty: the endpoint ended them before, or inside, the thought."]  # fmt: skip
    return [*lines, ""]


def conclusion(case: Case, result: Result) -> list[str]:
    """What follows, in sentences; nothing from an unfinished plan."""
    if result.unfinished:
        return []
    said = [_recommendation(case, result.margin)]
    for minimum in case.minimums:
        what = "helps" if minimum == case.recommended_minimum else (
            "gains" if minimum.accuracy_gain > 0 else "gains nothing"
        )  # fmt: skip
        said.append(
            f"A minimum of {minimum.level.min_tokens} {what}: {minimum.fixed} fixed, "
            f"{minimum.broken} broken ({minimum.accuracy_gain * 100:+.1f} points, "
            f"p {_p(minimum.p_value)}), {minimum.thinking_mean:,.1f} thinking tokens on average."
        )
    return said


def _recommendation(case: Case, margin: float) -> str:
    point, points = case.recommended, f"{margin * 100:g} point{'' if margin == 0.01 else 's'}"
    if point is None:
        best = case.best.level
        needed = [v.more_rows for v in case.plateau.verdicts.values() if v.more_rows is not None]
        more = f"about {min(needed):,} more rows like these are needed" if needed else (
            "more than a million rows would be needed: give a wider --margin-points"
        )  # fmt: skip
        return (
            f"**Not enough samples to tell** which budgets are less than {points} below the best "
            f"(so far {best.name}): {more}."
        )
    said = (
        f"**Recommended: {_budget(point.level)}.** It is less than {points} below the best "
        f"({point.accuracy.value * 100:.1f} % against {case.best.accuracy.value * 100:.1f} % at "
        f"{case.best.level.name}) and saves {_percent(case.saved_share)} of the thinking tokens."
    )
    open_ones = [
        (level, verdict)
        for level, verdict in case.plateau.verdicts.items()
        if verdict.standing is Standing.UNKNOWN and level.rank < point.level.rank
    ]
    for level, verdict in open_ones:
        more = "more than a million" if verdict.more_rows is None else f"{verdict.more_rows:,}"
        said += f" For {level.name} there are not enough samples: about {more} more rows."
    return said


def _budget(level: Level) -> str:
    if level.effort is not None:
        return f"effort {level.effort.value}"
    return "no limit" if level.max_tokens is None else f"{level.max_tokens:,} thinking tokens"


def _standing(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    if verdict.standing is not Standing.UNKNOWN:
        return verdict.standing.value
    return "cannot tell" + (f", {verdict.more_rows:,} more rows" if verdict.more_rows else "")


def _trade_lines(trade: Trade) -> list[str]:
    lines = [
        "## What it costs to serve",
        "",
        f"{trade.load}. Lengths are this sweep's; the fleet is reckoned as `thinkscale whatif` "
        "does, large enough for the load.",
        "",
        "| budget | accuracy | first answer p50 / p95 / p99, s | end to end p50 / p95 / p99, s "
        "| replicas (mean) | GPUs | GPU-hours |",
        "|---|---|---|---|---|---|---|",
    ]
    for point in trade.points:
        over = trade.max_replicas is not None and point.replicas > trade.max_replicas
        too_many = " (over maxReplicas)" if over else ""
        lines.append(
            f"| {point.name} | {_percent(point.accuracy)} | {_three(point.ttfa_seconds)} "
            f"| {_three(point.e2e_seconds)} | {point.replicas}{too_many} "
            f"({point.replicas_mean:.2f}) | {point.gpus} | {point.gpu_hours:.1f} |"
        )
    return [*lines, ""]


def _method_lines(result: Result) -> list[str]:
    spent, settings = result.spent, result.settings
    lines = ["## How it was measured", ""]
    lines.append(f"- {result.samples} sample(s) of each row at temperature "
                 f"{'of the endpoint' if settings.temperature is None else settings.temperature}; "
                 f"{spent.requests:,} requests and {spent.tokens:,} tokens in all.")  # fmt: skip
    if settings.method is Method.REUSE:
        lines.append(
            f"- Prefix reuse: every level is cut from one full trace and answered anew, so levels "
            f"are paired; independent runs would have generated {spent.speedup:.1f} times as much."
        )
    else:
        lines.append("- Independent runs, one request for each level, paired by row.")
    if result.estimated:
        lines.append("- The endpoint does not count all thinking tokens: some are estimated from "
                     "the share of the text.")  # fmt: skip
    lines += [
        "- Intervals: Wilson, at the effective number of answers. p: exact McNemar, two-sided.",
        f"- Plateau: non-inferiority by {result.margin * 100:g} point(s) against every other level "
        f"(Tango's score test), {result.alpha * 100:g} % error over all levels of a use case "
        "(fallback procedure). Minima: Holm.",
    ]
    if result.look > 1:
        total = result.alpha * (2**result.look - 1)
        lines.append(f"- This is conclusion {result.look} from data that grew: all of them "
                     f"together err in at most {total * 100:.3g} % of cases.")  # fmt: skip
    return lines


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _three(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.3g}" for value in values)
