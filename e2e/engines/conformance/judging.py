"""What the traps share: a verdict from a check, and what an engine says of its own load."""

import asyncio
import time
from collections.abc import Awaitable

import aiohttp

from e2e.engines.conformance.bench import Bench
from e2e.engines.conformance.results import Trap
from e2e.engines.install import VLLM_VERSION


async def busy(gateway: Bench, url: str, what: str = "running") -> int:
    """Requests that a vLLM has `running` or `waiting`."""
    async with gateway.session.get(url + "/metrics") as response:
        text = await response.text()
    name = f"vllm:num_requests_{what}{{"
    values = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(name)]
    return round(sum(float(value) for value in values))


async def until_busy(gateway: Bench, url: str, count: int, within: float = 5.0) -> None:
    """Return when exactly so many are running."""
    deadline = time.monotonic() + within
    while (now := await busy(gateway, url)) != count:
        assert time.monotonic() < deadline, f"{now} running, not {count}"
        await asyncio.sleep(0.01)


async def judged(name: str, result: Awaitable[tuple[str, str]]) -> Trap:
    """The trap that a check found."""
    engine = f"vLLM {VLLM_VERSION}"
    try:
        does, makes = await result
    except (AssertionError, aiohttp.ClientError, TimeoutError) as error:
        said = f"{type(error).__name__}: {error}"
        return Trap(
            engine=engine, name=name, engine_does="", gateway_makes="", verdict="fails", detail=said
        )
    return Trap(engine=engine, name=name, engine_does=does, gateway_makes=makes, verdict="holds")
