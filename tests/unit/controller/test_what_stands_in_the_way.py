"""Troubles: all of them are told, each once, also across a restart of the operator."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.configuration import Configuration

from thinkscale.api import conditions
from thinkscale.api.conditions import ConditionType
from thinkscale.api.status import ReasoningServiceStatus
from thinkscale.api.v1alpha1 import ObjectMeta
from thinkscale.controller.events import EventPoster
from thinkscale.controller.known import Rollout
from thinkscale.controller.metrics import Metrics
from thinkscale.controller.report import Reporter
from thinkscale.controller.trouble import Trouble, all_of
from thinkscale.kube.client import KubeClient
from thinkscale.model.observation import ReplicaState, ReplicaView

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
ABOUT = ObjectMeta(name="r1", namespace="ns", uid="u", generation=1)
FIRST = Trouble(reason="Unattainable", message="SLO first: too tight", subject="SLO first:")
SECOND = Trouble(reason="Unattainable", message="SLO second: too tight", subject="SLO second:")
PODS = Trouble(reason="Unschedulable", message="model pod a: no node", subject="model pod")
SERVICE = Trouble(reason="Leaving", message="Service r1 is being deleted", subject="Service r1")


def replica(name: str, state: ReplicaState, reason: str = "") -> ReplicaView:
    return ReplicaView(
        name=name,
        state=state,
        age_seconds=900,
        state_seconds=400,
        trouble_reason=reason,
        trouble="told" if reason else "",
    )


def test_every_trouble_is_told_and_pods_with_the_same_one_as_one() -> None:
    refused = Rollout(replicas=1, existing=0, updated=0, current=True, failure="quota")
    replicas = [
        replica("a", ReplicaState.STUCK, "Unschedulable"),
        replica("b", ReplicaState.STUCK, "Unschedulable"),
        replica("c", ReplicaState.STUCK, "ImagePullFailed"),
        replica("d", ReplicaState.WARMING),
        replica("e", ReplicaState.WARMING),
    ]
    found = all_of([SERVICE], [refused, None], replicas, ["d"], [], NOW)
    assert [(t.reason, t.message) for t in found] == [
        ("Leaving", "Service r1 is being deleted"),
        ("ObjectRefused", "quota"),
        ("Unschedulable", "model pod a (and 1 more): told"),
        ("ImagePullFailed", "model pod c: told"),
        (
            "StartupTooLong",
            "model pod d: not ready for 400 s, much longer than the replicas before it took",
        ),
    ]


@pytest.fixture
async def posted() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def kube(posted: list[tuple[str, str]]) -> AsyncIterator[KubeClient]:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["kind"] == "Event":
            posted.append((body["reason"], body["message"]))
        return web.json_response(body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server:
        configuration = Configuration(host=str(server.make_url("")).rstrip("/"))
        async with KubeClient(configuration) as client:
            yield client


@pytest.fixture
def tell(kube: KubeClient) -> Callable[..., Awaitable[float]]:
    """What a process that has just started tells, tick after tick."""
    reporter = Reporter(kube, EventPoster(kube), Metrics())

    async def once(*troubles: Trouble, stored: ReasoningServiceStatus) -> float:
        return await reporter.tell(ABOUT, troubles, lambda status: status, stored)

    return once


async def test_a_second_slo_out_of_reach_is_an_event_of_its_own(
    tell: Callable[..., Awaitable[float]], posted: list[tuple[str, str]]
) -> None:
    nothing = ReasoningServiceStatus()
    await tell(FIRST, stored=nothing)
    await tell(FIRST, SECOND, stored=nothing)
    assert posted == [(FIRST.reason, FIRST.message), (SECOND.reason, SECOND.message)]


async def test_a_restarted_operator_does_not_repeat_what_the_status_says(
    tell: Callable[..., Awaitable[float]], posted: list[tuple[str, str]]
) -> None:
    known = conditions.initial(1, NOW)
    for type_, status, reason, message in (
        (ConditionType.STALLED, True, SERVICE.reason, f"{SERVICE.message}; {PODS.in_full}"),
        (ConditionType.SLOS_MET, False, FIRST.reason, FIRST.message),
    ):
        known = conditions.put(known, type_, status, reason, message, generation=1, now=NOW)
    stored = ReasoningServiceStatus(conditions=known)
    await tell(SERVICE, PODS, FIRST, stored=stored)
    assert posted == []
    await tell(SERVICE, PODS, FIRST, SECOND, stored=stored)
    assert posted == [(SECOND.reason, SECOND.message)]
    await tell(SERVICE, stored=stored)
    await tell(SERVICE, PODS, stored=stored)
    assert posted[1:] == [(PODS.reason, PODS.message)], "it was away, and is back"
