"""Reads on a little behind a cut: is the engine's native budget late, or has it no effect?

What comes there goes to nobody. Pure; the stage's shell reads, and says when it is enough.
"""

from collections.abc import Sequence

import orjson

from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.sse import DONE, SseEvent


def look_beyond(exchange: Exchange, budget: BudgetMachine, events: Sequence[SseEvent]) -> bool:
    """What the engine goes on to think; False: there is no more to learn."""
    for event in events:
        if event.data is None or event.data == DONE:
            continue
        try:
            chunk = exchange.reader.read(orjson.loads(event.data))
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            return False
        parts = exchange.splitter.feed(chunk)
        budget.beyond_cut(parts.thinking, closed=parts.closed)
        if budget.violation is not None or chunk.finish_reason is not None:
            return False
    return True
