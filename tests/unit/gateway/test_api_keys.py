"""API keys: who is let in, what a changed file does at once, and that no key is ever told on."""

import asyncio
import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from openai import AuthenticationError, OpenAI

from tests.unit.gateway.in_process import serving
from thinkscale.gateway import key_source
from thinkscale.gateway.api import Api
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.key_source import KeySource, KeysUnreadable
from thinkscale.gateway.keys import ApiKeys, keys_of_lines
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.slo import Outcome
from thinkscale.gateway.tally import MOST_NAMES, OTHERS, Tally
from thinkscale.gateway.upstream import Upstream
from thinkscale.model.gateway_config import GatewayConfig

ALICE, BOB, MALLORY = "sk-alice-1f7d", "sk-bob-99ab", "sk-mallory-0000"
names = st.from_regex(r"[a-z0-9._-]{1,12}", fullmatch=True)
secrets = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1)


@given(keys=st.dictionaries(names, secrets, max_size=5), other=secrets)
def test_a_key_is_known_by_its_id_and_nothing_else_is_a_key(
    keys: dict[str, str], other: str
) -> None:
    known = ApiKeys(keys)
    for key in keys.values():
        first = min(name for name, value in keys.items() if value == key)
        assert known.holder(f"Bearer {key}") == first
        assert known.holder(f"bearer   {key} ") == first
        assert known.holder(key) is None
        assert known.holder(f"Basic {key}") is None
    if other not in keys.values():
        assert known.holder(f"Bearer {other}") is None
    for nothing in (None, "", "Bearer", "Bearer "):
        assert known.holder(nothing) is None


def test_no_keys_at_all_means_nobody() -> None:
    assert ApiKeys({}).holder("Bearer ") is None
    assert len(ApiKeys({})) == 0


def test_lines_that_make_no_sense_are_told_by_their_number() -> None:
    text = f"# ours\n\nalice={ALICE}\nno key here\n=x\nbob = {BOB} \nalice=again\nda ve=x\nempty=\n"
    assert keys_of_lines(text) == ({"alice": ALICE, "bob": BOB}, [4, 5, 7, 8, 9])


def test_the_rows_of_a_tally_are_bounded() -> None:
    tally = Tally()
    for number in range(MOST_NAMES + 5):
        ended = {"outcome": Outcome.COMPLETED, "thinking": 2, "answer": 3}
        tally.ended(tier="", key=f"k{number}", **ended)
    assert len(tally.keys) == MOST_NAMES + 1
    assert tally.keys[OTHERS].outcomes[Outcome.COMPLETED] == 5
    assert tally.keys["k0"].thinking_tokens == 2
    assert tally.tiers[""].answer_tokens == 3 * (MOST_NAMES + 5)


def mount(directory: Path, **keys: str) -> None:
    """What the kubelet does with a Secret: new files in a new place, then one link is turned."""
    place = directory / f"..{len([*directory.iterdir()])}"
    place.mkdir()
    for name, key in keys.items():
        (place / name).write_text(key)
    for path in directory.iterdir():
        if path.name[0] != "." and path.name not in keys:
            path.unlink()
    link = directory / "..data_tmp"
    link.symlink_to(place.name)
    link.rename(directory / "..data")
    for name in keys:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")


@asynccontextmanager
async def watched(source: KeySource) -> AsyncIterator[Callable[..., Any]]:
    """The source at work, and a wait for who holds a key."""
    watching = asyncio.create_task(source.watch())

    async def holds(key: str, name: str | None) -> None:
        async with asyncio.timeout(5):
            while source.keys.holder(f"Bearer {key}") != name:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.005)

    yield holds
    watching.cancel()


async def test_a_mounted_secret_is_read_again_when_the_kubelet_changes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_source, "POLL_SECONDS", 0.005)
    mount(tmp_path, alice=ALICE + "\n")
    source = KeySource(tmp_path)
    assert source.keys.holder(f"Bearer {ALICE}") == "alice"
    async with watched(source) as holds:
        mount(tmp_path, bob=BOB)
        await holds(BOB, "bob")
        await holds(ALICE, None)
        mount(tmp_path)
        await holds(BOB, None)


async def test_a_file_that_cannot_be_read_takes_no_key_away_and_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(key_source, "POLL_SECONDS", 0.005)
    path = tmp_path / "keys"
    path.write_text(f"alice={ALICE}\n")
    source = KeySource(path)
    async with watched(source) as holds:
        path.write_bytes(b"bob=\xff" + BOB.encode())
        async with asyncio.timeout(5):
            while "it is not UTF-8" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.005)
        assert source.keys.holder(f"Bearer {ALICE}") == "alice"
        path.unlink()
        path.write_text(f"bob={BOB}\n{MALLORY}\n")
        await holds(BOB, "bob")
        await holds(ALICE, None)
    assert "lines=[2]" in caplog.text
    assert caplog.text.count("it is not UTF-8") == 1
    assert not [key for key in (ALICE, BOB, MALLORY) if key in caplog.text]


def test_keys_that_are_not_there_at_the_start_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(KeysUnreadable, match="No such file"):
        KeySource(tmp_path / "keys")


# The gateway as a process.


@pytest.fixture(scope="module")
def guarded(
    alone: Any, engines: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Path]]:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"alice={ALICE}\n")
    engine = engines()
    gateway = alone("--upstream", engine.url, "--api-keys-file", str(path))

    def is_ready() -> bool:
        try:
            return all(gateway.ready().values()) and bool(gateway.ready())
        except urllib.error.URLError:
            return False

    gateway.until(is_ready)
    return gateway, path


def client(gateway: Any, key: str) -> OpenAI:
    return OpenAI(base_url=gateway.url + "/v1", api_key=key, max_retries=0)


def chat(gateway: Any, key: str) -> Any:
    with client(gateway, key) as sdk:
        return sdk.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "why?"}],
            extra_body={"x_test_plan": {"thinking_tokens": 3, "answer_tokens": 4}},
        )


def status(url: str, **headers: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as got:
            return got.status, {}
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error) | {"challenge": error.headers["WWW-Authenticate"]}


def test_who_shows_a_key_is_served_and_counted_by_its_id(guarded: Any) -> None:
    gateway, _ = guarded
    assert chat(gateway, ALICE).usage.total_tokens > 0
    with pytest.raises(AuthenticationError) as refused:
        chat(gateway, MALLORY)
    assert refused.value.code == "invalid_api_key"
    assert refused.value.type == "invalid_request_error"
    for route in ("/v1/models", "/v1/responses", "/v1/no-such-route"):
        code, answer = status(gateway.url + route)
        assert (code, answer["challenge"]) == (401, "Bearer")
        assert answer["error"]["code"] == "invalid_api_key"
    assert status(gateway.url + "/v1/models", Authorization=f"Bearer {ALICE}")[0] == 200
    assert status(gateway.url + "/health")[0] == 200

    page = gateway.page("/metrics")
    rows = [line for line in page.splitlines() if line.startswith("thinkscale_gateway_key_")]
    asked = 'key_requests_total{key="alice",outcome="completed",service="local/tiny"} 1.0'
    assert f"thinkscale_gateway_{asked}" in rows
    tokens = 'key_tokens_total{key="alice",phase="thinking",service="local/tiny"} 3.0'
    assert f"thinkscale_gateway_{tokens}" in rows
    assert 'thinkscale_gateway_unauthorized_total{service="local/tiny"} 4.0' in page


def test_a_changed_file_takes_effect_and_nothing_ever_names_a_key(guarded: Any) -> None:
    gateway, path = guarded
    fresh = path.with_suffix(".new")
    fresh.write_text(f"bob={BOB}\n{MALLORY}\n")
    os.rename(fresh, path)
    models = gateway.url + "/v1/models"
    gateway.until(lambda: status(models, Authorization=f"Bearer {BOB}")[0] == 200)
    assert status(models, Authorization=f"Bearer {ALICE}")[0] == 401
    assert status(models, Authorization=BOB)[0] == 401
    assert status(models, Authorization=f"Bearer {MALLORY}")[0] == 401
    assert chat(gateway, BOB).usage.total_tokens > 0

    told = gateway.log + gateway.page("/metrics") + gateway.page("/signals")
    assert "Ignored lines that are not ID=KEY lines=[2]" in told
    assert 'key="bob"' in told
    assert not [key for key in (ALICE, BOB, MALLORY) if key in told]


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """The URL of this application on loopback."""
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("key", [ALICE, "clé"])
async def test_the_engine_sees_the_header_only_where_it_may_be_meant_for_it(
    tmp_path: Path, asks: bool, key: str
) -> None:
    seen: list[str | None] = []

    async def generate(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"error": {"message": "enough", "code": 400}}, status=400)

    engine = web.Application()
    engine.router.add_post("/v1/chat/completions", generate)
    (keys := tmp_path / "keys").write_text(f"alice={key}\n")
    gateway, upstream = Gateway("g"), Upstream()
    api = Api(gateway, upstream, Patience(), KeySource(keys) if asks else None)
    gateway.configure(GatewayConfig(service="n/s", model="m", seats_per_replica=1))
    body = {"messages": [{"role": "user", "content": "why?"}]}
    async with (
        served(engine) as engine_url,
        serving(api) as url,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
    ):
        gateway.locate([Replica(name="e", url=engine_url, ready=True)])
        async with session.post(url + "/v1/chat/completions", json=body) as answer:
            assert answer.status == 400
    await upstream.close()
    assert seen == [None if asks else f"Bearer {key}"]
