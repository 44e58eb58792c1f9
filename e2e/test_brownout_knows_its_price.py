"""GPUs run short on real nodes, and load withholds thinking where it costs the least, and says so.

One service with two tiers whose measured scores differ, in a GPUPool that grants two replicas; more
comes than these carry. Everything on the way is real but the engine: API server, operator, pool,
directive, gateway, HTTP, and the commands that a person asks afterwards.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from e2e.harness import PRODUCT_IMAGE, ClusterClient, LocalCluster, eventually, fixtures

PLAN_FIELD = f"plan_{uuid.uuid4().hex}"
NAME = "priced"
GPUS = 2
SEATS = 4
MOST, FLOOR = 1200, 100
THINKS, ANSWERS = 900, 12
"""Tokens of every request, if it is let: 4 to 5 s on an idle replica."""
QUICK, DEEP = "quick", "deep"
AT_ONCE, PER_SECOND, SECONDS = 8, 3.6, 16
"""Two replicas carry some 2.4 a second with thoughts of this length, or fewer on a busy machine."""
WITHIN = 1
"""An engine's own budget counts the newline behind the opening tag, so it may end one early."""


def quality(*scores: str) -> list[dict[str, Any]]:
    """As a sweep writes it."""
    points = zip((100, 400, MOST), scores, strict=True)
    return [{"maxTokens": tokens, "scorePercent": score} for tokens, score in points]


SERVICE: dict[str, Any] = {
    "apiVersion": "thinkscale.dev/v1alpha1",
    "kind": "ReasoningService",
    "metadata": {"name": NAME},
    "spec": {
        "model": {"uri": "hf://acme/reasoner", "name": "reasoner"},
        "engine": {
            "image": PRODUCT_IMAGE,
            "command": ["thinkscale", "emulator"],
            "args": [
                f"--plan-field={PLAN_FIELD}",
                "--startup-seconds=0.5",
                "--a0-milliseconds=4",
                "--a1-milliseconds=0.1",
            ],
            "reasoningParser": "deepseek_r1",
            "contextTokens": 8192,
            "maxConcurrentRequests": SEATS,
            "gpus": {"count": 1},
            "drainSeconds": 20,
        },
        "thinking": {
            "budget": {
                "maxTokens": MOST,
                "floorTokens": FLOOR,
                "truncationAllowancePercent": "100",
            },
            "tiers": [
                {"name": QUICK, "maxTokens": MOST, "quality": quality("70", "70.5", "71")},
                {"name": DEEP, "maxTokens": MOST, "quality": quality("20", "50", "80")},
            ],
        },
        "answer": {"maxTokens": 100},
        "scaling": {"minReplicas": GPUS, "maxReplicas": 6},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client got."""

    tier: str
    thinking_tokens: int
    words: int
    finish_reason: str
    headers: dict[str, str]


@dataclass(slots=True)
class Watched:
    """What was seen while the load lasted: budgets by tier, and messages of the condition."""

    budgets: list[dict[str, int]] = field(default_factory=list)
    reduced: set[str] = field(default_factory=set)
    limits: set[str] = field(default_factory=set)
    """Reasons of ScalingLimited."""
    replicas: set[int] = field(default_factory=set)


class Service:
    """The service under test, as a client and as its owner."""

    def __init__(self, cluster: LocalCluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.address = ""
        self.answers: list[Answer] = []
        self.watched = Watched()

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.cluster.get(kind, name, "-n", self.namespace)

    def admin(self, path: str) -> str:
        """A page of the only gateway's admin port."""
        labels = f"thinkscale.dev/service={NAME},app.kubernetes.io/component=gateway"
        (pod,) = self.cluster.get("pods", "-n", self.namespace, "-l", labels)["items"]
        url = f"http://{pod['status']['podIP']}:9090{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())

    def rule(self) -> dict[str, Any]:
        """The brown-out in the directive."""
        data = self.get("configmap", f"{NAME}-runtime")["data"]
        rule: dict[str, Any] = json.loads(data["directive.json"])["brownout"] or {}
        return rule

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.get("rsvc", NAME)["status"]
        return status

    def condition(self, type_: str) -> dict[str, Any]:
        found: dict[str, Any] = next(c for c in self.status()["conditions"] if c["type"] == type_)
        return found

    def send(self, at_seconds: Sequence[float]) -> list[Answer]:
        """Requests at these times, whatever becomes of those before; tiers take turns."""
        return asyncio.run(self._send(at_seconds))

    async def _send(self, at_seconds: Sequence[float]) -> list[Answer]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:

            async def one(number: int, at: float) -> Answer:
                await asyncio.sleep(at)
                return await self._ask(session, (QUICK, DEEP)[number % 2])

            return await asyncio.gather(*(one(*each) for each in enumerate(at_seconds)))

    async def _ask(self, session: aiohttp.ClientSession, tier: str) -> Answer:
        body = {
            "model": "reasoner",
            "messages": [{"role": "user", "content": f"why {uuid.uuid4().hex}?"}],
            "reasoning_effort": tier,
            PLAN_FIELD: {"thinking_tokens": THINKS, "answer_tokens": ANSWERS},
        }
        url = f"http://{self.address}/v1/chat/completions"
        async with session.post(url, json=body) as got:
            assert got.status == 200, await got.text()
            made, headers = await got.json(), dict(got.headers)
        usage, choice = made["usage"], made["choices"][0]
        return Answer(
            tier=tier,
            thinking_tokens=usage["completion_tokens_details"]["reasoning_tokens"],
            words=len((choice["message"]["content"] or "").split()),
            finish_reason=choice["finish_reason"],
            headers={name.lower(): value for name, value in headers.items()},
        )

    def watch(self, done: threading.Event) -> None:
        """Look at budgets in force and at the resource until it is done."""
        while not done.wait(0.3):
            told = json.loads(self.admin("/signals"))["budget"]["tierMaxTokens"]
            if told:
                self.watched.budgets.append(told)
            status = self.status()
            self.watched.replicas.add(status["replicas"])
            true = {c["type"]: c for c in status["conditions"] if c["status"] == "True"}
            if "BudgetReduced" in true:
                self.watched.reduced.add(true["BudgetReduced"]["message"])
            if "ScalingLimited" in true:
                self.watched.limits.add(true["ScalingLimited"]["reason"])

    def of(self, tier: str) -> list[int]:
        """Thinking tokens of the tier's answers."""
        return [answer.thinking_tokens for answer in self.answers if answer.tier == tier]


@pytest.fixture(scope="module")
def service(cluster: ClusterClient, operator: str) -> Iterator[Service]:
    """After an overload."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("asks a Service's address from outside of the pods")
    spaces = fixtures.namespace(cluster)
    made = Service(cluster, next(spaces))
    pool = f"pool-{uuid.uuid4().hex[:8]}"
    listed = {"namespace": made.namespace, "name": NAME}
    cluster.apply(
        {
            "apiVersion": "thinkscale.dev/v1alpha1",
            "kind": "GPUPool",
            "metadata": {"name": pool},
            "spec": {"maxGPUs": GPUS, "members": [listed]},
        }
    )
    try:
        cluster.apply(SERVICE, "-n", made.namespace)
        eventually(lambda: made.status()["readyReplicas"] == GPUS, 60, "both replicas are ready")
        made.address = str(made.get("service", NAME)["spec"]["clusterIP"])
        eventually(lambda: made.condition("Ready")["status"] == "True", 30, "it serves")
        overloaded(made)
        yield made
    finally:
        cluster.kubectl("delete", "gpool", pool)
        next(spaces, None)


def overloaded(service: Service) -> None:
    """What the law must know is sent first, and then more than two replicas carry."""
    known = [each for _ in range(2) for each in service.send([0.0] * GPUS * SEATS)]
    assert {answer.thinking_tokens for answer in known} == {THINKS}
    eventually(lambda: len(service.rule().get("tiers", ())) == 2, 40, "the tiers in the directive")
    done = threading.Event()
    watcher = threading.Thread(target=service.watch, args=(done,))
    watcher.start()
    try:
        stream = [number / PER_SECOND for number in range(round(PER_SECOND * SECONDS))]
        service.answers = service.send([0.0] * AT_ONCE + stream)
    finally:
        done.set()
        watcher.join()


def test_the_limit_binds_and_is_named(service: Service) -> None:
    assert service.watched.replicas == {GPUS}
    assert "GPUPool" in service.watched.limits


def test_every_thought_is_followed_by_its_answer(service: Service) -> None:
    assert {answer.finish_reason for answer in service.answers} == {"stop"}
    assert {answer.words for answer in service.answers} == {ANSWERS}


def test_the_directive_prices_the_tier_that_loses_little_lower(service: Service) -> None:
    tiers = {tier["name"]: tier for tier in service.rule()["tiers"]}
    for quick, deep in zip(*(tiers[n]["budgetTokens"] for n in (QUICK, DEEP)), strict=True):
        assert quick <= deep
    assert sum(tiers[QUICK]["budgetTokens"]) < sum(tiers[DEEP]["budgetTokens"])


def test_the_cheaper_tier_is_lowered_first_and_the_other_only_when_that_is_short(
    service: Service,
) -> None:
    told = service.watched.budgets
    assert told, "load has lowered nothing"
    assert min(budgets[QUICK] for budgets in told) < THINKS
    for budgets in told:
        assert FLOOR <= budgets[QUICK] <= budgets[DEEP]
        # Between two points of the table both are interpolated, so the way to its floor is enough.
        assert budgets[DEEP] == MOST or budgets[QUICK] < MOST / 2, budgets
    assert told[0][DEEP] == MOST, "the first to be lowered is the other"


def test_what_clients_count_is_what_was_ordered(service: Service) -> None:
    quick, deep = service.of(QUICK), service.of(DEEP)
    assert min(quick) >= FLOOR - WITHIN
    assert min(quick) < THINKS
    assert statistics.mean(quick) < statistics.mean(deep)
    assert {answer.headers["x-thinkscale-tier"] for answer in service.answers} == {QUICK, DEEP}
    budgets = {answer.headers["x-thinkscale-budget-tokens"] for answer in service.answers}
    assert budgets == {str(MOST)}, "nobody is capped when he is sent"


def test_the_price_is_told_in_status_metrics_and_words(service: Service, operator: str) -> None:
    cut = sum(tokens < THINKS for tokens in service.of(QUICK) + service.of(DEEP))
    assert any(
        f"{QUICK} is lowered first: a GPU-second saved there costs" in message
        for message in service.watched.reduced
    ), service.watched.reduced
    debt = eventually(
        lambda: (d := service.status()["qualityDebt"])["requestsCut"] == cut and d, 60, "the debt"
    )
    assert debt["pointsWithheld"] > 0
    assert debt["tokensWithheld"] > 0
    metric = rf'withheld_score_points_total{{service="{service.namespace}/{NAME}"}} (\S+)'
    (counted,) = re.findall(metric, service.admin("/metrics"))
    assert float(counted) == pytest.approx(debt["pointsWithheld"], rel=0.1, abs=1)
    told = subprocess.run(
        [sys.executable, "-m", "thinkscale", "explain", NAME, "-n", service.namespace],
        env={**os.environ, "KUBECONFIG": str(service.cluster.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert f"Quality debt of the last day: {debt['requestsCut']} requests cut" in told
    assert f"about {debt['pointsWithheld']} percent points of expected score given up" in told
    rows = [line.split()[0] for line in told.splitlines() if line.count("%") == 2]
    assert rows == [QUICK, DEEP], told
    assert f"{QUICK} is lowered first" in told


def test_afterwards_everybody_has_the_declared_budget_again(service: Service) -> None:
    eventually(
        lambda: service.condition("BudgetReduced")["status"] == "False", 40, "the brown-out ends"
    )
    status = service.status()
    assert {tier["effectiveMaxTokens"] for tier in status["tiers"]} == {MOST}
    (deep,) = {a.thinking_tokens for a in service.send([0.0, 0.0])}
    assert deep == THINKS
