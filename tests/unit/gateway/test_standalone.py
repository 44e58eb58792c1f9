"""One command in front of a model server, without a cluster: every flag takes effect, servers come
and go, and mistakes get one line.
"""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from thinkscale.gateway import standalone
from thinkscale.gateway.command_line import command_line
from thinkscale.gateway.flags import parse
from thinkscale.gateway.main import main
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.standalone import UpstreamSource
from thinkscale.model.gateway_config import GatewayConfig, SloConfig, TierConfig
from thinkscale.model.intent import Indicator

PLAN = "x_test_plan"


@dataclass
class Told:
    """A sink that remembers."""

    config: GatewayConfig | None = None
    fleets: list[list[Replica]] = field(default_factory=list)

    def configure(self, config: GatewayConfig) -> None:
        self.config = config

    def direct(self, directive: Any) -> None:
        raise AssertionError(directive)

    def locate(self, replicas: Any) -> None:
        self.fleets.append(list(replicas))

    @property
    def ready(self) -> list[bool]:
        return [replica.ready for replica in self.fleets[-1]] if self.fleets else []


@pytest.fixture(scope="module")
def pair(alone: Any, engines: Any) -> Iterator[tuple[Any, Any, int]]:
    """A gateway, the engine behind it, and the port of a second one that is not there."""
    engine, spare = engines(), engines()
    spare.stop()  # its port is free now, and nobody else's
    gateway = alone(
        "--engine", "vllm", "--upstream", engine.url + "/v1", "--upstream", spare.url,
        "--budget-max", "40", "--budget-min", "3", "--budget-default", "30", "--answer-max", "9",
        "--tier", "low=7", "--seats", "2", "--queue-max", "0", "--slo-ttfa-seconds", "5",
    )  # fmt: skip
    name = engine.url.removeprefix("http://")
    gateway.until(lambda: ready_now(gateway).get(name, False))
    return gateway, engine, spare.port


def ready_now(gateway: Any) -> dict[str, bool]:
    try:
        return dict(gateway.ready())
    except urllib.error.URLError:
        return {}


def ask(gateway: Any, thinks: int, answers: int, **fields: Any) -> tuple[dict[str, str], Any]:
    """Headers and body of a whole answer."""
    body = {
        "messages": [{"role": "user", "content": "why?"}],
        PLAN: {"thinking_tokens": thinks, "answer_tokens": answers},
    }
    request = urllib.request.Request(
        gateway.url + "/v1/chat/completions", json.dumps(body | fields).encode()
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return dict(answer.headers), json.load(answer)


def thought(made: Any) -> int:
    return int(made["usage"]["completion_tokens_details"]["reasoning_tokens"])


def test_one_command_forces_budgets_and_shows_the_phases(pair: Any) -> None:
    gateway, _, _ = pair
    headers, made = ask(gateway, 500, 50)
    assert made["model"] == "tiny"
    assert made["choices"][0]["finish_reason"] == "length"
    closing_tag = 1
    assert made["usage"]["completion_tokens"] - thought(made) - closing_tag == 9
    assert 29 <= thought(made) <= 30
    assert headers["x-thinkscale-budget-source"] == "default"
    assert headers["x-thinkscale-budget-tokens"] == "30"
    _, most = ask(gateway, 500, 5, thinking_token_budget=4000)
    assert 39 <= thought(most) <= 40
    _, least = ask(gateway, 500, 5, reasoning_effort="none")
    assert thought(least) == 3
    headers, low = ask(gateway, 500, 5, reasoning_effort="low")
    assert (headers["x-thinkscale-tier"], headers["x-thinkscale-budget-source"]) == ("low", "tier")
    assert 6 <= thought(low) <= 7

    page = gateway.page("/metrics")
    of = 'service="local/tiny"'
    asked = f'thinkscale_gateway_tier_requests_total{{outcome="completed",{of},tier="low"}} 1.0'
    assert asked in page
    tokens = f'thinkscale_gateway_tier_tokens_total{{phase="thinking",{of},tier="low"}} '
    assert f"{tokens}{float(thought(low))}" in page
    assert f'thinkscale_gateway_tokens_total{{phase="thinking",{of}}} ' in page
    assert f'thinkscale_gateway_slo_requests_total{{met="true",{of},slo="ttfa"}} 4.0' in page


def test_more_than_the_seats_and_the_queue_hold_is_told_to_come_back(pair: Any) -> None:
    gateway, _, _ = pair

    def status(_: int) -> int:
        try:
            ask(gateway, 40, 400)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 200

    with ThreadPoolExecutor(4) as clients:
        assert sorted(clients.map(status, range(4))) == [200, 200, 429, 429]


def test_a_server_that_comes_is_used_and_one_that_goes_is_not(pair: Any, engines: Any) -> None:
    gateway, engine, port = pair
    first, second = engine.url.removeprefix("http://"), f"127.0.0.1:{port}"
    assert gateway.ready() == {first: True, second: False}
    late = engines(port=port)
    gateway.until(lambda: gateway.ready()[second])
    late.stop()
    gateway.until(lambda: not gateway.ready()[second], 6)
    assert thought(ask(gateway, 5, 5)[1]) == 5
    assert gateway.log.count(f"Not ready url=http://{second}") == 2  # before it came, and after


def test_the_health_of_the_api_is_that_of_an_engine(pair: Any) -> None:
    gateway, _, _ = pair
    with urllib.request.urlopen(gateway.url + "/health", timeout=5) as answer:
        assert answer.status == 200


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110 - a source has no event to wait for
            await asyncio.sleep(0.01)


async def test_a_server_of_another_model_is_never_ready(
    pair: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _, engine, _ = pair
    told = Told()
    config = GatewayConfig(service="local/other", model="other", seats_per_replica=1)
    source = UpstreamSource(config, [engine.url], health_path="/health")
    running = asyncio.create_task(source.run(told))
    await until(lambda: bool(told.fleets))
    assert told.ready == [False]
    assert "it serves tiny and not other" in caplog.text
    running.cancel()


@asynccontextmanager
async def server(health: list[int], asked: list[int]) -> AsyncIterator[str]:
    """A model server whose health is what the list says; 0: it never answers."""

    async def answer(_: web.Request) -> web.Response:
        asked[0] += 1
        if health[0] == 0:
            await asyncio.sleep(60)
        return web.Response(status=health[0])

    app = web.Application()
    app.router.add_get("/health", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_slow_server_is_given_three_probes_and_a_whole_one_is_back_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standalone, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(standalone, "PROBE_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    (health, asked), told = ([200], [0]), Told()
    config = GatewayConfig(service="local/m", model="m", seats_per_replica=1)
    async with server(health, asked) as url:
        source = UpstreamSource(config, [url], health_path="/health")
        running = asyncio.create_task(source.run(told))
        await until(lambda: told.ready == [True])
        for trouble in (503, 0):
            health[0], before = trouble, asked[0]
            await until(lambda: told.ready == [False])
            assert asked[0] - before >= standalone.PATIENCE
            health[0] = 200
            await until(lambda: told.ready == [True])
        running.cancel()


async def test_a_silent_server_does_not_hold_up_what_is_known_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standalone, "PROBE_SECONDS", 0.01)
    silent, other, told = [200], [200], Told()
    config = GatewayConfig(service="local/m", model="m", seats_per_replica=1)
    async with server(silent, [0]) as first, server(other, [0]) as second:
        source = UpstreamSource(config, [first, second], health_path="/health")
        running = asyncio.create_task(source.run(told))
        await until(lambda: told.ready == [True, True])
        silent[0], other[0] = 0, 503
        began = time.monotonic()
        await until(lambda: told.ready == [True, False])
        assert time.monotonic() - began < 1.5
        running.cancel()


async def test_a_model_that_no_server_tells_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    config = GatewayConfig(service="", model="", seats_per_replica=1)
    running = asyncio.create_task(
        UpstreamSource(config, ["http://127.0.0.1:9"], health_path="/health").run(told)
    )
    await until(lambda: "it takes no connection" in caplog.text)
    assert (told.config, told.fleets) == (None, [])
    running.cancel()


async def test_flags_become_the_configuration_that_a_resource_would() -> None:
    told = Told()
    flags = [
        "--upstream", "http://127.0.0.1:9", "--model", "r1", "--on-exhausted", "stop",
        "--budget-max", "900", "--tier", "low=100", "--tier", "high=800", "--answer-max", "50",
        "--slo-ttfa-seconds", "2.5", "--queue-max", "7", "--seats", "3", "--budget-min", "50",
        "--nudge", " Hmm.",
    ]  # fmt: skip
    running = asyncio.create_task(parse(flags).source.run(told))
    await until(lambda: told.config is not None)
    ttfa = Indicator.TIME_TO_FIRST_ANSWER
    assert told.config == GatewayConfig(
        service="local/r1",
        model="r1",
        seats_per_replica=3,
        min_tokens=50,
        nudge=" Hmm.",
        max_tokens=900,
        tiers=(
            TierConfig(name="low", max_tokens=100),
            TierConfig(name="high", max_tokens=800),
        ),
        on_exhausted="Stop",
        answer_max_tokens=50,
        queue_max_requests=7,
        slos=(SloConfig(name="ttfa", indicator=ttfa, threshold_seconds=2.5),),
    )
    running.cancel()


AT = ["--upstream", "http://127.0.0.1:9"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "give --upstream, or --config-dir and --replicas-file, or --namespace and --service"),
        (["--namespace", "a"], "give --upstream"),
        (["--config-dir", "/"], "give --upstream"),
        ([*AT, "--service", "x"], "cannot go with --upstream"),
        (["--budget-max", "5"], "--budget-max needs --upstream URL"),
        (["--upstream", "localhost:8000"], "is not a URL such as http://127.0.0.1:8000"),
        (["--upstream", "http://u:p@h"], "is not a URL"),
        (["--upstream", "http://h:99999"], "is not a URL"),
        ([*AT, "--upstream", "http://127.0.0.1:9/v1/"], "the same server is given twice"),
        ([*AT, "--engine", "other"], "invalid choice: 'other'"),
        ([*AT, "--budget-max", "-1"], "is not a whole number"),
        ([*AT, "--budget-max", "5", "--budget-min", "6"], "is less than --budget-min 6: raise it"),
        ([*AT, "--budget-max", "5", "--budget-default", "6"], "is more than --budget-max 5"),
        ([*AT, "--budget-max", "5", "--tier", "low=6"], "--tier low 6 is more than"),
        ([*AT, "--tier", "low"], "is not EFFORT=TOKENS, such as low=2048"),
        ([*AT, "--tier", "none=5"], "is not EFFORT=TOKENS"),
        ([*AT, "--tier", "low=5", "--tier", "low=6"], "the same effort is given twice"),
        ([*AT, "--nudge", "Hm"], "--nudge is said behind thoughts below --budget-min N: give that"),
        ([*AT, "--budget-min", "9", "--nudge", "</think>"], "must be some text without <think>"),
        ([*AT, "--seats", "0"], "is not at least 1"),
        ([*AT, "--answer-max", "0"], "is not at least 1"),
        ([*AT, "--listen", "8080"], "is not HOST:PORT, such as 127.0.0.1:8080"),
        ([*AT, "--listen", "127.0.0.1:0"], "is not a port from 1 to 65535"),
        ([*AT, "--listen", "h:1", "--port", "2"], "use one or the other"),
        ([*AT, "--slo-ttfa-seconds", "nan"], "is not a number of seconds"),
        ([*AT, "--api-keys-file", "/nowhere"], "cannot read the API keys at /nowhere: No such"),
        ([*AT, "--api-keys-file", "/"], "--api-keys-file: / is no file"),
        ([*AT, "--api-keys-file", "a", "--api-keys-dir", "b"], "not allowed with"),
        ([*AT, "--budget-maximum", "5"], "unrecognized arguments: --budget-maximum"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(flags)
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("thinkscale gateway: ")
    assert said in line


def test_a_port_that_is_taken_gets_one_line(pair: Any, capfd: pytest.CaptureFixture[str]) -> None:
    gateway, _, _ = pair
    address = gateway.url.removeprefix("http://")
    assert main([*AT, "--listen", address]) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line == f"thinkscale gateway: cannot listen on {address}: Address already in use"


def test_every_flag_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text()
    actions = command_line()._actions
    flags = [flag for action in actions for flag in action.option_strings if flag[:2] == "--"]
    assert len(flags) > 20
    assert [flag for flag in flags if flag not in page] == ["--help"]
