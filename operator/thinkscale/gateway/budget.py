"""The budget machine of one request: when to cut a thought, when to make it go on, when to stop.

Sans-I/O, in tokens. A thought is cut when a thinking token *beyond* the limit arrives, so a natural
end exactly at the limit still counts as one (and an engine that holds its native budget is never
cut by us). A brown-out may lower the limit while the request runs; a thought that is already longer
is cut at the next token, unless it ends with it by itself. A natural end below the minimum is taken
back a bounded number of times: a model that insists is let go. What went past a native budget is
told on (`violated`, and how as soon as it can be said); see `verify`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from thinkscale.gateway.verify import Violation, violation_of

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
        "_counts",
        "_excess",
        "_nudge_tokens",
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
        "violation",
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
        nudge_tokens: int = 0,
    ) -> None:
        """`native`: the budget that was sent to the engine. `can_force`: a continuation can carry
        this request; `can_extend`: and the closing tag is one token. `stops`: an exhausted thought
        ends the request, which takes no continuation. `nudge_tokens`: what extending a thought adds
        to it.
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
        """The engine had a native budget and broke it."""
        self.violation: Violation | None = None
        """How; None: not known yet."""
        self._answer_limit = answer_limit
        self._can_force = can_force
        self._can_extend = can_extend
        self._counts = True
        self._excess = 0
        self._stops = stops
        self._nudge_tokens = nudge_tokens

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

    def estimate_only(self) -> None:
        """Tokens are not counted here but estimated, which proves nothing against an engine."""
        self.observe_only()
        self._counts = False

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

    def pass_thinking(self) -> bool:
        """`judge` of one thinking token, where it is sure to pass; False: nothing was counted."""
        length = self.thinking + 1
        if self.cut or self.ended or (self.limit is not None and length > self.limit):
            return False
        self.thinking = length
        return True

    def pass_answer(self) -> bool:
        """`judge` of one answer token, where it is sure to pass; False: nothing was counted."""
        length = self.answer + 1
        if self._answer_limit is not None and length > self._answer_limit:
            return False
        self.answer = length
        return True

    def _judge_thought(self, thinking: int, *, closed: bool, finished: bool) -> Verdict:
        length = self.thinking + thinking
        over = self.limit is not None and length > self.limit
        if over and self.native is not None and self._counts:
            self._check(length - self.native, closed=closed)
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
        if self._may_extend():
            self.nudges += 1
            self.disarm()
            return Verdict(Action.EXTEND, thinking)
        if self.native is not None and self.thinking >= self.native - NATIVE_SLACK_TOKENS:
            self.cut = True
        else:
            self.ended = True
        return PASS

    def _may_extend(self) -> bool:
        """The thought is too short, and the nudge fits below the maximum."""
        fits = self.limit is None or self.thinking + self._nudge_tokens <= self.limit
        too_short = self.thinking < self.minimum and self.nudges < MAX_NUDGES
        return self._can_extend and too_short and fits

    def _check(self, excess: int, *, closed: bool) -> None:
        """So many tokens beyond the native budget; `closed`: with them the thought ends."""
        if excess > 0:
            self.violated, self._excess = True, excess
            self.violation = self.violation or violation_of(excess, closed=closed)

    def beyond_cut(self, tokens: int, *, closed: bool) -> None:
        """So many more the engine went on to think behind our cut."""
        self._check(self._excess + tokens, closed=closed)

    def intruded(self) -> None:
        """The end-of-thinking tag has come once more, in the answer."""
        if self.native is not None:
            self.violated, self.violation = True, Violation.INJECTED

    def conclude(self, thinking: int | None) -> None:
        """The stream is over, with so many thinking tokens; None: they are not known exactly."""
        if self.native is not None and thinking is not None:
            self._check(thinking - self.native, closed=self.ended or self.cut)
        if self.violated and self.violation is None:
            self.violation = Violation.IGNORED  # it was not seen to react

    @property
    def held(self) -> bool:
        """The engine ended the thought at its native budget, in time."""
        if self.native is None or self.violated or not self.cut or self.cut_by_load:
            return False
        return self.native - NATIVE_SLACK_TOKENS <= self.thinking <= self.native

    def disarm(self) -> None:
        """What comes from now on was asked for without a native budget."""
        self.native = None

    def inject(self, thinking: int) -> None:
        """The gateway put thinking tokens in itself (a nudge)."""
        self.thinking += thinking
