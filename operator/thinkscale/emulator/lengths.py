"""How long the model thinks and answers: from the request's plan if a test gives one, else drawn.

The name of the request field with the plan is given on the command line and nowhere else, so no
component can read the future by knowing it. A continuation (a prompt that already contains part of
the thinking) gets the plan of the generation that it continues.
"""

import math
import random
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard

from thinkscale.emulator.prompt import PromptState
from thinkscale.emulator.script import Plan

REMEMBERED: Final = 4096
LOGNORMAL_SIGMA: Final = 1.09
"""Coefficient of variation 1.51, that of the Alibaba mix of R1 requests (cv² = 2.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthOptions:
    """Where lengths come from. Means in tokens."""

    plan_field: str | None = None
    thinking_mean: float = 300.0
    answer_mean: float = 80.0
    distribution: str = "geometric"
    """geometric | lognormal | constant"""
    seed: int = 0


class Lengths:
    """Draws plans, and remembers them for continuations."""

    def __init__(self, options: LengthOptions) -> None:
        self._options = options
        self._random = random.Random(options.seed)
        self._plans: OrderedDict[int, Plan] = OrderedDict()

    def plan(self, body: Mapping[str, object], prompt: PromptState) -> Plan:
        """The plan of one generation. ValueError: the plan field is not two whole numbers."""
        field = self._options.plan_field
        if field is not None and body.get(field) is not None:
            return _given(field, body[field])
        if prompt.is_continuation and prompt.key in self._plans:
            return self._plans[prompt.key]
        plan = Plan(
            thinking_tokens=self._draw(self._options.thinking_mean),
            answer_tokens=self._draw(self._options.answer_mean),
        )
        self._plans[prompt.key] = plan
        self._plans.move_to_end(prompt.key)
        if len(self._plans) > REMEMBERED:
            self._plans.popitem(last=False)
        return plan

    def _draw(self, mean: float) -> int:
        if mean <= 0:
            return 0
        match self._options.distribution:
            case "geometric":
                drawn = self._random.expovariate(1 / mean)
            case "lognormal":
                location = math.log(mean) - LOGNORMAL_SIGMA**2 / 2
                drawn = self._random.lognormvariate(location, LOGNORMAL_SIGMA)
            case _:
                drawn = mean
        return max(1, round(drawn))


def _given(field: str, value: object) -> Plan:
    if isinstance(value, dict):
        thinking, answer = value.get("thinking_tokens"), value.get("answer_tokens")
        calls = value.get("tool_calls", 0)
        if _is_count(thinking) and _is_count(answer) and _is_count(calls):
            return Plan(thinking_tokens=thinking, answer_tokens=answer, tool_calls=calls)
    raise ValueError(
        f"{field} must be {{thinking_tokens, answer_tokens}}, maybe {{tool_calls}}, whole numbers"
    )


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
