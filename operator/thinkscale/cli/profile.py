"""`thinkscale profile`: what a service's requests are like, from a trace or a live gateway."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thinkscale.cli import gateways, inputs, terminal
from thinkscale.cli.arguments import guarded, nonnegative, parser, writable
from thinkscale.fleet.profile import PROFILES, REFERENCE, Profile
from thinkscale.simulation import fluid, profile_fit, scenarios, trace
from thinkscale.simulation.live import Live, TooFewRequests
from thinkscale.simulation.outcome import Numbers
from thinkscale.simulation.profile_fit import Distribution
from thinkscale.simulation.workload import Workload

Seen = Mapping[str, Numbers]
"""Values by name: `thinking_tokens`, `ttfa_seconds`, ..."""


def _options(argv: Sequence[str]) -> argparse.Namespace:
    arguments = parser("profile", "Fit the lengths and latencies of a service's requests.")
    source = arguments.add_mutually_exclusive_group(required=True)
    source.add_argument("--trace", type=Path, metavar="FILE", help="CSV, or .csv.gz")
    source.add_argument(
        "--gateway", action="append", metavar="URL", help="admin port; once for each gateway"
    )
    arguments.add_argument(
        "--engine",
        choices=sorted(PROFILES),
        default=REFERENCE.name,
        help=f"replicas on which a trace's latencies are predicted; default {REFERENCE.name}",
    )
    arguments.add_argument(
        "--watch-seconds",
        type=nonnegative,
        default=10.0,
        metavar="S",
        help="how long a gateway is watched for its present rate; default 10",
    )
    arguments.add_argument("--json", type=Path, metavar="FILE")
    arguments.add_argument("--plot", type=Path, metavar="FILE", help="PNG")
    return arguments.parse_args(argv)


def _run(argv: Sequence[str]) -> int:
    options = _options(argv)
    writable(options.json)
    writable(options.plot)
    if options.gateway:
        live = gateways.read(options.gateway, options.watch_seconds)
        seen, about = of_gateways(live)
        source = ", ".join(options.gateway)
    else:
        load = trace.read(options.trace)
        seen, about = of_trace(load, PROFILES[options.engine])
        source = options.trace.name
    fitted = {name: profile_fit.fit(values) for name, values in seen.items() if len(values)}
    if not fitted:
        raise TooFewRequests(f"{source}: no request has ended yet; ask again later")
    _show(source, fitted, about)
    if options.json is not None:
        found = {name: one.as_json() for name, one in fitted.items()}
        text = {"source": source, **about, "distributions": found}
        options.json.write_text(json.dumps(text, indent=1) + "\n")
    if options.plot is not None:
        _draw(options.plot, source, seen, fitted)
        print(f"drawn: {options.plot}", file=sys.stderr)
    return 0


def of_trace(load: Workload, profile: Profile) -> tuple[Seen, dict[str, Any]]:
    """Lengths as recorded; latencies as predicted on such replicas."""
    true, naive = profile_fit.length_biased_context(load)
    scenario = inputs.on(scenarios.replay(load, 1, brownout=False), profile, told=True)
    predicted = fluid.predict(scenario)
    minutes = np.bincount((load.at_seconds // 60).astype(np.int64))
    gaps = np.diff(load.at_seconds)
    about = {
        "requests": len(load),
        "span_hours": float(load.at_seconds[-1] - load.at_seconds[0]) / 3600,
        "arrivals_per_second": len(load) / max(1.0, float(np.ptp(load.at_seconds))),
        "arrivals_peak_minute_per_second": float(minutes.max()) / 60,
        "arrivals_coefficient_of_variation": _variation(gaps),
        "arrivals_dispersion_per_minute": float(minutes.var() / minutes.mean()),
        "context_tokens": true,
        "context_tokens_naive": naive,
        "latencies": f"predicted for {profile.name}",
    }
    return {
        "prompt_tokens": load.prompt_tokens.astype(np.float64),
        "thinking_tokens": load.thinking_tokens.astype(np.float64),
        "answer_tokens": load.answer_tokens.astype(np.float64),
        "output_tokens": load.output_tokens.astype(np.float64),
        "ttft_seconds": predicted.first_token_seconds,
        "ttfa_seconds": predicted.first_answer_seconds[~np.isnan(predicted.first_answer_seconds)],
        "e2e_seconds": predicted.end_seconds,
    }, about


def of_gateways(live: Live) -> tuple[Seen, dict[str, Any]]:
    """Lengths from life tables, latencies as measured."""
    signals = live.signals
    counters = signals.counters
    outputs = profile_fit.values_of_table(signals.output_life_table)
    prompt = counters.arrived_prompt_tokens / max(1, counters.arrivals)
    about: dict[str, Any] = {
        "requests": counters.arrivals,
        "arrivals_per_second": live.arrivals_per_second,
        "prompt_tokens_mean": prompt,
        "answer_tokens_mean": counters.answer_tokens / max(1, counters.answers_begun),
        "latencies": "measured",
    }
    if len(outputs):
        fitted = profile_fit.fit(outputs)
        about["context_tokens"] = prompt + fitted.residual_mean
        about["context_tokens_naive"] = prompt + fitted.mean / 2
    return {
        "thinking_tokens": profile_fit.values_of_table(signals.life_table),
        "output_tokens": outputs,
        "ttft_seconds": profile_fit.values_of_histogram(signals.ttft_seconds),
        "ttfa_seconds": profile_fit.values_of_histogram(signals.ttfa_seconds),
    }, about


def _variation(gaps: Numbers) -> float | None:
    return float(gaps.std() / gaps.mean()) if len(gaps) and gaps.mean() > 0 else None


def _show(source: str, fitted: Mapping[str, Distribution], about: Mapping[str, Any]) -> None:
    head = [source, "mean", "cv", "p50", "p90", "p99", "largest", "tail"]
    lines = []
    for name, one in fitted.items():
        tail = one.tail
        index = "" if tail.pareto_index is None else f" {tail.pareto_index:.2f}"
        marks = [one.quantiles[mark] for mark in ("p50", "p90", "p99")]
        figures = [f"{value:,.4g}" for value in (one.mean, one.variation, *marks, one.largest)]
        lines.append([name, *figures, f"{tail.kind.value}{index}"])
    terminal.table(head, lines)
    terminal.pairs("arrivals and context", [(name, _text(value)) for name, value in about.items()])


def _text(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _draw(path: Path, source: str, seen: Seen, fitted: Mapping[str, Distribution]) -> None:
    from thinkscale.simulation import plots

    panels = []
    for name in ("thinking_tokens", "output_tokens", "ttfa_seconds"):
        if name not in fitted:
            continue
        values, one = seen[name], fitted[name]
        low = max(float(np.quantile(values, 0.01)), 1e-2)
        x = np.geomspace(low, max(3 * one.largest, 2 * low), 200)
        as_seen, as_fitted = profile_fit.exceeding(one, values, x)
        kind = one.tail.kind.value
        what, unit = name.rsplit("_", 1)
        panels.append((what, unit, [("seen", x, as_seen), (f"with {kind} tail", x, as_fitted)]))
    plots.survival(path, source, panels)


main = guarded("profile", _run)
