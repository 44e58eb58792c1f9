"""Small scenarios for the engine's tests: an eighth of the reference replica (the same times for an
eighth of the batch), so that a fleet of several needs few requests; and policies that look on.
"""

import math
import random
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from thinkscale.fleet.profile import REFERENCE, Profile
from thinkscale.model.intent import Behavior, Budget, Indicator, Intent, Mode, Objective
from thinkscale.model.observation import Observation
from thinkscale.simulation.policy import Factory, Order, Policy
from thinkscale.simulation.scenario import Boot, Scenario
from thinkscale.simulation.workload import Workload

EIGHTH = replace(
    REFERENCE,
    name="eighth",
    sequence_seconds=8 * REFERENCE.sequence_seconds,
    context_token_seconds=8 * REFERENCE.context_token_seconds,
    prompt_token_seconds=8 * REFERENCE.prompt_token_seconds,
    kv_tokens=REFERENCE.kv_tokens // 8,
    seats=REFERENCE.seats // 8,
)
FLOOR_TOKENS = 512

Arrival = tuple[float, int, int, int]
"""When, prompt, thinking, answer."""


def arrivals(seed: int, count: int, per_second: float, thinking: float = 1500) -> list[Arrival]:
    """Poisson arrivals with lognormal prompts and thoughts, and exponential answers."""
    generator, at, made = random.Random(seed), 0.0, []
    for _ in range(count):
        at += generator.expovariate(per_second)
        prompt = max(1, int(generator.lognormvariate(6.3, 1.1)))
        thought = min(16_000, int(generator.lognormvariate(math.log(thinking) - 0.45, 0.94)))
        made.append((at, min(8000, prompt), thought, max(1, int(generator.expovariate(1 / 400)))))
    return made


def workload(rows: list[Arrival]) -> Workload:
    """Of these requests."""
    at, prompts, thoughts, answers = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Workload(
        name="small",
        at_seconds=np.array(at, dtype=np.float64),
        prompt_tokens=np.array(prompts, dtype=np.int64),
        thinking_tokens=np.array(thoughts, dtype=np.int64),
        answer_tokens=np.array(answers, dtype=np.int64),
    )


def scenario(
    rows: list[Arrival],
    *,
    duration_seconds: float,
    replicas: int,
    seed: int = 1,
    profile: Profile = EIGHTH,
    boot: Boot | None = None,
) -> Scenario:
    """These requests on such replicas, everything scored and billed, one gateway, no fault."""
    return Scenario(
        name="small",
        seed=seed,
        workload=workload(rows),
        intent=_intent(profile),
        profile=profile,
        boot=boot or Boot(mean_seconds=60.0, deviation_seconds=5.0),
        duration_seconds=duration_seconds,
        warm_up_seconds=0.0,
        initial_replicas=replicas,
    )


def _intent(profile: Profile) -> Intent:
    limits = (
        ("wait", Indicator.TIME_TO_FIRST_TOKEN, 10.0, 0.0),
        ("pace", Indicator.TIME_PER_OUTPUT_TOKEN, 0.045, 0.0),
        ("answer", Indicator.TIME_TO_FIRST_ANSWER, 12.0, 0.045),
        ("answer-pace", Indicator.TIME_PER_ANSWER_TOKEN, 0.045, 0.0),
        ("whole", Indicator.END_TO_END, 15.0, 0.045),
    )
    return Intent(
        service="simulated/small",
        mode=Mode.AUTO,
        manual_replicas=None,
        min_replicas=1,
        max_replicas=20,
        scale_to_zero_after_seconds=None,
        scale_up=Behavior(stabilization_window_seconds=0.0),
        scale_down=Behavior(stabilization_window_seconds=60.0),
        seats_per_replica=profile.seats,
        gpus_per_replica=2,
        startup_seconds=600.0,
        budget=Budget(max_tokens=None, floor_tokens=FLOOR_TOKENS),
        answer_max_tokens=None,
        objectives=tuple(
            Objective(
                name=name,
                indicator=indicator,
                threshold_seconds=threshold,
                per_token_seconds=each,
                objective=0.99,
                window_seconds=3600.0,
            )
            for name, indicator, threshold, each in limits
        ),
        step_time=profile.step_time,
        kv_tokens=profile.kv_tokens,
    )


@dataclass
class Witness:
    """Writes down what a policy saw and what it ordered; may make it tick at its own pace."""

    every_seconds: float | None = None
    guarded: bool = False
    inner: Policy | None = None
    seen: list[tuple[datetime, Observation, Order]] = field(default_factory=list)

    def around(self, factory: Factory) -> Factory:
        """The same policy, watched."""

        def make(its: Scenario) -> Policy:
            self.inner = factory(its)
            self.guarded = bool(getattr(self.inner, "guarded", False))
            return self

        return make

    def tick(self, observation: Observation, now: datetime) -> Order:
        """What the inner one says."""
        assert self.inner is not None
        order = self.inner.tick(observation, now)
        if self.every_seconds is not None:
            order = replace(order, next_tick_seconds=self.every_seconds)
        self.seen.append((now, observation, order))
        return order
