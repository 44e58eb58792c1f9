"""Sends a replica two small requests before its first real one: does its native budget hold?

One must think for longer than its budget and be ended there; the other does not think (where its
template can be told so) and answers beyond its budget, which makes an engine show itself that puts
the end-of-thinking tag into answers. They are read as a client's request is, by the same machine,
and what they show is booked like it. A canary never keeps a replica from serving for good: one that
shows nothing within a minute is let in, with its budgets held by the gateway alone.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import orjson

from thinkscale.engines import DIALECTS
from thinkscale.engines.dialect import Dialect, Route
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.engine_response import EngineResponse
from thinkscale.gateway.events import Broken, EventReader, whole
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.proofs import Finding
from thinkscale.gateway.request import parse
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.turn import TOO_MANY
from thinkscale.gateway.upstream import Unreachable, Upstream
from thinkscale.gateway.verify import OVERRUN_TOKENS, Violation
from thinkscale.model.gateway_config import GatewayConfig

logger = logging.getLogger(__name__)

BUDGET_TOKENS: Final = 16
WITHIN_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 1.0
THOUGHTS: Final = 3
"""So many may end by themselves before their budget, and prove nothing."""
_ANSWER_TOKENS: Final = 16
THINKS: Final[Mapping[str, Any]] = {
    "messages": [
        {
            "role": "user",
            "content": "How many primes are there between 200 and 300? Check each number in turn, "
            "one after the other, and explain every single step.",
        }
    ],
    "max_tokens": BUDGET_TOKENS + OVERRUN_TOKENS + _ANSWER_TOKENS,
}
ANSWERS: Final[Mapping[str, Any]] = {
    "messages": [{"role": "user", "content": "Count from 1 to 100, in words."}],
    "max_tokens": 3 * BUDGET_TOKENS,
    "chat_template_kwargs": {"enable_thinking": False, "thinking": False},
}


class _Again(Exception):
    """It could not be asked now."""


async def prove_replicas(gateway: Gateway, upstream: Upstream) -> None:
    """Let every replica that waits for it prove itself, for ever."""
    begun: set[tuple[str, int]] = set()
    async with asyncio.TaskGroup() as group:
        while True:
            gateway.unproven.clear()
            waiting = set(gateway.proofs.waiting.items())
            for name, number in waiting - begun:
                group.create_task(_prove(gateway, upstream, name, number))
            begun = waiting
            await gateway.unproven.wait()


async def _prove(gateway: Gateway, upstream: Upstream, name: str, number: int) -> None:
    config = gateway.config
    replica = gateway.router.replicas.get(name)
    finding, cause = Finding.UNPROVEN, None
    if config is not None and replica is not None:
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                finding, cause = await _find(upstream, replica, config)
        except TimeoutError:
            logger.warning("Could not try a replica's native budget replica=%s", name)
    gateway.proven(name, number, finding, cause)


async def _find(
    upstream: Upstream, replica: Replica, config: GatewayConfig
) -> tuple[Finding, Violation | None]:
    proved_nothing = 0
    while True:
        try:
            thought = await _try(upstream, replica, config, THINKS)
            answer = await _try(upstream, replica, config, ANSWERS)
        except (_Again, Broken, aiohttp.ClientError, *Unreachable):
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        if thought is None or answer is None:
            return Finding.ABSENT, None
        cause = thought.violation or answer.violation
        if cause is not None:
            return Finding.BROKEN, cause
        if thought.held:
            return Finding.HELD, None
        proved_nothing += 1
        if proved_nothing >= THOUGHTS:
            return Finding.UNPROVEN, None


async def _try(
    upstream: Upstream, replica: Replica, config: GatewayConfig, body: Mapping[str, Any]
) -> BudgetMachine | None:
    """What one request has shown; None: the engine refuses native budgets."""
    free = config.model_copy(update={"min_tokens": 0, "max_tokens": None, "tiers": ()})
    free = free.model_copy(update={"default_tier": None, "default_max_tokens": None})
    request = parse(Route.CHAT, orjson.dumps({**body, "stream": True}), free)
    dialect = DIALECTS[config.engine]
    tags = await upstream.tag_book.tags(replica, dialect, config.model, config.nudge)
    budget = BudgetMachine(
        limit=BUDGET_TOKENS, native=BUDGET_TOKENS, can_force=False, can_extend=False
    )
    exchange = Exchange(
        request,
        budget,
        tags,
        model=config.model,
        stops_when_exhausted=False,
        keeps_ids=False,
        reader=dialect.reader(request.route, request.body, tags),
    )
    sent = dialect.first_body(
        request.body, model=config.model, native_budget=BUDGET_TOKENS, most_tokens=None
    )
    response = await upstream.post(replica, request.route, sent, {})
    try:
        return await _read(response, dialect, exchange, budget)
    finally:
        response.close()


async def _read(
    response: EngineResponse, dialect: Dialect, exchange: Exchange, budget: BudgetMachine
) -> BudgetMachine | None:
    if response.status != 200:
        told = (await whole(response)).decode(errors="replace")
        return _refused(dialect, response.status, told, budget)
    reader = EventReader(response)
    while (events := await reader.read()) is not None:
        for event in events:
            exchange.feed(event)
            if exchange.trouble is not None:
                raise Broken(exchange.trouble.why)
        if budget.violation is not None:
            return budget
    if exchange.error is not None:
        code = exchange.error.get("code")
        said = str(exchange.error.get("message"))
        return _refused(dialect, code if isinstance(code, int) else 500, said, budget)
    account = exchange.account
    budget.conclude(account.thinking if account.is_exact else None)
    return budget


def _refused(
    dialect: Dialect, status: int, told: str, budget: BudgetMachine
) -> BudgetMachine | None:
    if dialect.refuses_native_budget(status, told):
        return None
    if status >= 500 or status == TOO_MANY:
        raise _Again
    return budget  # it does not take such requests at all, which proves nothing
