"""A replica proves its native budget before its first request, where the resource asks for it."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from tests.unit.gateway.asking import PLAN, chat
from tests.unit.gateway.in_process import SILENT, emulated, front_of
from thinkscale.engines.vllm_requests import NATIVE_BUDGET_FIELD
from thinkscale.gateway import canary
from thinkscale.gateway.proofs import Finding

WELL = ["--reasoning-parser", "deepseek_r1"]
SGLANG = ["--dialect", "sglang", "--reasoning-parser", "deepseek-r1", "--enable-metrics"]
ENGINES = {
    "a": WELL,
    "b": [*WELL, "--ignore-native-budget"],
    "c": [*WELL, "--overrun-native-budget", "5"],
    "d": [*WELL, "--inject-native-budget"],
    "e": ["--reasoning-parser", "none"],
    "f": [*SGLANG, "--enable-strict-thinking"],
    "g": SGLANG,
    "h": ["--dialect", "tgi"],
}
KIND = {**dict.fromkeys("fg", "SGLang"), "h": "TGI"}
NATIVE_ONLY = {"response_format": {"type": "json_object"}}
"""No continuation can carry it: the header says whether the engine is believed."""


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    return list(ENGINES.values())


async def counts(setup: Any) -> dict[str, int]:
    """Canaries by what they showed, and violations by cause."""
    rows = re.findall(
        r'thinkscale_gateway_(?:canaries|budget_violations)_total\{(?:result|cause)="(\w+)",'
        r'service="ns/demo"\} (\S+)',
        await setup.metrics(),
    )
    return {name: int(float(value)) for name, value in rows if float(value)}


def grown(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {n: more for n, value in after.items() if (more := value - before.get(n, 0))}


@pytest.mark.parametrize(
    ("engine", "shown", "mode"),
    [
        ("a", {"held": 1}, "native"),
        ("b", {"broken": 1, "ignored": 1}, "observed"),
        ("c", {"broken": 1, "overrun": 1}, "observed"),
        ("d", {"broken": 1, "injected": 1}, "observed"),
        ("e", {"absent": 1}, "observed"),
        ("f", {"held": 1}, "native"),
        ("g", {"broken": 1, "ignored": 1}, "observed"),
        ("h", {}, "observed"),
    ],
)
async def test_a_replica_is_known_before_its_first_request(
    setup: Any, engine: str, shown: dict[str, int], mode: str
) -> None:
    await setup.arrange("", engine=KIND.get(engine, "VLLM"))
    await setup.configure(maxTokens=20, nativeBudgetCheck="BeforeUse")
    before, arrivals = await counts(setup), (await setup.signals())["counters"]["arrivals"]
    await setup.replicas(engine)
    assert grown(await counts(setup), before) == shown
    signals = await setup.signals()
    assert signals["replicas"][engine]["budgetDoubted"] is ("broken" in shown)
    assert signals["counters"]["arrivals"] == arrivals
    first = await setup.stream(**chat(200, 5, **NATIVE_ONLY))
    assert first.headers["x-thinkscale-budget"] == mode
    forced = await setup.stream(**chat(200, 5))
    assert forced.usage["completion_tokens_details"]["reasoning_tokens"] in (19, 20)
    known = ("ignored", "overrun", "injected")
    late = grown(await counts(setup), before)
    if engine in "bcg":  # a late or ignored budget is still sent where nothing else could hold it
        assert set(late) == set(shown)
    else:
        assert {n: late.get(n) for n in known} == {n: shown.get(n) for n in known}


async def test_without_the_check_nothing_is_asked_and_those_that_serve_are_not_sent_away(
    setup: Any,
) -> None:
    await setup.arrange("a", maxTokens=20)
    before = await counts(setup)
    await setup.configure(nativeBudgetCheck="BeforeUse")
    assert (await setup.signals())["replicas"]["a"]["ready"]
    assert await counts(setup) == before


async def test_requests_wait_while_a_replica_proves_itself_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(canary, "WITHIN_SECONDS", 0.6)
    check = {"max_tokens": 10, "native_budget_check": "BeforeUse"}
    async with emulated("vllm", *WELL) as engine:
        engine.faults.append(("/v1/chat/completions", 0, SILENT))
        async with front_of(engine, **check) as front:
            running = asyncio.create_task(canary.prove_replicas(front.gateway, front.upstream))
            asked = asyncio.create_task(front.ask(**chat(40, 5, stream=False)))
            await asyncio.sleep(0.3)
            assert front.gateway.router.held == 1
            told, _ = await asked
            assert told["x-thinkscale-budget"] == "forced"
            assert front.gateway.ledger.budget.canaries[Finding.UNPROVEN] == 1
            assert front.gateway.trust.doubted
            running.cancel()


async def test_an_engine_that_is_not_there_yet_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(canary, "AGAIN_SECONDS", 0.05)
    check = {"max_tokens": 10, "native_budget_check": "BeforeUse"}
    async with emulated("vllm", *WELL) as engine:
        engine.faults += [("/v1/chat/completions", 0, 503), ("/v1/chat/completions", 0, 500)]
        async with front_of(engine, **check) as front:
            running = asyncio.create_task(canary.prove_replicas(front.gateway, front.upstream))
            await front.ask(**chat(40, 5, stream=False))
            assert engine.faults == []
            assert front.gateway.ledger.budget.canaries[Finding.HELD] == 1
            running.cancel()


class Plans(Mapping[str, Any]):
    """The canary's request, which would think so long, and so long the next time."""

    def __init__(self, thoughts: Iterable[int]) -> None:
        self._body, self._thoughts = dict(canary.THINKS), iter(thoughts)

    def __getitem__(self, name: str) -> Any:
        return self._body[name]

    def __iter__(self) -> Iterator[str]:
        self._body[PLAN] = {"thinking_tokens": next(self._thoughts), "answer_tokens": 3}
        return iter(self._body)

    def __len__(self) -> int:
        return len(self._body)


@pytest.mark.parametrize(
    ("thoughts", "finding"),
    [((2, 40), Finding.HELD), ((2, 2, 40), Finding.HELD), ((2, 2, 2, 40), Finding.UNPROVEN)],
)
async def test_a_thought_that_ends_by_itself_proves_nothing_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, thoughts: tuple[int, ...], finding: Finding
) -> None:
    monkeypatch.setattr(canary, "THINKS", Plans(thoughts))
    check = {"max_tokens": 10, "native_budget_check": "BeforeUse"}
    async with emulated("vllm", *WELL) as engine, front_of(engine, **check) as front:
        running = asyncio.create_task(canary.prove_replicas(front.gateway, front.upstream))
        await front.ask(**chat(40, 5, stream=False))
        assert front.gateway.ledger.budget.canaries[finding] == 1
        running.cancel()


def test_what_is_asked_is_small_and_goes_past_its_budget() -> None:
    assert canary.THINKS["max_tokens"] <= 64
    assert canary.ANSWERS["max_tokens"] > canary.BUDGET_TOKENS
    assert PLAN not in canary.THINKS
    assert NATIVE_BUDGET_FIELD not in canary.THINKS
