"""An OpenAI client that sends at intended times, reads streams, and knows what is under way.

All latencies count from the intended instant, so that a client that falls behind cannot hide it;
how far it fell behind is recorded too, and voids a run. One clock for everything (`loop.time`).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from e2e.fidelity.traffic import Visit
from e2e.story.stream import StreamTally

KEEP_ALIVE_SECONDS = 4
"""vLLM closes idle connections after five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What became of a request; instants are seconds after the run's start."""

    phase: str
    intended: float
    sent: float
    first_token: float
    end: float
    prompt_tokens: int
    thinking_tokens: int
    answer_tokens: int
    """All that is not thinking, the tags and the end mark included."""

    @property
    def output_tokens(self) -> int:
        """All tokens that the engine generated."""
        return self.thinking_tokens + self.answer_tokens

    @property
    def ttft_seconds(self) -> float:
        """To the first token of any kind."""
        return self.first_token - self.intended

    @property
    def e2e_seconds(self) -> float:
        """To the end."""
        return self.end - self.intended

    @property
    def tpot_seconds(self) -> float:
        """Mean seconds a token after the first; NaN for a single one."""
        if self.output_tokens < 2:
            return float("nan")
        return (self.end - self.first_token) / (self.output_tokens - 1)


class RequestError(RuntimeError):
    """The server refused a request or broke its stream; the measurement is worth nothing."""


def body_of(visit: Visit, model: str, plan_field: str) -> dict[str, Any]:
    """A request as JSON. The seed is left out, since vLLM's CPU engine dies of it."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": visit.prompt}],
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "max_tokens": visit.max_tokens,
    }
    if visit.forced:
        body["ignore_eos"] = True
    if visit.plan is not None:
        thinking, answer = visit.plan
        body[plan_field] = {"thinking_tokens": thinking, "answer_tokens": answer}
    return body


class Client:
    """Requests to one server."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, model: str, plan_field: str = ""
    ) -> None:
        self._session = session
        self._url = f"{url}/v1/chat/completions"
        self._model = model
        self._plan_field = plan_field
        self._under_way: dict[int, StreamTally] = {}
        self._next = 0

    @property
    def context_tokens(self) -> int:
        """Prompt and output so far of the streams that have had a token: as a gateway counts it."""
        usages = [t.usage for t in self._under_way.values() if t.first_token is not None]
        return sum(u["prompt_tokens"] + u["completion_tokens"] for u in usages if u is not None)

    async def ask(self, visit: Visit, started: float) -> Served:
        """Send now and read to the end. `started`: second 0 on the loop's clock."""
        loop = asyncio.get_running_loop()
        tally = StreamTally()
        number, self._next = self._next, self._next + 1
        sent = loop.time() - started
        end = sent
        self._under_way[number] = tally
        try:
            body = body_of(visit, self._model, self._plan_field)
            async with self._session.post(self._url, json=body) as response:
                if response.status != 200:
                    raise RequestError(f"HTTP {response.status}: {await response.text()}")
                async for chunk in response.content.iter_any():
                    now = loop.time() - started
                    ended = bool(tally.finish_reason)
                    tally.feed(chunk, now)
                    end = end if ended else now
        except aiohttp.ClientError as error:
            raise RequestError(f"{type(error).__name__}: {error}") from error
        finally:
            del self._under_way[number]
        if not tally.complete or tally.usage is None or tally.first_token is None:
            raise RequestError(f"a stream broke off: {tally.error or 'no error was said'}")
        return Served(
            phase=visit.phase,
            intended=visit.at_seconds,
            sent=sent,
            first_token=tally.first_token,
            end=end,
            prompt_tokens=int(tally.usage["prompt_tokens"]),
            thinking_tokens=tally.thinking_tokens,
            answer_tokens=tally.answer_tokens,
        )


async def open_loop(
    client: Client, visits: Sequence[Visit], started: float, tell: Callable[[int], None]
) -> list[Served]:
    """Send every visit at its time; returns what became of them in the visits' order. `tell` gets
    the count of the finished ones.
    """
    loop = asyncio.get_running_loop()
    done = 0

    async def one(visit: Visit) -> Served:
        nonlocal done
        await asyncio.sleep(started + visit.at_seconds - loop.time())
        served = await client.ask(visit, started)
        done += 1
        tell(done)
        return served

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(visit)) for visit in visits]
    except ExceptionGroup as failed:
        raise RequestError(str(failed.exceptions[0])) from failed
    return [task.result() for task in tasks]


def session() -> aiohttp.ClientSession:
    """Without limits of its own."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        json_serialize=lambda value: orjson.dumps(value).decode(),
    )
