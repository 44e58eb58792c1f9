"""The step time of an engine, as it travels: the linear model of `fleet.profile` in four numbers.

`t = base + sequence * b + context_token * K + prompt_token * p` seconds for a step with `b`
decoding sequences, `K` KV tokens resident for them and `p` prompt tokens prefilled. The law learns
the numbers, the directive carries them, the gateway admits by them.
"""

from typing import Annotated

from pydantic import Field

from thinkscale.model.signals import Wire

Seconds = Annotated[float, Field(ge=0)]


class StepTime(Wire):
    """a0, a1, a2, a3 in seconds."""

    base_seconds: Seconds
    sequence_seconds: Seconds
    context_token_seconds: Seconds
    prompt_token_seconds: Seconds

    def seconds(self, decoding: float, context_tokens: float, prompt_tokens: float = 0.0) -> float:
        """Duration of one step.

        15.5 ms + 97 * 27 us + 289,933 * 0.076 us = 40.2 ms.
        """
        return (
            self.base_seconds
            + self.sequence_seconds * decoding
            + self.context_token_seconds * context_tokens
            + self.prompt_token_seconds * prompt_tokens
        )
