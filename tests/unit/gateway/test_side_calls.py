"""What the gateway asks an engine beside generating: an answer that is lost is no answer of no, and
what is told is believed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.unit.gateway.asking import PLAN
from tests.unit.gateway.conftest import free_port
from tests.unit.gateway.in_process import (
    DROPPED,
    NAMES,
    SILENT,
    chat,
    emulated,
    front_of,
    thought,
)
from thinkscale.engines import DIALECTS
from thinkscale.engines.dialect import Tags
from thinkscale.gateway import tag_book, upstream
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.upstream import Upstream
from thinkscale.model.gateway_config import NUDGE


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
        assert await asking.tag_book.tags(replica, dialect, "tiny", NUDGE) == Tags()
        again = await asking.tag_book.tags(replica, dialect, "tiny", NUDGE)
        assert again.close_id is not None
        assert again.context_tokens is not None
        assert again.nudge_ids
        assert again.renders
        assert await asking.tag_book.tags(replica, dialect, "tiny", NUDGE) is again


async def test_an_engine_that_says_no_is_not_asked_for_ever() -> None:
    async with emulated("tgi") as engine, asker() as asking:
        replica = Replica(name="a", url=engine.url, ready=True)
        engine.faults.append(("/chat_tokenize", 0, 422))
        tags = await asking.tag_book.tags(replica, DIALECTS["TGI"], "tiny", NUDGE)
        assert tags.closing_ids
        assert not tags.renders
        assert await asking.tag_book.tags(replica, DIALECTS["TGI"], "tiny", NUDGE) is tags


async def test_an_engine_that_always_fails_at_a_question_is_asked_now_and_then_and_counted_by(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tag_book, "AGAIN_SECONDS", 0.4)
    dialect = DIALECTS["VLLM"]
    async with emulated("vllm") as engine, asker() as asking:
        replica = Replica(name="a", url=engine.url, ready=True)

        async def ask() -> Tags:
            return await asking.tag_book.tags(replica, dialect, "tiny", NUDGE)

        for _ in range(tag_book.PATIENCE):
            engine.faults.append(("/tokenize", 3, 500))
            assert await ask() == Tags()
        assert engine.faults == []
        engine.faults.append(("/tokenize", 0, 500))  # nobody runs into it
        known = await ask()
        assert known.close_id is not None
        assert (known.closing_ids, known.nudge_ids) == ((), ())
        assert await ask() is known
        engine.faults.clear()
        await asyncio.sleep(0.5)
        assert (await ask()).closing_ids
    assert [record.getMessage() for record in caplog.records] == [
        "Cannot force budgets: does not tell its tags replica=a"
    ]


async def test_without_its_tags_a_budget_is_left_to_the_engine_and_the_client_is_told() -> None:
    parser = ("--reasoning-parser", "deepseek_r1")
    async with emulated("vllm", *parser) as engine, front_of(engine, max_tokens=10) as front:
        engine.faults += [("/tokenize", 0, 500) for _ in range(4 * tag_book.PATIENCE)]
        for _ in range(tag_book.PATIENCE + 1):
            told, made = await front.ask(**chat(40, 5))
            assert told["x-thinkscale-budget"] == "native"
            assert thought(made) in (9, 10)
        assert engine.faults == []


async def test_an_engine_that_is_away_is_asked_by_each_request() -> None:
    async with asker() as asking:
        replica = Replica(name="a", url=f"http://127.0.0.1:{free_port()}", ready=True)
        for _ in range(tag_book.PATIENCE + 1):
            tags = await asking.tag_book.tags(replica, DIALECTS["VLLM"], "tiny", NUDGE)
            assert tags == Tags()
        async with emulated("vllm") as engine:
            there = Replica(name="a", url=engine.url, ready=True)
            tags = await asking.tag_book.tags(there, DIALECTS["VLLM"], "tiny", NUDGE)
            assert tags.closing_ids


async def test_another_nudge_is_asked_for_at_once() -> None:
    async with emulated("vllm") as engine, asker() as asking:
        replica = Replica(name="a", url=engine.url, ready=True)
        one, other = [
            await asking.tag_book.tags(replica, DIALECTS["VLLM"], "tiny", nudge)
            for nudge in (NUDGE, " But is that so? Let me see.")
        ]
        assert one.nudge_ids != other.nudge_ids
        assert (one.nudge, other.nudge) == (NUDGE, " But is that so? Let me see.")
        assert one.closing_ids == other.closing_ids


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
