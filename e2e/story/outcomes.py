"""What became of each request, as the client saw it, and how that is scored against the SLOs.

Pure. All latencies count from the *intended* send time, so a client that fell behind cannot hide
the wait (no coordinated omission). Attainment follows the product's definition: errors, cut-off
streams and unfinished requests are misses; 4xx other than 429 are left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """One objective of the resource, in seconds."""

    name: str
    indicator: str
    threshold_seconds: float
    per_token_seconds: float = 0.0
    objective_percent: float = 99.0

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> "Slo":
        """From an entry of `spec.slos`."""
        return cls(
            name=spec["name"],
            indicator=spec["indicator"],
            threshold_seconds=spec["thresholdMilliseconds"] / 1000,
            per_token_seconds=spec.get("perTokenMilliseconds", 0) / 1000,
            objective_percent=float(spec["objectivePercent"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request. Instants are seconds after the run's start; None: it never came to that."""

    stream: str
    index: int
    intended: float
    sent: float
    first_token: float | None = None
    first_answer: float | None = None
    end: float
    thinking_tokens: int = 0
    answer_tokens: int = 0
    status: int = 0
    """HTTP status; 0 if there was no answer at all."""
    error: str = ""
    """Empty for a stream that ended as it should."""
    finish_reason: str = ""
    replica: str = ""
    """Where it was served, if the gateway says so."""

    def to_json(self) -> dict[str, Any]:
        """All fields by their names."""
        return asdict(self)

    @property
    def failed(self) -> bool:
        """Not answered, or cut off."""
        return bool(self.error) or self.status != 200

    @property
    def counts(self) -> bool:
        """Whether it takes part in attainment: the client's own mistakes do not."""
        return not (400 <= self.status < 500 and self.status != 429)


def indicator_seconds(outcome: Outcome, slo: Slo) -> float | None:
    """The measured value of an SLO's indicator; None if the request never came to that."""
    match slo.indicator:
        case "TimeToFirstToken":
            return _since(outcome.intended, outcome.first_token)
        case "TimeToFirstAnswer":
            return _since(outcome.intended, outcome.first_answer)
        case "EndToEnd":
            return outcome.end - outcome.intended
        case "TimePerAnswerToken":
            if outcome.first_answer is None:
                return None
            return (outcome.end - outcome.first_answer) / max(1, outcome.answer_tokens - 1)
        case _:
            raise ValueError(f"no such indicator: {slo.indicator}")


def limit_seconds(outcome: Outcome, slo: Slo) -> float:
    """The limit of this request: `threshold + per_token * tokens`.

    8 s and 45 ms a token with 300 thinking tokens: 21.5 s to the first answer token.
    """
    match slo.indicator:
        case "TimeToFirstAnswer":
            tokens = outcome.thinking_tokens
        case "EndToEnd":
            tokens = outcome.thinking_tokens + outcome.answer_tokens
        case _:
            tokens = 0
    return slo.threshold_seconds + slo.per_token_seconds * tokens


def missed(outcome: Outcome, slo: Slo) -> bool:
    """Whether the request missed the objective."""
    if outcome.failed:
        return True
    value = indicator_seconds(outcome, slo)
    return value is None or value > limit_seconds(outcome, slo)


def late_second(outcome: Outcome, slo: Slo) -> float | None:
    """When a request became late: the instant its limit passed unmet; None if it met it.

    That is earlier than the moment the late answer came, and it is when a person would notice. A
    slow pace shows only at the end.
    """
    if not missed(outcome, slo):
        return None
    if slo.indicator == "TimePerAnswerToken":
        return outcome.end
    return min(outcome.intended + limit_seconds(outcome, slo), outcome.end)


def attainment(outcomes: Iterable[Outcome], slo: Slo) -> float | None:
    """Share of the counted requests that met the objective; None if there was none."""
    scored = [not missed(outcome, slo) for outcome in outcomes if outcome.counts]
    return sum(scored) / len(scored) if scored else None


def send_lag_p99_seconds(outcomes: Sequence[Outcome]) -> float:
    """How far the generator itself fell behind its plan, 99th percentile; 0 for no request."""
    lags = sorted(outcome.sent - outcome.intended for outcome in outcomes)
    return lags[min(len(lags) - 1, int(0.99 * len(lags)))] if lags else 0.0


def _since(start: float, instant: float | None) -> float | None:
    return None if instant is None else instant - start
