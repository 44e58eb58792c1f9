"""What the model says, token by token: thinks, closes the thought, answers, ends.

Lengths come from a plan and the rest from the request, so a script is a pure function of its
inputs. Order of one generation: (`<think>` newline, if the template did not) thinking, `</think>`,
a blank line, answer, end of text. A plan counts only the words of thinking and answer.

The native budget counts as the real engine does: every token after `<think>`, in the prompt too.
So a template that ends with `<think>` and a newline makes a budget of 10 allow 9 words.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from thinkscale.emulator.prompt import PromptState, Thought
from thinkscale.emulator.vocabulary import (
    BLANK_LINE,
    END_THINK,
    EOS,
    NEWLINE,
    THINK,
    WORD_IDS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much the model would say if nobody interfered. Tokens."""

    thinking_tokens: int
    answer_tokens: int
    tool_calls: int = 0
    """Of the answer, where the request has tools; 0: as `tool_choice` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The request's parameters that change what is said."""

    max_tokens: int
    min_tokens: int = 0
    """Until then the end of text and `stop_token_ids` cannot be sampled."""
    ignore_eos: bool = False
    stop_token_ids: frozenset[int] = frozenset()
    thinking_budget: int | None = None
    forced_end: tuple[int, ...] = (END_THINK,)
    """What the budget forces, one token a step."""
    budget_in_answer: bool = False
    """The quirk: a budget that is reached in the answer forces a `</think>` there."""
    never_closes: bool = False
    """`</think>` is banned (logit_bias, bad_words)."""


class Script:
    """One generation."""

    def __init__(
        self, prompt: PromptState, prompt_tokens: int, plan: Plan, sampling: Sampling, choice: int
    ) -> None:
        self._sampling = sampling
        self._queue: deque[int] = deque()
        self._generated = 0
        self._position = prompt.key + prompt_tokens + choice * 7919
        self._since_tag = prompt.after_tag
        self._thinking = prompt.thought is not Thought.CLOSED
        self._intrudes = sampling.budget_in_answer
        self._to_answer = plan.answer_tokens
        self._to_think = plan.thinking_tokens
        match prompt.thought:
            case Thought.UNOPENED:
                self._queue.extend((THINK, NEWLINE))
                self._since_tag = -1
            case Thought.OPEN:
                self._to_think = _left(plan.thinking_tokens, prompt.said)
            case Thought.CLOSED:
                self._to_answer = max(0, plan.answer_tokens - prompt.said)
                if prompt.after_tag == 0:
                    self._queue.append(BLANK_LINE)

    def next_token(self) -> int:
        """The next token. After EOS or a stop token there is none: do not ask."""
        token = self._queue.popleft() if self._queue else self._choose()
        if self._masked(token):
            token = self._word()
        self._generated += 1
        self._since_tag += 1
        return token

    def _choose(self) -> int:
        if self._thinking:
            if self._out_of_budget():
                self._intrudes = False
                return self._close(self._sampling.forced_end)
            if self._to_think <= 0 and not self._close_is_masked():
                return self._close((END_THINK,))
            self._to_think -= 1
            return self._word()
        if self._intrudes and self._out_of_budget():
            self._intrudes = False
            return END_THINK
        ends = self._to_answer <= 0 and not self._sampling.ignore_eos
        if ends and self._generated >= self._sampling.min_tokens:
            return EOS
        self._to_answer -= 1
        return self._word()

    def _out_of_budget(self) -> bool:
        budget = self._sampling.thinking_budget
        return budget is not None and self._since_tag >= budget

    def _close_is_masked(self) -> bool:
        return self._sampling.never_closes or self._masked(END_THINK)

    def _masked(self, token: int) -> bool:
        sampling = self._sampling
        return token in sampling.stop_token_ids and self._generated < sampling.min_tokens

    def _close(self, tokens: Sequence[int]) -> int:
        self._thinking = False
        self._queue.extend(tokens)
        if tokens[-1] == END_THINK:
            self._queue.append(BLANK_LINE)
        return self._queue.popleft()

    def _word(self) -> int:
        """A word that depends on its place alone, so a continuation says what would have come."""
        while True:
            place = self._position + self._generated
            token = WORD_IDS[(place * 2654435761 % 4294967296 >> 9) % len(WORD_IDS)]
            if not self._masked(token):
                return token
            self._position += 1


def _left(planned: int, said: int) -> int:
    """Thinking still to come in an open thought.

    A thought that was reopened after its natural end (a minimum budget withheld the end) goes on
    for a quarter of what was planned.
    """
    if said and said >= planned:
        return max(1, planned // 4)
    return planned - said
