"""A real HTTP endpoint on loopback that thinks by counting, in vLLM's dialect.

"count to 7" thinks seven x and answers 7; cut at three it answers 3. "hasty 7" stops at three by
itself, and goes on to seven if it is told to wait. One character is one token. What it does wrong
can be ordered: `troubles` are taken by the generating requests in turn.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aiohttp import web

OPEN, CLOSE = 1, 2
SPECIAL = {"<think>": OPEN, "</think>": CLOSE}
CONTEXT = 4096


def encode(text: str) -> list[int]:
    """Token ids."""
    ids: list[int] = []
    while text:
        tag = next((tag for tag in SPECIAL if text.startswith(tag)), None)
        ids.append(SPECIAL[tag] if tag else ord(text[0]) + 100)
        text = text[len(tag) if tag else 1 :]
    return ids


def decode(ids: list[int]) -> str:
    """Their text."""
    names = {number: tag for tag, number in SPECIAL.items()}
    return "".join(names.get(token) or chr(token - 100) for token in ids)


class CountingEndpoint:
    """`url`; `bodies` of all generating requests; `troubles` to come."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        self.troubles: deque[Any] = deque()
        self.tells_ids = True
        self.ignores_budgets = False
        self.delay_seconds = 0.0
        self.serves_at_once: int | None = None
        """More are told to come back; None: as many as come are served."""
        self.waits_for_two_seconds = 0.0
        """A request is held for so long at most, until two have been there at once."""
        self.keys: set[str] = set()
        self.most_at_once = 0
        self._at_once = 0
        self._two_at_once = asyncio.Event()

    async def models(self, request: web.Request) -> web.Response:
        self.keys.add(request.headers.get("Authorization", ""))
        return web.json_response({"data": [{"id": "counter"}]})

    async def tokenize(self, request: web.Request) -> web.Response:
        if not self.tells_ids:
            return web.json_response({"detail": "Not Found"}, status=404)
        ids = encode((await request.json())["prompt"])
        return web.json_response({"tokens": ids, "max_model_len": CONTEXT})

    async def generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        if self._at_once > 1:
            self._two_at_once.set()
        try:
            if self.serves_at_once is not None and self._at_once > self.serves_at_once:
                return await self._fail(request, (429, {}))
            await self._wait_for_two()
            await asyncio.sleep(self.delay_seconds)
            if self.troubles and (trouble := self.troubles.popleft()) is not None:
                return await self._fail(request, trouble)
        finally:
            self._at_once -= 1
        return web.json_response(self._answer(body))

    async def _wait_for_two(self) -> None:
        if self.waits_for_two_seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.waits_for_two_seconds):
                    await self._two_at_once.wait()

    async def _fail(self, request: web.Request, trouble: Any) -> web.StreamResponse:
        if trouble == "drop":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        status, headers = trouble
        error = {"error": {"message": f"trouble {status}", "type": "t"}}
        return web.json_response(error, status=status, headers=headers)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        chat = "messages" in body
        if chat:
            prompt = encode(f"Q:{body['messages'][-1]['content']}\n<think>\n")
        else:
            prompt = list(body["prompt"])
        budget = None if self.ignores_budgets else body.get("thinking_token_budget")
        ids = _generated(prompt, budget)
        limit = min(body.get("max_tokens") or CONTEXT, CONTEXT - len(prompt))
        finish, ids = ("length" if len(ids) > limit else "stop"), ids[:limit]
        thought, closed, answer = decode(ids).partition("</think>")
        if not chat:
            choice: dict[str, Any] = {"text": decode(ids)}
        else:
            choice = {"message": {"reasoning": thought, "content": answer if closed else None}}
        shown = self.tells_ids and bool(body.get("return_token_ids"))
        choice |= {"index": 0, "finish_reason": finish, "token_ids": ids if shown else None}
        return {
            "choices": [choice],
            "prompt_token_ids": prompt if shown and chat else None,
            "usage": {
                "prompt_tokens": len(prompt),
                "completion_tokens": len(ids),
                "completion_tokens_details": {"reasoning_tokens": len(thought)} if chat else None,
            },
        }


def _generated(prompt: list[int], budget: int | None) -> list[int]:
    text = decode(prompt)
    question, _, thought = text.partition("<think>")
    goal = int(question.split()[-1])
    counted = thought.count("x")
    if "</think>" in thought:
        return encode(f"The answer is {counted}")
    hasty = question.startswith("Q:hasty") and "Wait" not in thought
    until = goal // 2 if hasty else goal
    more = max(0, until - counted)
    if budget is not None:
        more = min(more, budget)
    return encode("x" * more + f"</think>\n\nThe answer is {counted + more}")


@contextmanager
def serving() -> Iterator[CountingEndpoint]:
    """In a thread of its own, since commands run their own loop."""
    endpoint, started, done = CountingEndpoint(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_get("/v1/models", endpoint.models)
        app.router.add_post("/tokenize", endpoint.tokenize)
        app.router.add_post("/v1/chat/completions", endpoint.generate)
        app.router.add_post("/v1/completions", endpoint.generate)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await done.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(10)
    try:
        yield endpoint
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()
