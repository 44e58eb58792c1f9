"""What one replica carries at best, from the true lengths: batch, pace, requests a second.

The same closed forms that the law uses with what it has learnt, here with what nobody in production
knows: they size a scenario's first fleet and give the oracle its ideal occupancy. A random
*running* sequence is longer than a random request, so its context is length-biased.
"""

from dataclasses import dataclass

from thinkscale.fleet.profile import Profile
from thinkscale.model.intent import Indicator, Intent
from thinkscale.scaling.capacity import KV_FILL, PACE_FILL
from thinkscale.simulation.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignPoint:
    """One replica, loaded as it should be."""

    batch: float
    """Sequences that run at once."""
    token_seconds: float
    """Seconds from one token of a sequence to the next, prefill stalls included."""
    tokens_per_request: float

    @property
    def requests_per_second(self) -> float:
        """What it carries in the long run."""
        return self.batch / (self.token_seconds * self.tokens_per_request)


def pace_limit_seconds(intent: Intent) -> float | None:
    """The time per token that the objectives leave; None: they do not say."""
    paced = (Indicator.TIME_PER_OUTPUT_TOKEN, Indicator.TIME_PER_ANSWER_TOKEN)
    limits = [
        objective.threshold_seconds if objective.indicator in paced else objective.per_token_seconds
        for objective in intent.objectives
    ]
    return min((limit for limit in limits if limit > 0), default=None)


def design_point(workload: Workload, profile: Profile, pace_limit: float | None) -> DesignPoint:
    """The smallest of three bounds on the batch: seats, 93 % of the KV cache, 94 % of the pace.

    Prompts of 1,000 and outputs of exactly 2,000: a context of 1,000 + 4e6 / 4,000 = 2,000, so
    .93 * 290,000 / 2,000 = 134 fit, and by a pace of 45 ms (42.3 - 15.5) / (.027 + .152 + .0255)
    = 131 run; the 128 seats bind. 15.5 + 128 * (.027 + .152) + 51 us * 1,000 * 128 / 2,000 =
    41.7 ms a token, 1.54 requests a second.
    """
    outputs = workload.output_tokens.astype(float)
    prompts = workload.prompt_tokens.astype(float)
    mean = float(outputs.mean())
    carried = float((prompts * outputs).mean() / mean)
    context = carried + float((outputs * outputs).mean()) / (2 * mean)
    prefill = profile.prompt_token_seconds * float(prompts.mean()) / mean
    each = profile.sequence_seconds + profile.context_token_seconds * context + prefill
    batch = min(float(profile.seats), KV_FILL * profile.kv_tokens / context)
    if pace_limit is not None:
        batch = min(batch, (PACE_FILL * pace_limit - profile.base_seconds) / each)
    batch = max(1.0, batch)
    return DesignPoint(
        batch=batch, token_seconds=profile.base_seconds + batch * each, tokens_per_request=mean
    )
