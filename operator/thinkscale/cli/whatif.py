"""`thinkscale whatif`: latencies, objectives and GPUs if requests thought more."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from thinkscale.cli import gateways, inputs, terminal
from thinkscale.cli.arguments import counting, guarded, nonnegative, parser, share, writable
from thinkscale.simulation import fluid, whatif
from thinkscale.simulation.fluid import Prediction
from thinkscale.simulation.outcome import Numbers, Outcome
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.whatif import Answer, Change

Sides = tuple[Answer, Answer]
Latencies = tuple[Numbers, Numbers]
"""Time to the first answer token, and end to end."""


def _options(argv: Sequence[str]) -> argparse.Namespace:
    arguments = parser("whatif", "Tell what more thinking tokens would cost.")
    arguments.add_argument("--add-thinking-tokens", type=counting, required=True, metavar="N")
    arguments.add_argument(
        "--share", type=share, default=1.0, metavar="S", help="of the requests, 0 to 1; default 1"
    )
    arguments.add_argument(
        "--of",
        choices=("hardest", "any"),
        default="hardest",
        help="which ones: those that think longest (default), or any",
    )
    inputs.add_scenario(arguments, live=True)
    arguments.add_argument(
        "--watch-seconds", type=nonnegative, default=10.0, metavar="S",
        help="how long a gateway is watched for its present rate; default 10",
    )  # fmt: skip
    arguments.add_argument(
        "--quick", action="store_true", help="reckon by closed forms, in a second"
    )
    arguments.add_argument("--json", type=Path, metavar="FILE")
    arguments.add_argument("--plot", type=Path, metavar="FILE", help="PNG")
    return arguments.parse_args(argv)


def _run(argv: Sequence[str]) -> int:
    options = _options(argv)
    writable(options.json)
    writable(options.plot)
    change = Change(
        add_thinking_tokens=options.add_thinking_tokens,
        share=options.share,
        hardest=options.of == "hardest",
    )
    live = gateways.read(options.gateway, options.watch_seconds) if options.gateway else None
    before = inputs.scenario(options, live)
    after = whatif.changed(before, change)
    answer = _reckoned if options.quick else _simulated
    (one, drawn_one), (other, drawn_other) = answer(before), answer(after)
    title = f"{change.add_thinking_tokens} more thinking tokens for {change.share * 100:g} %"
    _show(title, (one, other))
    if options.json is not None:
        sides = {"before": asdict(one), "after": asdict(other)}
        text = {"scenario": before.name, "seed": before.seed, **asdict(change), **sides,
                "method": "closed form" if options.quick else "simulation"}  # fmt: skip
        options.json.write_text(json.dumps(text, indent=1) + "\n")
    if options.plot is not None:
        _draw(options.plot, f"{title}: {before.name}", drawn_one, drawn_other)
        print(f"drawn: {options.plot}", file=sys.stderr)
    return 0


def _reckoned(scenario: Scenario) -> tuple[Answer, Latencies]:
    predicted: Prediction = fluid.predict(scenario)
    answered = ~np.isnan(predicted.first_answer_seconds)
    latencies = (predicted.first_answer_seconds[answered], predicted.end_seconds)
    return whatif.reckoned(scenario, predicted), latencies


def _simulated(scenario: Scenario) -> tuple[Answer, Latencies]:
    from thinkscale.simulation import contestants

    ours = contestants.parse(contestants.UNCUT)[0]
    with terminal.fraction(scenario.name) as progress:
        outcome: Outcome = contestants.simulate(ours, scenario, progress)
    requests = outcome.requests
    answered = ~np.isnan(requests.first_answer_seconds)
    latencies = (requests.first_answer_seconds[answered], requests.end_seconds)
    found = whatif.simulated(scenario, outcome)
    closed = whatif.reckoned(scenario, fluid.predict(scenario))
    limit = replace(
        found,
        replicas_wanted_peak=closed.replicas_wanted_peak,
        overloaded_hours=closed.overloaded_hours,
        carried_budget_tokens=closed.carried_budget_tokens,
    )
    return limit, latencies


def _show(title: str, sides: Sides) -> None:
    one, other = sides
    lines: list[list[str]] = []
    for name in ("ttft_seconds", "ttfa_seconds", "e2e_seconds"):
        pairs = zip(("p50", "p95", "p99"), getattr(one, name), getattr(other, name), strict=True)
        lines += [_line(f"{name} {mark}", a, b) for mark, a, b in pairs]
    lines.append(_percents("attainment", one.attainment, other.attainment))
    lines += [
        _percents(f"  {name}", value, other.attainment_by_slo[name])
        for name, value in one.attainment_by_slo.items()
    ]
    lines += [
        _line("thinking tokens, mean", one.thinking_tokens_mean, other.thinking_tokens_mean),
        _percents("budget reached", one.budget_reached_share, other.budget_reached_share),
        *(
            [_line("replicas needed, fractional", a, b)]
            if (a := one.replicas_wanted_mean) is not None
            and (b := other.replicas_wanted_mean) is not None
            else []
        ),
        _line("replicas, mean", one.replicas_mean, other.replicas_mean),
        _line("replicas, peak", one.replicas_peak, other.replicas_peak),
        _line("GPUs, peak", one.gpus_peak, other.gpus_peak),
        _line("GPU-hours", one.gpu_hours, other.gpu_hours),
    ]
    terminal.table([title, "before", "after", "change"], lines)
    if other.overloaded_hours:
        print(
            f"the limit is too low: {other.replicas_wanted_peak} replicas are wanted at the peak, "
            f"and more than allowed for {other.overloaded_hours:.1f} h; a thinking budget of "
            f"{other.carried_budget_tokens:,} tokens would fit"
        )


def _line(name: str, one: float, other: float) -> list[str]:
    change = f"{(other / one - 1) * 100:+.1f} %" if one > 0 and np.isfinite(one + other) else ""
    return [name, f"{one:,.4g}", f"{other:,.4g}", change]


def _percents(name: str, one: float, other: float) -> list[str]:
    return [name, f"{one * 100:.2f} %", f"{other * 100:.2f} %", f"{(other - one) * 100:+.2f}"]


def _draw(path: Path, title: str, one: Latencies, other: Latencies) -> None:
    from thinkscale.simulation import plots

    names = ("time to first answer token", "end to end")
    plots.before_after(
        path,
        title,
        [
            plots.Compared(title=name, before=before, after=after)
            for name, before, after in zip(names, one, other, strict=True)
        ],
    )


main = guarded("whatif", _run)
