"""Watches and errors against an API server that misbehaves on purpose: what the real one cannot be
made to show at will. What a healthy one does is tested against the real one.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException

from thinkscale.errors import ApiConflict, ApiError, ApiNotFound, ApiUnavailable
from thinkscale.kube import watching
from thinkscale.kube.client import Changed, KubeClient, Listed, error_of
from thinkscale.kube.resources import CONFIG_MAPS, DEPLOYMENTS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[KubeClient]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves one handler; gives a client of it."""
    servers: list[TestServer] = []
    clients: list[KubeClient] = []

    async def start(handler: Handler) -> KubeClient:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        configuration = Configuration(host=str(server.make_url("")).rstrip("/"))
        client = await KubeClient(configuration).__aenter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.__aexit__(None, None, None)
    for server in servers:
        await server.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(watching, "SHORTEST_SECONDS", 0.01)
    monkeypatch.setattr(watching, "UNDEFINED_SECONDS", 0.01)


def config_map(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}}


def listing(version: int, *items: dict[str, Any]) -> web.Response:
    return web.json_response({"metadata": {"resourceVersion": str(version)}, "items": list(items)})


async def streaming(request: web.Request, *events: dict[str, Any]) -> web.StreamResponse:
    """A watch that tells these events and ends."""
    response = web.StreamResponse()
    await response.prepare(request)
    for event in events:
        await response.write(json.dumps(event).encode() + b"\n")
    return response


def event(type_: str, thing: dict[str, Any]) -> dict[str, Any]:
    return {"type": type_, "object": thing}


async def take(kube: KubeClient, count: int) -> list[Listed | Changed]:
    """The first happenings of a watch."""
    seen: list[Listed | Changed] = []
    async with asyncio.timeout(5):
        async for happened in kube.watch(CONFIG_MAPS, "ns"):
            seen.append(happened)
            if len(seen) == count:
                return seen
    raise AssertionError("the watch ended")


async def test_a_watch_follows_on_from_where_the_last_one_ended(serve: Serve) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return listing(5, config_map("a", 3))
        asked.append(request.query["resourceVersion"])
        version = int(asked[-1]) + 1
        return await streaming(request, event("MODIFIED", config_map("a", version)))

    first, *changes = await take(await serve(handler), 4)
    assert isinstance(first, Listed)
    assert first.items[0]["kind"] == "ConfigMap", "items of a list carry no kind of their own"
    assert [c.object["metadata"]["resourceVersion"] for c in changes if isinstance(c, Changed)] == [
        "6",
        "7",
        "8",
    ]
    assert asked[:3] == ["5", "6", "7"]


async def test_a_bookmark_moves_the_place_and_says_nothing(serve: Serve) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return listing(5)
        asked.append(request.query["resourceVersion"])
        if len(asked) == 1:
            return await streaming(request, event("BOOKMARK", config_map("", 90)))
        return await streaming(request, event("ADDED", config_map("b", 91)))

    _, added = await take(await serve(handler), 2)
    assert isinstance(added, Changed)
    assert added.type == "ADDED"
    assert asked == ["5", "90"]


@pytest.mark.parametrize("how", ["as an event", "as a status"])
async def test_an_expired_version_lists_again(serve: Serve, how: str) -> None:
    lists = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal lists
        if "watch" not in request.query:
            lists += 1
            return listing(lists, *[config_map("a", lists)] * (lists == 1))
        gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        if how == "as an event":
            return await streaming(request, event("ERROR", gone))
        return web.json_response(gone, status=410)

    first, second = await take(await serve(handler), 2)
    assert isinstance(first, Listed)
    assert isinstance(second, Listed)
    assert (len(first.items), len(second.items)) == (1, 0), "what is gone is gone"


async def test_an_outage_is_waited_out_without_listing_again(serve: Serve) -> None:
    lists, tries = 0, 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal lists, tries
        if "watch" not in request.query:
            lists += 1
            return listing(5)
        tries += 1
        if tries <= 6:
            return web.Response(status=503 if tries % 2 else 401)
        return await streaming(request, event("ADDED", config_map("b", 6)))

    _, added = await take(await serve(handler), 2)
    assert isinstance(added, Changed)
    assert (lists, tries) == (1, 7)


async def test_a_list_that_fails_is_tried_again(serve: Serve) -> None:
    lists = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal lists
        lists += 1
        return web.Response(status=500) if lists < 4 else listing(5)

    (first,) = await take(await serve(handler), 1)
    assert isinstance(first, Listed)


async def test_a_connection_that_went_silent_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SILENCE_SECONDS", 0.2)
    tries = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal tries
        if "watch" not in request.query:
            return listing(5)
        tries += 1
        if tries == 1:
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.sleep(2)
            return response
        return await streaming(request, event("ADDED", config_map("b", 6)))

    _, added = await take(await serve(handler), 2)
    assert isinstance(added, Changed)


async def test_a_long_list_is_read_in_pages(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.query.get("continue") == "next":
            return listing(9, config_map("b", 2))
        page = {"metadata": {"resourceVersion": "9", "continue": "next"}}
        return web.json_response(page | {"items": [config_map("a", 1)]})

    listed = await (await serve(handler)).list(CONFIG_MAPS)
    assert [item["metadata"]["name"] for item in listed.items] == ["a", "b"]


async def test_apply_states_fields_as_the_one_manager_and_by_force(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.method == "PATCH"
        assert request.path == "/apis/apps/v1/namespaces/ns/deployments/d/status"
        assert request.content_type == "application/apply-patch+yaml"
        assert dict(request.query) == {"fieldManager": "thinkscale-operator", "force": "true"}
        return web.json_response(await request.json())

    kube = await serve(handler)
    thing = {"metadata": {"name": "d", "namespace": "ns"}, "status": {"n": 1}}
    assert await kube.apply(DEPLOYMENTS, thing, subresource="status") == thing


@pytest.mark.parametrize("odd", ["not json", "[]", '{"type": "ADDED"}', '{"object": {}}'])
async def test_an_event_that_is_none_is_waited_out(serve: Serve, odd: str) -> None:
    tries = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal tries
        if "watch" not in request.query:
            return listing(5)
        tries += 1
        if tries == 1:
            return web.Response(text=odd + "\n")
        return await streaming(request, event("ADDED", config_map("b", 6)))

    _, added = await take(await serve(handler), 2)
    assert isinstance(added, Changed)


@pytest.mark.parametrize("odd", ["<html>", "[]", "{}"])
async def test_a_list_that_is_none_is_tried_again(serve: Serve, odd: str) -> None:
    lists = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal lists
        lists += 1
        return web.Response(text=odd) if lists == 1 else listing(5)

    (first,) = await take(await serve(handler), 1)
    assert isinstance(first, Listed)


@pytest.mark.parametrize(
    "failure", [ConfigException("no token"), FileNotFoundError("token is being replaced")]
)
async def test_credentials_that_cannot_be_read_just_now_are_waited_out(
    failure: Exception,
) -> None:
    configuration = Configuration(host="http://127.0.0.1:1")

    async def refresh(_: Configuration) -> None:
        raise failure

    configuration.refresh_api_key_hook = refresh
    configuration.api_key["BearerToken"] = "old"
    async with KubeClient(configuration) as kube:
        with pytest.raises(ApiUnavailable, match="credentials"):
            await kube.get(CONFIG_MAPS, "ns", "a")
        with pytest.raises(ApiUnavailable, match="credentials"):
            await kube.credentials()


async def test_no_answer_is_unavailable() -> None:
    async with KubeClient(Configuration(host="http://127.0.0.1:1")) as kube:
        with pytest.raises(ApiUnavailable):
            await kube.get(CONFIG_MAPS, "ns", "a")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, ApiNotFound),
        (409, ApiConflict),
        (429, ApiUnavailable),
        (503, ApiUnavailable),
        (403, ApiError),
        (422, ApiError),
    ],
)
def test_a_refusal_keeps_the_servers_words(status: int, kind: type[ApiError]) -> None:
    body = json.dumps({"message": "because", "reason": "Why"})
    error = error_of(status, "ignored", body)
    assert type(error) is kind
    assert (str(error), error.status, error.reason) == ("because", status, "Why")


def test_a_refusal_that_is_not_json_still_says_something() -> None:
    assert str(error_of(502, "Bad Gateway", "<html>")) == "<html>"
    assert str(error_of(502, "Bad Gateway", "")) == "Bad Gateway"


async def test_a_kind_that_need_not_be_installed_has_no_objects_until_it_is(serve: Serve) -> None:
    asked = 0

    async def defined_late(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked < 3:
            return web.Response(status=404, text="404 page not found")
        return listing(7, config_map("a", 7))

    client = await serve(defined_late)
    watch = watching.Watch(client, CONFIG_MAPS, may_be_undefined=True)
    found = []
    async with asyncio.timeout(5):
        async for listed in watch.events():
            assert isinstance(listed, Listed)
            found.append(len(listed.items))
            assert watch.heard is not None
            if listed.items:
                break
    assert found == [0, 0, 1]
