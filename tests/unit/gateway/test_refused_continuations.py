"""An engine that refuses to go on with a thought: the answer comes from another replica, and being
full is no fault.
"""

import pytest

from tests.unit.gateway.in_process import chat, emulated, front_of, thought
from thinkscale.gateway.health import FAILURES

FLAGS = ("--reasoning-parser", "deepseek_r1", "--ignore-native-budget")


@pytest.mark.parametrize(("status", "failures"), [(429, 0), (503, 0), (500, 1)])
async def test_only_an_ill_engine_is_blamed_for_a_continuation_that_it_refuses(
    status: int, failures: int
) -> None:
    async with emulated("vllm", *FLAGS) as engine, front_of(engine, "ab", max_tokens=10) as front:
        engine.faults.append(("/v1/completions", 0, status))
        told, made = await front.ask(**chat(200, 5))
        assert (told["x-thinkscale-resumed"], engine.faults) == ("1", [])
        assert thought(made) == 10
        assert len(made["choices"][0]["message"]["content"].split()) == 5
        gateway, counted = front.gateway, 0
        assert gateway.ledger.totals.ejected == 0
        for name in "ab":  # it takes so many more to be left alone
            more = [gateway.router.failed(name, gateway.clock()) for _ in range(FAILURES)]
            counted += FAILURES - 1 - more.index(True)
        assert counted == failures
