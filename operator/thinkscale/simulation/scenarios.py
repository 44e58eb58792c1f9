"""The scenarios that the product is measured on, by name and seed.

`loads` and `replays` say who arrives when; here stands what is asked of the fleet, what it is made
of and what goes wrong. A name may carry variants: `drift+lost0.2+boot60` is drift with a fifth of
the scrapes lost, on replicas that start in 60 s. The seed gives the same requests to every variant,
so that runs can be compared in pairs.

A wrong prior is one on the four coefficients of the step time: the size of the KV cache is told by
the engines themselves.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from thinkscale.fleet.catalogue import GPUS, MODELS, estimate
from thinkscale.fleet.profile import REFERENCE, Profile
from thinkscale.model.intent import Behavior, Budget, Indicator, Intent, Mode, Objective
from thinkscale.model.step_time import StepTime
from thinkscale.simulation import loads, replays, two_tiers, variants
from thinkscale.simulation.design_point import design_point, pace_limit_seconds
from thinkscale.simulation.loads import Load
from thinkscale.simulation.scenario import Boot, Faults, Scenario
from thinkscale.simulation.variants import PLAIN, UnknownScenario, Variant
from thinkscale.simulation.workload import Workload

FLOOR_TOKENS: Final = 1024
MOST_REPLICAS: Final = 48
WINDOW_SECONDS: Final = 120.0
LIMIT_SECONDS: Final = 1800.0
"""`startupSeconds` as a user leaves it."""
FIRST_MINUTES_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What differs in the declared intent."""

    wait_seconds: float = 10.0
    pace_seconds: float = 0.045
    slack_seconds: float | None = 15.0
    """EndToEnd: this and the pace times the tokens; None: no such objective."""
    max_tokens: int | None = None
    """Of thinking."""
    replicas: tuple[int, int] = (1, MOST_REPLICAS)
    may_cut: bool = True
    boot: Boot = dataclasses.field(default_factory=Boot)


Source = Callable[[int, Path | None], Load]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    source: Source
    asked: Asked = Asked()
    profile: Profile = REFERENCE
    seats: int | None = None


def _only(load: Callable[[int], Load]) -> Source:
    return lambda seed, _: load(seed)


def _hour(name: str) -> Source:
    return lambda _, traces: replays.hour(name, traces)


_LONG_PROMPTS: Final = Asked(wait_seconds=30.0, pace_seconds=0.1, slack_seconds=35.0)
"""Mooncake's own limits: prompts of 12,000 tokens on average stall everybody for seconds."""
_RAMP: Final = Asked(
    wait_seconds=3.0,
    pace_seconds=0.1,
    slack_seconds=None,
    replicas=(3, 8),
    may_cut=False,
    boot=Boot(mean_seconds=100.0, deviation_seconds=12.5),
)
"""As published, start-up with a warm compile cache included."""


_RAMP_STEP: Final = 0.85
"""Of the closed forms' step time for Qwen3-32B on two H100s: with it a standing eight replicas
serve all of the ramp in time, as published; by the forms as they are, 3 to 16 % are late.
"""


def _ramp_profile() -> Profile:
    known = estimate(MODELS["Qwen/Qwen3-32B"], GPUS["H100"], 2, 256, name="qwen3-32b-2xh100")
    return replace(
        known,
        base_seconds=_RAMP_STEP * known.base_seconds,
        sequence_seconds=_RAMP_STEP * known.sequence_seconds,
        context_token_seconds=_RAMP_STEP * known.context_token_seconds,
        prompt_token_seconds=_RAMP_STEP * known.prompt_token_seconds,
    )


def _heavy_tail_8k(seed: int) -> Load:
    return loads.heavy_tail(seed, budget_tokens=8192)


_NAMED: Final[Mapping[str, _Named]] = {
    "smooth": _Named(source=_only(loads.smooth)),
    "bursts": _Named(source=_only(loads.bursty)),
    "step": _Named(source=_only(loads.step)),
    "drift": _Named(source=_only(loads.drift)),
    "heavy-tail": _Named(source=_only(loads.heavy_tail)),
    "heavy-tail-8k": _Named(source=_only(_heavy_tail_8k), asked=Asked(max_tokens=8192)),
    "servegen": _Named(source=replays.servegen),
    "gpu-limit": _Named(source=_only(loads.smooth), asked=Asked(replicas=(1, 9))),
    "gpu-limit-8": _Named(source=_only(loads.smooth), asked=Asked(replicas=(1, 8))),
    "llmd-ramp": _Named(source=_only(loads.ramp), asked=_RAMP, profile=_ramp_profile()),
    "drift-seats": _Named(source=_only(loads.drift), seats=64),
    "heavy-tail-seats": _Named(source=_only(loads.heavy_tail), seats=64),
    "step-seats": _Named(source=_only(loads.step), seats=64),
    "azure": _Named(source=_hour("azure2023_conv_r1")),
    "mooncake": _Named(source=_hour("mooncake_conversation_r1"), asked=_LONG_PROMPTS),
}
NAMES: Final[tuple[str, ...]] = tuple(_NAMED)


def make(
    name: str,
    seed: int,
    *,
    brownout: bool = True,
    traces: Path | None = None,
) -> Scenario:
    """One scenario. The name may carry variants.

    `traces`: the directory with the recorded ones. UnknownScenario: no such name or variant.
    TraceError: a recorded one is missing.
    """
    base, *words = name.split("+")
    if base not in _NAMED:
        raise UnknownScenario(f"no scenario is named {base!r}; there are {', '.join(NAMES)}")
    named, variant = _NAMED[base], variants.read(words)
    return _scenario(base, seed, named, named.source(seed, traces), variant, brownout)


def replay(workload: Workload, seed: int, *, brownout: bool = True) -> Scenario:
    """Any trace on the reference fleet, with the objectives of most scenarios."""
    return replay_load(replays.recorded(workload), workload.name, seed, brownout=brownout)


def replay_load(load: Load, name: str, seed: int, *, brownout: bool = True) -> Scenario:
    """The same for a load whose warm-up is known."""
    named = _Named(source=lambda _seed, _traces: load)
    return _scenario(name, seed, named, load, PLAIN, brownout)


def initial_replicas(
    workload: Workload, profile: Profile, intent: Intent, until_seconds: float
) -> int:
    """A fleet that is right for the first minutes: their rate, over what one replica carries, and a
    tenth more.
    """
    first = workload.at_seconds < FIRST_MINUTES_SECONDS
    sample = workload.at_seconds < max(until_seconds, FIRST_MINUTES_SECONDS)
    if not first.any():
        return max(1, intent.min_replicas)
    one = design_point(workload.rows(sample), profile, pace_limit_seconds(intent))
    rate = np.count_nonzero(first) / FIRST_MINUTES_SECONDS
    wanted = math.ceil(1.1 * rate / one.requests_per_second)
    return max(intent.min_replicas, min(intent.max_replicas, wanted))


def _scenario(
    name: str, seed: int, named: _Named, load: Load, variant: Variant, brownout: bool
) -> Scenario:
    seats = variant.seats or named.seats or named.profile.seats
    profile = replace(named.profile, seats=seats)
    intent = _intent(name, named.asked, profile, variant, brownout)
    scored = load.duration_seconds - load.warm_up_seconds
    boot = named.asked.boot
    if variant.boot_seconds is not None:
        boot = Boot(mean_seconds=variant.boot_seconds, deviation_seconds=variant.boot_seconds / 8)
    workload = load.workload
    if variant.tiers:
        workload, intent = two_tiers.split(workload, seed), two_tiers.told(intent)
    return Scenario(
        name=name + variant.suffix,
        seed=seed,
        workload=workload,
        intent=intent,
        profile=profile,
        boot=boot,
        faults=Faults(
            lost_scrapes=variant.lost_scrapes,
            crashes_at_seconds=(load.warm_up_seconds + scored / 2,) if variant.crash else (),
        ),
        duration_seconds=load.duration_seconds,
        warm_up_seconds=load.warm_up_seconds,
        initial_replicas=initial_replicas(load.workload, profile, intent, load.warm_up_seconds),
        gateways=variant.gateways,
    )


def _intent(name: str, asked: Asked, profile: Profile, variant: Variant, brownout: bool) -> Intent:
    may_cut = asked.may_cut and brownout
    least, most = asked.replicas
    return Intent(
        service=f"simulated/{name}",
        mode=Mode.AUTO,
        manual_replicas=None,
        min_replicas=least,
        max_replicas=variant.max_replicas or most,
        scale_to_zero_after_seconds=None,
        scale_up=Behavior(stabilization_window_seconds=0.0),
        scale_down=Behavior(stabilization_window_seconds=WINDOW_SECONDS),
        seats_per_replica=profile.seats,
        gpus_per_replica=2,
        startup_seconds=LIMIT_SECONDS,
        budget=Budget(
            max_tokens=asked.max_tokens, floor_tokens=FLOOR_TOKENS if may_cut else asked.max_tokens
        ),
        answer_max_tokens=None,
        objectives=_objectives(asked),
        step_time=_scaled(profile.step_time, variant.priors),
        kv_tokens=profile.kv_tokens,
        truncation_allowance=0.01 if may_cut else 0.0,
    )


def _objectives(asked: Asked) -> tuple[Objective, ...]:
    wanted = [
        ("wait", Indicator.TIME_TO_FIRST_TOKEN, asked.wait_seconds, 0.0),
        ("pace", Indicator.TIME_PER_OUTPUT_TOKEN, asked.pace_seconds, 0.0),
    ]
    if asked.slack_seconds is not None:
        limits = (asked.slack_seconds, asked.pace_seconds)
        wanted.append(("end-to-end", Indicator.END_TO_END, *limits))
    return tuple(
        Objective(
            name=name,
            indicator=indicator,
            threshold_seconds=threshold,
            per_token_seconds=per_token,
            objective=0.99,
            window_seconds=3600.0,
        )
        for name, indicator, threshold, per_token in wanted
    )


def _scaled(true: StepTime, factor: float) -> StepTime:
    return StepTime(
        base_seconds=true.base_seconds * factor,
        sequence_seconds=true.sequence_seconds * factor,
        context_token_seconds=true.context_token_seconds * factor,
        prompt_token_seconds=true.prompt_token_seconds * factor,
    )
