"""The budget machine of one request: when to cut a thought, when to make it go on, when to stop.

Sans-I/O, in tokens. A thought is cut when a thinking token *beyond* the limit arrives, so a natural
end exactly at the limit still counts as one (and an engine that holds its native budget is never
cut by us). A brown-out may lower the limit while the request runs; a thought that is already longer
is cut at the next token, unless it ends with it by itself. A natural end below the minimum is taken
back a bounded number of times: a model that insists is let go.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_NUDGES: Final = 4
NATIVE_SLACK_TOKENS: Final = 1
"""A native budget counts the newline that the template puts behind `<think>`: it ends one early."""


class Action(Enum):
    """What to do with a chunk."""

    PASS = "pass"
    CUT = "cut"
    """The thought ends here: forward `keep` of its thinking tokens."""
    EXTEND = "extend"
    """The thought ended too early: forward its thinking tokens, withhold the end."""
    STOP = "stop"
    """The answer is at its maximum: forward `keep` of its answer tokens."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a chunk, and how many tokens of it go to the client."""

    action: Action
    keep: int = 0


PASS: Final = Verdict(Action.PASS)


class BudgetMachine:
    """Judges the chunks of one request in their order."""

    __slots__ = (
        "_answer_limit",
        "_can_extend",
        "_can_force",
        "_stops",
        "answer",
        "cut",
        "cut_by_load",
        "declared",
        "ended",
        "limit",
        "minimum",
        "native",
        "nudges",
        "thinking",
        "violated",
    )

    def __init__(
        self,
        *,
        limit: int | None,
        minimum: int = 0,
        answer_limit: int | None = None,
        native: int | None = None,
        can_force: bool = True,
        can_extend: bool = True,
        stops: bool = False,
    ) -> None:
        """`native`: the budget that was sent to the engine. `can_force`: a continuation can carry
        this request; `can_extend`: and the closing tag is one token. `stops`: an exhausted thought
        ends the request, which takes no continuation.
        """
        self.limit = limit
        self.declared = limit
        self.minimum = minimum
        self.native = native
        self.thinking = 0
        self.answer = 0
        self.nudges = 0
        self.ended = False
        """The thought ended by itself."""
        self.cut = False
        """The thought was ended at the budget, by us or by the engine."""
        self.cut_by_load = False
        """It was ended by us where the declared budget would have let it go on."""
        self.violated = False
        """The engine had a native budget and went past it."""
        self._answer_limit = answer_limit
        self._can_force = can_force
        self._can_extend = can_extend
        self._stops = stops

    @property
    def can_cut(self) -> bool:
        """A thought beyond its limit can be ended from here."""
        return self._can_force or self._stops

    @property
    def closable(self) -> bool:
        """Load may close the thought now: it is open, of the minimum at least, within a budget, and
        its answer will follow.
        """
        return (
            self._can_force
            and not (self._stops or self.cut or self.ended)
            and self.limit is not None
            and self.thinking >= self.minimum
        )

    def lower(self, limit: int) -> None:
        """Load closes the thought at this many tokens, or at the next one."""
        if self.closable and self.limit is not None:
            self.limit = max(min(limit, self.limit), self.minimum)

    def observe_only(self) -> None:
        """It turned out that a continuation cannot carry this request."""
        self._can_force = self._can_extend = False
        self._answer_limit = None

    @property
    def withheld_tokens(self) -> int:
        """What the declared budget would still have allowed to a thought cut by load."""
        return (self.declared or 0) - self.thinking if self.cut_by_load else 0

    def judge(self, thinking: int, answer: int, *, closed: bool, finished: bool) -> Verdict:
        """Judge a chunk with this many thinking and answer tokens; `closed`: the thought ends in
        it, `finished`: the generation does, by itself.
        """
        if not (self.cut or self.ended) and (thinking or closed or finished):
            verdict = self._judge_thought(thinking, closed=closed, finished=finished)
            if verdict is not PASS:
                return verdict
        if self._answer_limit is not None and self.answer + answer > self._answer_limit:
            keep = max(0, self._answer_limit - self.answer)
            self.answer += keep
            return Verdict(Action.STOP, keep)
        self.answer += answer
        return PASS

    def _judge_thought(self, thinking: int, *, closed: bool, finished: bool) -> Verdict:
        length = self.thinking + thinking
        over = self.limit is not None and length > self.limit
        if over and self.native is not None:
            self.violated = self.violated or length > self.native
        declared_allows = self.declared is None or length <= self.declared
        if over and self.can_cut and not (closed and declared_allows):
            keep = max(0, (self.limit or 0) - self.thinking)
            self.thinking += keep
            self.cut = True
            self.cut_by_load = self.declared is None or (self.limit or 0) < self.declared
            return Verdict(Action.CUT, keep)
        self.thinking += thinking
        if not (closed or (finished and self.thinking > 0)):
            return PASS
        if self._can_extend and self.thinking < self.minimum and self.nudges < MAX_NUDGES:
            self.nudges += 1
            return Verdict(Action.EXTEND, thinking)
        if self.native is not None and self.thinking >= self.native - NATIVE_SLACK_TOKENS:
            self.cut = True
        else:
            self.ended = True
        return PASS

    def inject(self, thinking: int) -> None:
        """The gateway put thinking tokens in itself (a nudge)."""
        self.thinking += thinking
