"""The cells of the table: every kind of budget, every spelling of a wish, streamed and whole.

A cell sends one request, or two, and asserts on what the client received. Thoughts are steered so
that the budget is what ends them: `slow` ones would go on far beyond it, `quick` ones end long
before.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from e2e.engines.conformance.bench import Bench, Reply
from e2e.engines.conformance.results import Cell, Verdict

BUDGET = 12
BY_ENGINE = "maximum, by the engine alone"
SEED = 11
TRIES = 4
"""Of a cell whose model said nothing behind its thought: one in ten does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One model server in one configuration."""

    engine: str
    dialect: str
    """The resource's word for the engine."""
    is_real: bool
    output: str
    slow: Mapping[str, Any]
    """Fields that let a thought go on for hundreds of tokens."""
    quick: Mapping[str, Any]
    """Fields that end it after some ten tokens."""
    flags: Sequence[str]
    """The server's."""
    breaking: Sequence[str] = ()
    """Those of one that does not keep its native budget."""
    impossible: Mapping[str, str] = field(default_factory=dict)
    """Kinds of budget that this engine cannot be asked for in this configuration, and why."""


Check = Callable[[Bench, Target, bool], Awaitable[str]]
"""Returns what was seen; AssertionError: it does not hold."""


async def tokens(bench: Bench, reply: Reply) -> tuple[int, int]:
    """(thinking, answer) by the engine's tokenizer. The newline before our `</think>` is control,
    as is the blank line behind one.
    """
    assert reply.status == 200, f"HTTP {reply.status}: {reply.raw[:300]!r}"
    assert reply.error is None, f"{reply.error}"
    assert reply.done, "the stream has no end mark"
    assert len(reply.identities) == 1, f"ids: {reply.identities}"
    assert b"think>" not in reply.content.encode(), f"a tag in the answer: {reply.content[:80]!r}"
    thinking = await bench.count(reply.thinking.rstrip("\n"))
    told = reply.reasoning_tokens
    assert told == thinking, f"usage tells of {told} thinking tokens, there are {thinking}"
    return thinking, await bench.count(reply.content.lstrip("\n"))


class NothingSaid(AssertionError):
    """The model ended before its first word, as it may."""


def _answered(reply: Reply, answer: int) -> None:
    if answer == 0:
        raise NothingSaid("there is no answer")
    assert reply.finish_reasons == ["stop"], f"finish reasons: {reply.finish_reasons}"


def _mode(reply: Reply, *wanted: str) -> None:
    mode = reply.headers.get("x-thinkscale-budget")
    assert mode in wanted, f"x-thinkscale-budget: {mode}"


async def no_budget(bench: Bench, target: Target, stream: bool) -> str:
    """Phases are told apart and counted."""
    await bench.configure(engine=target.dialect)
    reply = await bench.ask(stream=stream, seed=SEED, **target.quick)
    thinking, answer = await tokens(bench, reply)
    _mode(reply, "none")
    assert thinking > 0, "no thought was seen"
    _answered(reply, answer)
    return f"{thinking} thinking tokens told and counted"


async def maximum(bench: Bench, target: Target, stream: bool) -> str:
    """The engine's own budget is used where there is one, and the gateway sees that it holds."""
    await bench.configure(engine=target.dialect, maxTokens=BUDGET)
    reply = await bench.ask(stream=stream, **target.slow)
    thinking, answer = await tokens(bench, reply)
    _mode(reply, "forced")
    assert BUDGET - 1 <= thinking <= BUDGET, f"{thinking} thinking tokens of {BUDGET}"
    _answered(reply, answer)
    return f"{thinking} of {BUDGET}"


async def maximum_by_gateway(bench: Bench, target: Target, stream: bool) -> str:
    """Where the minimum is the maximum a native budget, which may end one early, is not sent."""
    await bench.configure(engine=target.dialect, maxTokens=BUDGET, minTokens=BUDGET)
    reply = await bench.ask(stream=stream, **target.slow)
    thinking, answer = await tokens(bench, reply)
    _mode(reply, "forced")
    assert thinking == BUDGET, f"{thinking} thinking tokens of {BUDGET}"
    _answered(reply, answer)
    return f"exactly {thinking}"


async def maximum_by_engine(bench: Bench, target: Target, stream: bool) -> str:
    """A request that no continuation can carry (here: log probabilities)."""
    await bench.configure(engine=target.dialect, maxTokens=BUDGET)
    reply = await bench.ask(stream=stream, logprobs=True, **target.slow)
    thinking, answer = await tokens(bench, reply)
    _mode(reply, "native")
    assert BUDGET - 1 <= thinking <= BUDGET, f"{thinking} thinking tokens of {BUDGET}"
    _answered(reply, answer)
    return f"{thinking} of {BUDGET}"


async def stop(bench: Bench, target: Target, stream: bool) -> str:
    """`onExhausted: Stop`: the request ends with the thought."""
    await bench.configure(engine=target.dialect, maxTokens=BUDGET, onExhausted="Stop")
    reply = await bench.ask(stream=stream, **target.slow)
    if not reply.thinking:  # no tag closes it: it is all that there is
        reply.thinking, reply.content = reply.content, ""
    thinking, answer = await tokens(bench, reply)
    assert thinking == BUDGET, f"{thinking} thinking tokens of {BUDGET}"
    assert answer == 0, f"{answer} answer tokens"
    assert reply.finish_reasons == ["length"], f"finish reasons: {reply.finish_reasons}"
    return f"exactly {thinking}, no answer"


async def minimum(bench: Bench, target: Target, stream: bool) -> str:
    """A thought that ends before its minimum is made to go on."""
    await bench.configure(engine=target.dialect, minTokens=3 * BUDGET)
    reply = await bench.ask(stream=stream, seed=SEED, **target.quick)
    thinking, answer = await tokens(bench, reply)
    nudges = reply.thinking.count("Wait,")
    assert thinking >= 3 * BUDGET, f"{thinking} thinking tokens, at least {3 * BUDGET} wanted"
    assert nudges > 0, "it was never about to end: nothing was tested"
    _answered(reply, answer)
    return f"{thinking} of at least {3 * BUDGET}, made to go on {nudges} times"


async def answer_maximum(bench: Bench, target: Target, stream: bool) -> str:
    """The answer has a budget of its own."""
    await bench.configure(engine=target.dialect, maxTokens=BUDGET, answerMaxTokens=3)
    for seed in range(SEED, SEED + 5):  # an answer may end before
        reply = await bench.ask(stream=stream, seed=seed, **target.slow)
        _, answer = await tokens(bench, reply)
        assert answer <= 3, f"{answer} answer tokens of 3"
        if reply.finish_reasons == ["length"]:
            return f"{answer} answer tokens of 3 and the blank line before them"
    raise AssertionError("no answer reached its maximum")


KINDS: Mapping[str, Check] = {
    "none": no_budget,
    "maximum": maximum,
    "maximum, by the gateway alone": maximum_by_gateway,
    BY_ENGINE: maximum_by_engine,
    "maximum, then stop": stop,
    "minimum": minimum,
    "answer's maximum": answer_maximum,
}

ASKED = 9
WISHES: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "thinking_token_budget": ({"thinking_token_budget": ASKED}, ASKED),
    "max_thinking_tokens": ({"max_thinking_tokens": ASKED}, ASKED),
    "thinking_budget": ({"thinking_budget": ASKED}, ASKED),
    "reasoning.max_tokens": ({"reasoning": {"max_tokens": ASKED}}, ASKED),
    "thinking.budget_tokens": ({"thinking": {"type": "enabled", "budget_tokens": ASKED}}, ASKED),
    "reasoning_effort": ({"reasoning_effort": "low"}, ASKED),
    "reasoning.effort": ({"reasoning": {"effort": "low"}}, ASKED),
    "reasoning_effort: none": ({"reasoning_effort": "none"}, 0),
    "chat_template_kwargs.enable_thinking": (
        {"chat_template_kwargs": {"enable_thinking": False}},
        0,
    ),
}
"""What a client may send, and the thinking tokens that it asks for."""


async def wish(
    bench: Bench, target: Target, stream: bool, fields: Mapping[str, Any], asked: int
) -> str:
    """A client asks for less than the resource allows. An effort has its tier."""
    tier = {"name": "quick", "efforts": ["low"], "maxTokens": ASKED}
    await bench.configure(engine=target.dialect, maxTokens=4 * BUDGET, tiers=[tier])
    reply = await bench.ask(stream=stream, **target.slow, **fields)
    thinking, answer = await tokens(bench, reply)
    told = reply.headers.get("x-thinkscale-budget-tokens")
    assert told == str(asked), f"x-thinkscale-budget-tokens: {told}"
    assert max(0, asked - 1) <= thinking <= asked, f"{thinking} thinking tokens of {asked}"
    _answered(reply, answer)
    return f"{thinking} of {asked}"


async def run(bench: Bench, target: Target) -> list[Cell]:
    """All cells of one target."""
    cells = []
    for stream in (True, False):
        for kind, check in KINDS.items():
            cells.append(await cell_of(bench, target, kind, "the resource", stream, check))
        for name, (fields, asked) in WISHES.items():

            async def asking(
                b: Bench,
                t: Target,
                s: bool,
                fields: Mapping[str, Any] = fields,
                asked: int = asked,
            ) -> str:
                return await wish(b, t, s, fields, asked)

            cells.append(await cell_of(bench, target, "maximum", name, stream, asking))
    return cells


async def _judged(bench: Bench, target: Target, stream: bool, check: Check) -> tuple[Verdict, str]:
    for _ in range(TRIES):
        try:
            return "holds", await check(bench, target, stream)
        except NothingSaid as error:
            detail = str(error)
        except AssertionError as error:
            return "fails", str(error)
    return "fails", detail


async def cell_of(
    bench: Bench, target: Target, kind: str, spelling: str, stream: bool, check: Check
) -> Cell:
    """What became of one check."""
    verdict: Verdict
    if kind in target.impossible:
        verdict, detail = "not possible", target.impossible[kind]
    else:
        verdict, detail = await _judged(bench, target, stream, check)
    return Cell(
        engine=target.engine,
        is_real=target.is_real,
        output=target.output,
        budget=kind,
        spelling=spelling,
        streaming=stream,
        verdict=verdict,
        detail=detail,
    )
