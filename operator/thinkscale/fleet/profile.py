"""What one replica can do: the time of an engine step, its seats, its KV cache and its cold start.

One step with `b` decoding sequences, `K` KV tokens resident for them and `p` prompt tokens
prefilled takes `t = a0 + a1*b + a2*K + a3*p`. The common `alpha + beta*batch` folds the KV term
into `beta` at one fixed length, which is wrong for reasoning: there `a2*context` is 5 to 10 times
`a1`, and the context moves with the mix of lengths.

The catalogue's numbers are closed forms from hardware and model facts, checked against published
decode intercepts; honest sources differ by 25 %, once by 50 %. They are priors, not measurements.
`demo` is no GPU at all: a small, nearly flat replica that makes a story visible within minutes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from thinkscale.model.step_time import StepTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of replica. Seconds and tokens."""

    name: str
    base_seconds: float
    """a0: reading the weights, launches, overhead of each step."""
    sequence_seconds: float
    """a1: one more decoding sequence."""
    context_token_seconds: float
    """a2: one more KV token resident for a decoding sequence."""
    prompt_token_seconds: float
    """a3: one more prompt token prefilled in the step."""
    kv_tokens: int
    """Tokens that the KV cache holds."""
    seats: int
    """Sequences that run at once (max_num_seqs)."""
    step_tokens: int = 2048
    """Tokens of one step, decodes and prefill chunks together (max_num_batched_tokens)."""
    startup_seconds: float = 240.0
    """Process start to the first request served."""
    gpus: int = 1
    """That one replica takes."""

    def step_seconds(self, decoding: int, context_tokens: int, prompt_tokens: int) -> float:
        """Duration of one step.

        The reference profile at 97 sequences of 2,989 tokens:
        15.5 + 97 * 0.027 + 289,933 * 0.000076 = 40.2 ms.
        """
        return (
            self.base_seconds
            + self.sequence_seconds * decoding
            + self.context_token_seconds * context_tokens
            + self.prompt_token_seconds * prompt_tokens
        )

    @property
    def step_time(self) -> "StepTime":
        """The four coefficients alone."""
        from thinkscale.model.step_time import StepTime  # pydantic: an emulator does without it

        return StepTime(
            base_seconds=self.base_seconds,
            sequence_seconds=self.sequence_seconds,
            context_token_seconds=self.context_token_seconds,
            prompt_token_seconds=self.prompt_token_seconds,
        )


def _profile(
    name: str,
    milliseconds: float,
    micros: tuple[float, float, float],
    kv_tokens: int,
    seats: int,
    *,
    gpus: int,
) -> Profile:
    """A catalogue entry: a0 in ms; a1, a2, a3 in us."""
    return Profile(
        name=name,
        base_seconds=milliseconds / 1e3,
        sequence_seconds=micros[0] / 1e6,
        context_token_seconds=micros[1] / 1e6,
        prompt_token_seconds=micros[2] / 1e6,
        kv_tokens=kv_tokens,
        seats=seats,
        gpus=gpus,
    )


REFERENCE: Final = _profile("r1-32b-2xh100", 15.5, (27, 0.076, 51), 290_000, 128, gpus=2)
"""R1-Distill-Qwen-32B, BF16, tensor parallel over two H100. KV-bound at about 97 sequences."""

DEMO: Final = Profile(
    name="demo",
    base_seconds=0.027,
    sequence_seconds=0.0003,
    context_token_seconds=2e-8,
    prompt_token_seconds=2e-5,
    kv_tokens=65_536,
    seats=8,
    startup_seconds=20.0,
)
"""Eight seats, about 30 ms a token whatever the load, a start-up of 20 s."""

PROFILES: Final[dict[str, Profile]] = {
    profile.name: profile
    for profile in (
        REFERENCE,
        _profile("8b-1xh100", 7.7, (10, 0.076, 21), 440_000, 256, gpus=1),
        _profile("14b-1xh100", 13.4, (15, 0.095, 39), 270_000, 128, gpus=1),
        _profile("70b-4xh100", 17.0, (26, 0.048, 55), 469_000, 256, gpus=4),
        DEMO,
    )
}
"""By name."""
