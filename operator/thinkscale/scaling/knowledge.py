"""What the memory amounts to at this instant: lengths, bounds, the design point, the horizon."""

from dataclasses import dataclass
from typing import Final

from thinkscale.model.intent import Intent
from thinkscale.model.observation import MergedSignals
from thinkscale.scaling import arrivals, calibrate, lead_time, length_trend, pace, running_prompt
from thinkscale.scaling.capacity import Bounds, Design, design, pace_limit_seconds
from thinkscale.scaling.memory import longest_output
from thinkscale.scaling.state import State
from thinkscale.scaling.survival import Survival

MOST_STRETCH: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """For one tick."""

    thinking: Survival
    outputs: Survival
    """As they will be at the horizon, by their trend."""
    bounds: Bounds
    point: Design
    prompt_tokens: float
    running_prompt_tokens: float
    answer_tokens: float
    arrivals_per_second: float | None
    lead_mean_seconds: float
    lead_is_learnt: bool
    horizon_seconds: float
    dispersion: float

    @property
    def certain(self) -> bool:
        """Enough is known to project with."""
        return self.outputs.certain and self.point.token_seconds is not None

    def numbers(self) -> dict[str, float]:
        """For people, units in the names; what is not known is absent."""
        point = self.point
        found: dict[str, float | None] = {
            "horizon_seconds": self.horizon_seconds,
            "arrivals_per_second": self.arrivals_per_second,
            "arrivals_dispersion": self.dispersion,
            "tokens_per_request": point.request_tokens,
            "prompt_tokens": self.prompt_tokens or None,
            "running_prompt_tokens": self.running_prompt_tokens or None,
            "context_tokens": point.context_tokens,
            "length_stretch": self.outputs.stretch if self.outputs.certain else None,
            "design_batch": point.batch,
            "token_seconds": point.token_seconds,
            "capacity_tokens_per_second": point.tokens_per_second,
            "kv_tokens": self.bounds.kv_tokens,
            "pace_limit_seconds": self.bounds.pace_limit_seconds,
        }
        if step := self.bounds.step_time:
            found |= {
                "step_base_seconds": step.base_seconds,
                "step_sequence_seconds": step.sequence_seconds,
                "step_context_token_seconds": step.context_token_seconds,
                "step_prompt_token_seconds": step.prompt_token_seconds,
            }
        return {name: value for name, value in found.items() if value is not None}


def gather(state: State, intent: Intent, signals: MergedSignals | None) -> Knowledge:
    """Put together what is known now."""
    horizon = lead_time.horizon_seconds(state.lead_times, intent.startup_seconds)
    lengths = state.lengths
    longer = min(MOST_STRETCH, length_trend.stretch(state.length_trend, horizon))
    thinking = Survival(lengths.thinking, intent.budget.max_tokens)
    outputs = Survival(lengths.outputs, longest_output(intent), longer)
    bounds = Bounds(
        seats=intent.seats_per_replica,
        kv_tokens=state.calibration.kv_tokens or intent.kv_tokens,
        pace_limit_seconds=pace_limit_seconds(intent.objectives, thinking, outputs),
        step_time=calibrate.step_time(state.calibration),
    )
    measured = pace.seconds_per_token(state.pace)
    if measured is None and signals is not None:
        measured = signals.fastest_token_seconds
    running = running_prompt.mean_tokens(state.running_prompt, lengths.prompt_mean_tokens)
    return Knowledge(
        thinking=thinking,
        outputs=outputs,
        bounds=bounds,
        point=design(
            bounds,
            outputs,
            lengths.prompt_mean_tokens,
            measured,
            running_prompt_tokens=running,
        ),
        prompt_tokens=lengths.prompt_mean_tokens,
        running_prompt_tokens=running,
        answer_tokens=lengths.answer_mean_tokens,
        arrivals_per_second=arrivals.rate(state.arrivals),
        lead_mean_seconds=lead_time.mean_seconds(state.lead_times, intent.startup_seconds),
        lead_is_learnt=bool(state.lead_times),
        horizon_seconds=horizon,
        dispersion=state.arrivals.dispersion,
    )
