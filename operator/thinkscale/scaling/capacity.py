"""What one replica carries: the batch it is designed for, and what a token takes at it.

A random *running* request is not a random request: long ones run longer. Its mean context is
`Pm + E[L²]/(2·E[L])`, and taking `Pm + E[L]/2` instead costs a third of all requests their SLO.
The batch is the smallest that a constraint allows: seats, KV cache, the pace of a token.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from thinkscale.model.intent import Indicator, Objective
from thinkscale.model.step_time import StepTime
from thinkscale.scaling.survival import Survival

KV_FILL: Final = 0.93
PACE_FILL: Final = 0.94
PACES: Final = (Indicator.TIME_PER_ANSWER_TOKEN, Indicator.TIME_PER_OUTPUT_TOKEN)
WAITING: Final = (
    Indicator.TIME_TO_FIRST_TOKEN,
    Indicator.TIME_TO_FIRST_ANSWER,
    Indicator.END_TO_END,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What limits a replica; None: not known, or nothing does."""

    seats: int
    kv_tokens: int | None = None
    pace_limit_seconds: float | None = None
    """The longest time per token that the objectives allow."""
    step_time: StepTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One replica at its design point."""

    batch: float
    """Requests that run at once."""
    token_seconds: float | None
    """From one token of a request to the next, prefill of others included; None: not known."""
    request_tokens: float | None
    """Mean output of a request; None: not known."""
    context_tokens: float | None = None
    """Mean KV tokens of a running request."""

    @property
    def tokens_per_second(self) -> float | None:
        """All requests of the batch together."""
        return self.batch / self.token_seconds if self.token_seconds else None

    @property
    def request_seconds(self) -> float | None:
        """How long one request runs."""
        if self.token_seconds is None or self.request_tokens is None:
            return None
        return self.token_seconds * self.request_tokens

    @property
    def replica_seconds(self) -> float | None:
        """r: replica-seconds that a request takes."""
        seconds = self.request_seconds
        return None if seconds is None else seconds / self.batch


def slack_seconds(objectives: Iterable[Objective]) -> float | None:
    """How long a request may wait for its turn: the tightest threshold; None: nothing bounds it."""
    return min((o.threshold_seconds for o in objectives if o.indicator in WAITING), default=None)


def pace_limit_seconds(
    objectives: Iterable[Objective], thinking: Survival, outputs: Survival
) -> float | None:
    """The longest time per token under which every objective can hold; None: none bounds it.

    First answer within 30 s whatever is thought, of which half may be spent waiting, at 99 %, and a
    constant hazard of 1/100: q99 = 461 tokens, so 15/461 = 33 ms. With 15 s + 45 ms a token beside
    a wait of 10 s, and q99(L) = 10,000: 45 + 5/10,000 = 45.5 ms.
    """
    objectives = tuple(objectives)
    slack = slack_seconds(objectives)
    limits = []
    for objective in objectives:
        if objective.indicator in PACES:
            limits.append(objective.threshold_seconds)
        elif objective.indicator is not Indicator.TIME_TO_FIRST_TOKEN:
            first_answer = objective.indicator is Indicator.TIME_TO_FIRST_ANSWER
            limit = _budgeted(objective, slack or 0.0, thinking if first_answer else outputs)
            if limit is not None:
                limits.append(limit)
    return min(limits, default=None)


def _budgeted(objective: Objective, slack: float, lengths: Survival) -> float | None:
    """What the threshold leaves, after a wait, to a token of a long request; None: not known."""
    if objective.per_token_seconds > 0:
        spare = max(0.0, objective.threshold_seconds - slack)
    else:
        spare = max(objective.threshold_seconds / 2, objective.threshold_seconds - slack)
    if not lengths.certain:
        return objective.per_token_seconds or None
    longest = lengths.quantile(objective.objective)
    return objective.per_token_seconds + spare / longest if longest > 0 else None


def design(
    bounds: Bounds,
    outputs: Survival,
    prompt_tokens: float,
    measured_seconds: float | None,
    within_tokens: float | None = None,
    running_prompt_tokens: float | None = None,
) -> Design:
    """The design point. `running_prompt_tokens`: of those who run, where it is known to differ from
    `prompt_tokens`, of those who arrive. `measured_seconds` is what a token took lately, for when
    no step time is known; with `within_tokens` outputs are taken to end there at the latest.

    Reference profile, prompts of 1,000, every output 2,000 tokens: a context of 1,000 + 1,000 =
    2,000, so .93·290,000/2,000 = 134 fit the cache, and by 45 ms a token (42.3 - 15.5)/(.027 + .152
    + .0255) = 131; the 128 seats bind, at 15.5 + 128·(.027 + .152 + .0255) = 41.7 ms a token. If
    those who run hold prompts of 2,000, the context is 3,000, and 90 fit the cache.
    """
    if not outputs.certain:
        return Design(
            batch=float(bounds.seats), token_seconds=measured_seconds, request_tokens=None
        )
    within = outputs.bound if within_tokens is None else within_tokens
    mean = max(1.0, outputs.mean_within(within))
    held = prompt_tokens if running_prompt_tokens is None else running_prompt_tokens
    context = max(1.0, held + outputs.square_within(within) / (2 * mean))
    step = bounds.step_time
    batch = float(bounds.seats)
    if bounds.kv_tokens is not None:
        batch = min(batch, KV_FILL * bounds.kv_tokens / context)
    if step is None:
        return Design(
            batch=max(1.0, batch),
            token_seconds=measured_seconds,
            request_tokens=mean,
            context_tokens=context,
        )
    each = (
        step.sequence_seconds
        + step.context_token_seconds * context
        + step.prompt_token_seconds * prompt_tokens / mean
    )
    if bounds.pace_limit_seconds is not None and each > 0:
        batch = min(batch, (PACE_FILL * bounds.pace_limit_seconds - step.base_seconds) / each)
    batch = max(1.0, batch)
    return Design(
        batch=batch,
        token_seconds=step.base_seconds + batch * each,
        request_tokens=mean,
        context_tokens=context,
    )
