"""Native budgets tried before use: a replica that keeps its own is let in and believed; one that
does not is found out before its first client's request, and is held by the gateway alone.

That request waits at the gateway while there is no replica, so that it goes out the moment that the
replica is let in: its header tells what the gateway knew by then. It is one that no continuation
can carry, since only such depend on the engine's word. The second one, which a continuation can
carry, shows who holds the budget.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from e2e.engines.conformance.bench import Bench, Reply
from e2e.engines.conformance.cells import BUDGET, NothingSaid, Target, cell_of, tokens
from e2e.engines.conformance.results import Cell

KEPT: Final = "maximum, tried before use: the engine keeps it"
BROKEN: Final = "maximum, tried before use: the engine does not"
KINDS: Final = (KEPT, BROKEN)
LONGEST_TOKENS: Final = 30
"""Of a request whose thought nobody ends."""
WITHIN_SECONDS: Final = 70.0
Counts = Mapping[str, int]
Served = Callable[[Bench, Target, bool], Awaitable[str]]


class NothingShown(NothingSaid):
    """Every thought of the canaries ended by itself before its budget, as it may."""


def servers(target: Target) -> dict[str, Sequence[str]]:
    """The flags of the servers that a target needs, by kind."""
    flags = {KEPT: target.flags, BROKEN: target.breaking}
    return {kind: given for kind, given in flags.items() if kind not in target.impossible}


async def run(bench: Bench, target: Target, kinds: Mapping[str, str]) -> list[Cell]:
    """The cells of one target; `kinds`: the address of the server for each kind that is possible.
    What the target says to be impossible needs none.
    """
    cells = []
    for stream in (True, False):
        for kind in KINDS:
            check = _check(kind, kinds.get(kind, ""))
            cells.append(await cell_of(bench, target, kind, "the resource", stream, check))
    return cells


def _check(kind: str, url: str) -> Served:
    async def check(bench: Bench, target: Target, stream: bool) -> str:
        shown, first = await _first_request(bench, target, stream, url)
        if kind == KEPT:
            return await _kept(bench, target, stream, shown, first)
        return await _broken(bench, target, stream, shown, first)

    return check


async def _first_request(
    bench: Bench, target: Target, stream: bool, url: str
) -> tuple[Counts, Reply]:
    """What the canaries of a replica have shown when the first request goes to it, and that."""
    await bench.configure(engine=target.dialect, maxTokens=BUDGET, nativeBudgetCheck="BeforeUse")
    await bench.replicas({})
    before = await bench.counts("canaries", "budget_violations")
    fields = {**target.slow, "logprobs": True, "max_tokens": LONGEST_TOKENS}
    asked = asyncio.create_task(bench.ask(stream=stream, **fields))
    await bench.until(lambda s: s["held"] == 1)
    await bench.replicas({"tried": url})
    await bench.until(lambda s: s["replicas"]["tried"]["ready"] and not s["held"], WITHIN_SECONDS)
    shown = grown(before, await bench.counts("canaries", "budget_violations"))
    reply = await asked
    assert reply.status == 200, f"HTTP {reply.status}: {reply.raw[:300]!r}"
    assert reply.error is None, f"{reply.error}"
    if "unproven" in shown:
        raise NothingShown("every thought of the canaries ended by itself")
    return shown, reply


def grown(before: Counts, after: Counts) -> Counts:
    """What has come since."""
    return {name: more for name, n in after.items() if (more := n - before.get(name, 0))}


async def _kept(bench: Bench, target: Target, stream: bool, shown: Counts, first: Reply) -> str:
    assert shown == {"held": 1}, f"the canaries showed {shown}"
    mode = first.headers.get("x-thinkscale-budget")
    assert mode == "native", f"the engine is not believed: {mode}"
    thought = await bench.count(first.thinking.rstrip("\n"))
    assert BUDGET - 1 <= thought <= BUDGET, f"{thought} thinking tokens of {BUDGET}"
    signals = await bench.signals()
    assert not signals["replicas"]["tried"]["budgetDoubted"], "it is doubted"
    return f"held: believed, {thought} of {BUDGET}"


async def _broken(bench: Bench, target: Target, stream: bool, shown: Counts, first: Reply) -> str:
    is_absent = shown == {"absent": 1}
    causes = sorted(set(shown) - {"broken"})  # the first request may have told one more by now
    is_found = shown.get("broken") == 1 and bool(causes)
    assert is_absent or is_found, f"the canaries showed {shown}"
    mode = first.headers.get("x-thinkscale-budget")
    assert mode == "observed", f"the engine is believed: {mode}"
    doubted = (await bench.signals())["replicas"]["tried"]["budgetDoubted"]
    assert doubted is not is_absent, f"doubted: {doubted}, shown: {shown}"
    before = await bench.counts("budget_violations")
    reply = await bench.ask(stream=stream, **target.slow)
    thinking, _ = await tokens(bench, reply)
    mode = reply.headers.get("x-thinkscale-budget")
    assert mode == "forced", f"x-thinkscale-budget: {mode}"
    assert thinking == BUDGET, f"{thinking} thinking tokens of {BUDGET}"
    late = grown(before, await bench.counts("budget_violations"))
    assert not late, f"the engine was asked again: {late}"
    return f"{' and '.join(causes)}: held by the gateway, exactly {thinking}"
