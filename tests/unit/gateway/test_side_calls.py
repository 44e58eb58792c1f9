"""What the gateway asks an engine beside generating: an answer that is lost is no answer of no, and
what is told is believed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.unit.gateway.in_process import (
    DROPPED,
    NAMES,
    PLAN,
    SILENT,
    chat,
    emulated,
    front_of,
    thought,
)
from thinkscale.engines import DIALECTS
from thinkscale.engines.dialect import Tags
from thinkscale.gateway import upstream
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.upstream import Upstream


@asynccontextmanager
async def asker() -> AsyncIterator[Upstream]:
    """A gateway's client of engines."""
    client = Upstream()
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("fault", [DROPPED, SILENT, 500, 503])
async def test_a_question_that_was_lost_once_is_asked_again_by_the_next_request(
    fault: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "_SIDE_CALL", aiohttp.ClientTimeout(total=0.3))
    async with emulated("tgi") as engine, front_of(engine, max_tokens=10) as front:
        engine.faults.append(("/chat_tokenize", 0, fault))
        told, _ = await front.ask(**chat(40, 5))
        assert (told["x-thinkscale-budget"], engine.faults) == ("observed", [])
        told, second = await front.ask(**chat(40, 5))
        assert told["x-thinkscale-budget"] == "forced"
        assert thought(second) == 10


@pytest.mark.parametrize(
    ("kind", "path", "passing"),
    [("vllm", "/tokenize", 0), ("vllm", "/tokenize", 1), ("vllm", "/tokenize", 3),
     ("tgi", "/info", 0), ("sglang", "/v1/models", 0), ("sglang", "/tokenize", 4)],
)  # fmt: skip
async def test_half_an_answer_is_never_kept(kind: str, path: str, passing: int) -> None:
    dialect = DIALECTS[NAMES[kind]]
    async with emulated(kind) as engine, asker() as asking:
        replica = Replica(name="a", url=engine.url, ready=True)
        engine.faults.append((path, passing, 502))
        assert await asking.tags(replica, dialect, "tiny") == Tags()
        again = await asking.tags(replica, dialect, "tiny")
        assert again.close_id is not None
        assert again.context_tokens is not None
        assert again.nudge_ids
        assert again.renders
        assert await asking.tags(replica, dialect, "tiny") is again


async def test_an_engine_that_says_no_is_not_asked_for_ever() -> None:
    async with emulated("tgi") as engine, asker() as asking:
        replica = Replica(name="a", url=engine.url, ready=True)
        engine.faults.append(("/chat_tokenize", 0, 422))
        tags = await asking.tags(replica, DIALECTS["TGI"], "tiny")
        assert tags.closing_ids
        assert not tags.renders
        assert await asking.tags(replica, DIALECTS["TGI"], "tiny") is tags


@pytest.mark.parametrize("parser", ["none", "deepseek-r1"])
async def test_a_template_that_cannot_be_told_not_to_think_has_its_thought_cut(parser: str) -> None:
    flags = ("--reasoning-parser", parser, "--no-template-switches")
    async with emulated("sglang", *flags) as engine, front_of(engine) as front:
        violations = front.gateway.ledger.budget.violations
        await front.ask(**chat(60, 6, thinking_token_budget=10))  # from now on it is not trusted
        before = dict(violations)
        told, made = await front.ask(**chat(60, 6, reasoning_effort="none"))
        assert told["x-thinkscale-budget"] == "forced"
        assert thought(made) == 0
        content = made["choices"][0]["message"]["content"]
        assert len(content.replace("</think>", "").split()) == 6
        assert violations == before


async def test_a_completion_that_tgi_was_cut_in_tells_the_engines_own_prompt_tokens() -> None:
    body = {
        "prompt": "one two three and many more words to count here <think>\n",
        "max_tokens": 200,
        PLAN: {"thinking_tokens": 40, "answer_tokens": 5},
    }
    async with emulated("tgi") as engine, front_of(engine, max_tokens=10) as front:
        async with front.session.post(engine.url + "/v1/completions", json=body) as response:
            own = (await response.json())["usage"]["prompt_tokens"]
        _, cut = await front.ask("/v1/completions", **body)
        assert thought(cut) == 10
        assert cut["usage"]["prompt_tokens"] == own
        assert own != len(str(body["prompt"])) // 4
        engine.faults.append(("/tokenize", 0, DROPPED))
        _, cut = await front.ask("/v1/completions", **body)
        assert cut["usage"]["prompt_tokens"] == len(str(body["prompt"])) // 4
