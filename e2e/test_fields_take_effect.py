"""What requests may use and are promised takes effect on the next request, on real nodes.

One service with an emulated engine that everybody shares: none of these fields rolls a model pod,
which the last test holds them to. Each test sets its fields, and sees the gateway obey.
"""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.harness import PRODUCT_IMAGE, ClusterClient, LocalCluster, eventually, fixtures

PLAN_FIELD = f"plan_{uuid.uuid4().hex}"
NAME = "fields"
TAKES_EFFECT_SECONDS = 20
SEATS = 2
CEILING = SEATS + 1
"""Requests that a gateway sends to one replica of so many seats."""
SPEC: dict[str, Any] = {
    "replicas": 1,
    "model": {"uri": "hf://acme/reasoner", "name": "reasoner"},
    "engine": {
        "image": PRODUCT_IMAGE,
        "command": ["thinkscale", "emulator"],
        "args": [
            f"--plan-field={PLAN_FIELD}",
            "--startup-seconds=0.5",
            "--a0-milliseconds=8",
            "--a1-milliseconds=0.1",
        ],
        "reasoningParser": "deepseek_r1",
        "contextTokens": 8192,
        "maxConcurrentRequests": SEATS,
        "gpus": {"count": 0},
        "drainSeconds": 20,
    },
    "scaling": {"mode": "Manual", "maxReplicas": 2},
}
COLLECTOR = """
from http.server import BaseHTTPRequestHandler, HTTPServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    print(self.path, span.name, told["k8s.namespace.name"],
                          told["k8s.deployment.name"], told["k8s.pod.name"], sep="|", flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

HTTPServer(("", 4318), Handler).serve_forever()
"""
"""What takes OTLP over HTTP and prints a line for each span."""
CLOSING_TAG_TOKENS = 1
WITHIN_TOKENS = 1
"""An engine's own budget counts the newline behind the opening tag, so it may end one early."""


def manifest(fields: dict[str, Any]) -> dict[str, Any]:
    """The service with these fields of the spec."""
    return {
        "apiVersion": "thinkscale.dev/v1alpha1",
        "kind": "ReasoningService",
        "metadata": {"name": NAME},
        "spec": SPEC | fields,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client got."""

    status: int
    thinking_tokens: int
    answer_tokens: int
    text: str
    finish_reason: str
    thought: str = ""


class Service:
    """The service under test, as a client and as its owner."""

    def __init__(self, cluster: LocalCluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.address = ""
        self.key: str | None = None
        """API key that clients show."""
        self.model_pods: list[str] = []
        """Those that served when the tests began."""

    def set(self, fields: dict[str, Any]) -> None:
        """The spec with these fields; those of earlier tests are gone."""
        self.cluster.apply(manifest(fields), "-n", self.namespace)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.cluster.get(kind, name, "-n", self.namespace)

    def pods(self, component: str) -> list[str]:
        """Names of the pods of one component that are not on their way out."""
        labels = f"thinkscale.dev/service={NAME},app.kubernetes.io/component={component}"
        items = self.cluster.get("pods", "-n", self.namespace, "-l", labels)["items"]
        return sorted(
            item["metadata"]["name"]
            for item in items
            if "deletionTimestamp" not in item["metadata"]
        )

    def signals(self) -> dict[str, Any]:
        """The only gateway's own account."""
        (name,) = self.pods("gateway")
        url = f"http://{self.get('pod', name)['status']['podIP']}:9090/signals"
        with urllib.request.urlopen(url, timeout=5) as answer:
            parsed: dict[str, Any] = json.load(answer)
        return parsed

    def metric(self, name: str, label: str) -> float:
        """A row of the only gateway's metrics."""
        (pod,) = self.pods("gateway")
        url = f"http://{self.get('pod', pod)['status']['podIP']}:9090/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            rows = answer.read().decode().splitlines()
        (row,) = [r for r in rows if r.startswith(f"thinkscale_gateway_{name}{{") and label in r]
        return float(row.rpartition(" ")[2])

    def directive(self) -> dict[str, Any]:
        """What the gateways were told last."""
        data = self.get("configmap", f"{NAME}-runtime")["data"]
        told: dict[str, Any] = json.loads(data["directive.json"])
        return told

    def set_slos(self, *slos: dict[str, Any], **fields: Any) -> None:
        """Promise these alone, and wait until the gateway scores them."""
        self.set({"slos": list(slos)} | fields)
        names = {slo["name"] for slo in slos}
        eventually(
            lambda: set(self.signals()["slos"]) == names, TAKES_EFFECT_SECONDS, f"{names} in force"
        )

    def scores(self) -> dict[str, tuple[int, int]]:
        """Good and bad requests by SLO, as the gateway has counted them."""
        counts = self.signals()["slos"]
        return {name: (made["good"], made["bad"]) for name, made in counts.items()}

    def ask_together(self, count: int, thinking: int, answer: int, **fields: Any) -> list[Answer]:
        """So many requests at once."""
        with ThreadPoolExecutor(count) as clients:
            asked = [clients.submit(self.ask, thinking, answer, **fields) for _ in range(count)]
            return [each.result() for each in asked]

    def condition(self, type_: str) -> str:
        """The status of a condition."""
        conditions = self.get("rsvc", NAME)["status"]["conditions"]
        return next(str(c["status"]) for c in conditions if c["type"] == type_)

    def ask(self, thinking: int, answer: int, **fields: Any) -> Answer:
        """One request that would think and answer this long if it were let."""
        body = {
            "model": "reasoner",
            "messages": [{"role": "user", "content": f"why {uuid.uuid4().hex}?"}],
            PLAN_FIELD: {"thinking_tokens": thinking, "answer_tokens": answer},
        }
        request = urllib.request.Request(
            f"http://{self.address}/v1/chat/completions",
            data=json.dumps(body | fields).encode(),
            headers={"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self.key}"} if self.key else {}),
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as got:
                made = json.load(got)
        except urllib.error.HTTPError as error:
            return Answer(
                status=error.code, thinking_tokens=0, answer_tokens=0, text="", finish_reason=""
            )
        usage, choice = made["usage"], made["choices"][0]
        thought = usage["completion_tokens_details"]["reasoning_tokens"]
        return Answer(
            status=200,
            thinking_tokens=thought,
            answer_tokens=usage["completion_tokens"] - thought - CLOSING_TAG_TOKENS,
            text=choice["message"]["content"] or "",
            finish_reason=choice["finish_reason"],
            thought=choice["message"].get("reasoning") or "",
        )


@pytest.fixture(scope="module")
def service(cluster: ClusterClient, operator: str) -> Iterator[Service]:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("asks a Service's address from outside of the pods")
    spaces = fixtures.namespace(cluster)
    made = Service(cluster, next(spaces))
    cluster.apply(manifest({}), "-n", made.namespace)
    cluster.kubectl(
        "wait", f"rsvc/{NAME}", "-n", made.namespace, "--for=condition=Ready", "--timeout=60s"
    )
    made.address = str(cluster.get("service", NAME, "-n", made.namespace)["spec"]["clusterIP"])
    made.model_pods = made.pods("model")
    yield made
    next(spaces, None)


def slo(name: str, indicator: str, threshold: int, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "indicator": indicator,
        "thresholdMilliseconds": threshold,
        "objectivePercent": "99",
    } | fields


def about(tokens: int, limit: int) -> bool:
    """As many as the limit allows, and never more."""
    return limit - WITHIN_TOKENS <= tokens <= limit


def soon(service: Service, limit: int, thinking: int = 900, **fields: Any) -> Answer:
    """The answer to a request that would think for long, once its thought ends at this limit."""

    def asked() -> Answer:
        answer = service.ask(thinking, 10, **fields)
        assert about(answer.thinking_tokens, limit), answer
        return answer

    return eventually(asked, TAKES_EFFECT_SECONDS, f"a thought of {limit} tokens")


def test_without_a_budget_the_model_thinks_as_long_as_it_likes(service: Service) -> None:
    answer = service.ask(300, 20)
    assert answer.thinking_tokens == 300
    assert answer.finish_reason == "stop"


def test_a_thought_ends_at_the_maximum_and_is_answered(service: Service) -> None:
    service.set({"thinking": {"budget": {"maxTokens": 100}}})
    answer = soon(service, 100)
    assert answer.finish_reason == "stop"
    assert len(answer.text.split()) == 10
    assert about(service.ask(300, 10, thinking_token_budget=200).thinking_tokens, 100)
    assert service.ask(50, 10).thinking_tokens == 50


def test_a_thought_that_must_stop_gets_no_answer(service: Service) -> None:
    service.set({"thinking": {"budget": {"maxTokens": 90, "onExhausted": "Stop"}}})
    answer = soon(service, 90)
    assert answer.finish_reason == "length"
    assert answer.text == ""


def test_a_wish_below_the_minimum_is_raised_to_it(service: Service) -> None:
    service.set({"thinking": {"budget": {"minTokens": 70, "maxTokens": 200}}})

    def asked() -> Answer:
        answer = service.ask(300, 10, thinking_token_budget=10)
        assert 70 <= answer.thinking_tokens < 80, answer
        return answer

    eventually(asked, TAKES_EFFECT_SECONDS, "a thought of the minimum")
    assert about(service.ask(300, 10, thinking_token_budget=150).thinking_tokens, 150)


def test_a_thought_below_the_minimum_goes_on_behind_the_nudge(service: Service) -> None:
    service.set({"thinking": {"budget": {"minTokens": 70, "maxTokens": 200}, "nudge": " Hmm."}})

    def asked() -> Answer:
        answer = service.ask(50, 10)
        assert " Hmm." in answer.thought, answer
        return answer

    answer = eventually(asked, TAKES_EFFECT_SECONDS, "a thought that was made to go on")
    assert "Wait," not in answer.thought
    assert answer.thinking_tokens >= 70
    assert len(answer.text.split()) == 10


def test_a_gateway_tries_a_replicas_own_budget_before_its_first_request(service: Service) -> None:
    thinking = {"budget": {"maxTokens": 100}, "nativeBudgetCheck": "BeforeUse"}
    service.set({"thinking": thinking})
    soon(service, 100)
    assert service.metric("canaries_total", 'result="held"') == 0
    (old,) = service.pods("gateway")
    service.cluster.kubectl("delete", "pod", old, "-n", service.namespace, "--wait=false")
    eventually(lambda: service.pods("gateway") not in ([], [old]), 60, "another gateway")
    # Until it serves, the old one answers, though on its way out.
    eventually(
        lambda: service.metric("canaries_total", 'result="held"') == 1,
        60,
        "the new gateway has tried the replica",
    )
    soon(service, 100)


def test_who_asks_for_nothing_gets_the_default(service: Service) -> None:
    service.set({"thinking": {"budget": {"maxTokens": 200}, "defaultMaxTokens": 60}})
    assert soon(service, 60).finish_reason == "stop"
    assert about(service.ask(300, 10, thinking_token_budget=150).thinking_tokens, 150)


def test_an_effort_has_the_budget_of_its_tier(service: Service) -> None:
    tiers = [
        {"name": "quick", "efforts": ["Minimal", "Low"], "maxTokens": 50},
        {"name": "deep", "efforts": ["High"], "maxTokens": 200, "minTokens": 120},
    ]
    service.set({"thinking": {"budget": {"maxTokens": 300}, "tiers": tiers}})
    soon(service, 50, reasoning_effort="low")
    assert about(service.ask(900, 10, reasoning_effort="minimal").thinking_tokens, 50)
    assert about(service.ask(900, 10, reasoning_effort="quick").thinking_tokens, 50)
    assert about(service.ask(900, 10, reasoning_effort="high").thinking_tokens, 200)
    assert about(service.ask(900, 10).thinking_tokens, 300)
    assert service.ask(10, 10, reasoning_effort="galaxy").status == 400
    raised = service.ask(900, 10, reasoning_effort="high", thinking_token_budget=10)
    assert 120 <= raised.thinking_tokens < 130
    service.set({"thinking": {"tiers": tiers, "defaultTier": "quick"}})
    soon(service, 50)
    assert about(service.ask(900, 10, reasoning_effort="high").thinking_tokens, 200)


def test_an_answer_ends_at_its_maximum(service: Service) -> None:
    service.set({"answer": {"maxTokens": 25}})

    def asked() -> Answer:
        answer = service.ask(10, 100)
        assert answer.answer_tokens == 25, answer
        return answer

    answer = eventually(asked, TAKES_EFFECT_SECONDS, "an answer of 25 tokens")
    assert answer.finish_reason == "length"
    assert service.ask(10, 5).finish_reason == "stop"


@pytest.mark.parametrize("floor", [100, 200])
def test_load_pushes_the_budget_to_the_floor_no_further(service: Service, floor: int) -> None:
    budget = {"maxTokens": 300, "floorTokens": floor, "truncationAllowancePercent": "100"}
    service.set({"thinking": {"budget": budget}})
    eventually(
        lambda: (service.directive()["brownout"] or {}).get("floorTokens") == floor,
        TAKES_EFFECT_SECONDS,
        "the rule in force",
    )
    assert soon(service, 300).status == 200
    # So many that one replica does not carry them even at the mean of the short thoughts of the
    # tests before, which is what the rule goes by.
    answers = service.ask_together(12 * SEATS, 900, 10)
    assert {(answer.status, answer.finish_reason) for answer in answers} == {(200, "stop")}
    shortest = min(answer.thinking_tokens for answer in answers)
    assert floor - WITHIN_TOKENS <= shortest < 295, service.directive()

    def told() -> bool:
        debt = service.get("rsvc", NAME)["status"].get("qualityDebt", {})
        return bool(debt.get("requestsCut") and debt.get("tokensWithheld"))

    eventually(told, 40, "what it has cost in the status")
    assert soon(service, 300).status == 200


def test_load_pushes_a_tier_to_its_own_floor_no_further(service: Service) -> None:
    budget = {"maxTokens": 300, "floorTokens": 100, "truncationAllowancePercent": "100"}
    deep = {"name": "deep", "efforts": ["High"], "maxTokens": 300, "floorTokens": 200}
    service.set({"thinking": {"budget": budget, "tiers": [deep]}})
    eventually(
        lambda: (service.directive()["brownout"] or {}).get("floorTokens") == 100,
        TAKES_EFFECT_SECONDS,
        "the rule in force",
    )
    assert soon(service, 300, reasoning_effort="high").status == 200
    answers = service.ask_together(12 * SEATS, 900, 10, reasoning_effort="high")
    assert {(answer.status, answer.finish_reason) for answer in answers} == {(200, "stop")}
    shortest = min(answer.thinking_tokens for answer in answers)
    assert 200 - WITHIN_TOKENS <= shortest < 295, service.directive()


def test_without_an_allowance_load_cuts_nobody(service: Service) -> None:
    budget = {"maxTokens": 400, "floorTokens": 100, "truncationAllowancePercent": "0"}
    service.set({"thinking": {"budget": budget}})
    eventually(
        lambda: service.directive()["brownout"] is None, TAKES_EFFECT_SECONDS, "no rule in force"
    )
    answers = service.ask_together(5 * SEATS, 900, 10)
    assert all(about(answer.thinking_tokens, 400) for answer in answers), answers


def test_each_indicator_is_scored_against_its_threshold(service: Service) -> None:
    service.set_slos(
        slo("ttft", "TimeToFirstToken", 600),
        slo("ttfa", "TimeToFirstAnswer", 600),
        slo("ttfa-loose", "TimeToFirstAnswer", 60_000),
        slo("pace", "TimePerAnswerToken", 600),
        slo("pace-tight", "TimePerAnswerToken", 1),
        slo("output", "TimePerOutputToken", 600),
        slo("output-tight", "TimePerOutputToken", 1),
        slo("end", "EndToEnd", 60_000),
        slo("end-tight", "EndToEnd", 600),
    )
    service.ask(200, 20)
    assert service.scores() == {
        "ttft": (1, 0),
        "ttfa": (0, 1),
        "ttfa-loose": (1, 0),
        "pace": (1, 0),
        "pace-tight": (0, 1),
        "output": (1, 0),
        "output-tight": (0, 1),
        "end": (1, 0),
        "end-tight": (0, 1),
    }
    service.ask(1, 200)
    after = service.scores()
    assert after["ttfa"] == (1, 1)
    assert after["end-tight"] == (0, 2)


def test_a_limit_grows_with_the_tokens_of_the_request(service: Service) -> None:
    service.set_slos(
        slo("flat", "TimeToFirstAnswer", 100),
        slo("grows", "TimeToFirstAnswer", 100, perTokenMilliseconds=200),
        slo("end-grows", "EndToEnd", 100, perTokenMilliseconds=200),
    )
    service.ask(100, 100)
    assert service.scores() == {"flat": (0, 1), "grows": (1, 0), "end-grows": (1, 0)}


def test_the_objective_decides_whether_the_slo_is_met(service: Service) -> None:
    promise = slo("half", "TimeToFirstToken", 60_000)
    nobody_waits = {"queue": {"maxRequests": 0}}
    service.set_slos(promise | {"objectivePercent": "40"}, gateway=nobody_waits)
    service.ask_together(2 * CEILING, 150, 10)
    assert service.scores() == {"half": (CEILING, CEILING)}, "who is turned away is a miss"

    def attained() -> bool:
        slos = service.get("rsvc", NAME)["status"].get("slos", [])
        return [made["attainedPercent"] for made in slos] in (["50"], ["50.0"])

    eventually(attained, TAKES_EFFECT_SECONDS, "half of the requests in the status")
    eventually(
        lambda: service.condition("SLOsMet") == "True", TAKES_EFFECT_SECONDS, "40 percent is met"
    )
    service.set_slos(promise | {"objectivePercent": "60"}, gateway=nobody_waits)
    eventually(
        lambda: service.condition("SLOsMet") == "False", TAKES_EFFECT_SECONDS, "60 is missed"
    )


def test_what_left_the_window_is_forgotten(service: Service) -> None:
    service.set_slos(slo("brief", "TimeToFirstToken", 1, windowSeconds=10))
    service.ask(1, 10)

    def attained() -> list[str]:
        slos = service.get("rsvc", NAME)["status"].get("slos", [])
        return [made["attainedPercent"] for made in slos if made["name"] == "brief"]

    eventually(attained, TAKES_EFFECT_SECONDS, "the miss in the status")
    eventually(lambda: not attained(), 45, "the miss to leave the window")


def test_more_than_the_queue_holds_is_told_to_come_back(service: Service) -> None:
    service.set({"gateway": {"queue": {"maxRequests": 1}}})

    def statuses() -> bool:
        got = sorted(answer.status for answer in service.ask_together(CEILING + 3, 200, 10))
        return got == [200] * (CEILING + 1) + [429] * 2

    eventually(statuses, TAKES_EFFECT_SECONDS, "two requests too many")


def test_the_gateway_has_the_shape_that_was_asked_for(service: Service) -> None:
    asked = {"requests": {"cpu": "11m", "memory": "65Mi"}, "limits": {"memory": "300Mi"}}
    service.set(
        {"gateway": {"minReplicas": 2, "resources": asked, "service": {"type": "NodePort"}}}
    )

    def shaped() -> bool:
        made = service.get("deployment", f"{NAME}-gateway")
        container = made["spec"]["template"]["spec"]["containers"][0]
        status = made["status"]
        return bool(
            container["resources"] == asked
            and status.get("updatedReplicas") == status.get("readyReplicas") == 2
            and status["observedGeneration"] == made["metadata"]["generation"]
            and service.get("service", NAME)["spec"]["type"] == "NodePort"
        )

    eventually(shaped, 60, "two gateways of that size behind a NodePort")
    assert service.ask(10, 10).status == 200


def test_only_who_shows_a_key_of_the_secret_is_served(service: Service) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "clients"},
        "stringData": {"team-a": "a-key-of-team-a"},
    }
    service.cluster.apply(secret, "-n", service.namespace)
    service.set({"gateway": {"auth": {"apiKeysSecretRef": {"name": "clients"}}}})
    eventually(lambda: service.ask(10, 10).status == 401, 60, "nobody without a key")
    service.key = "a-key-of-team-a"
    try:
        assert service.ask(10, 10).status == 200
        service.key = "a-key-of-nobody"
        eventually(lambda: service.ask(10, 10).status == 401, 20, "nobody with a wrong key")
    finally:
        service.key = None
        service.set({})
    eventually(lambda: service.ask(10, 10).status == 200, 60, "everybody again")


def test_spans_of_requests_go_to_the_collector(service: Service) -> None:
    container = {"name": "collector", "image": PRODUCT_IMAGE, "command": ["python3", "-c"]}
    collector = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "collector"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [container | {"args": [COLLECTOR]}],
        },
    }
    service.cluster.apply(collector, "-n", service.namespace)
    eventually(
        lambda: service.get("pod", "collector")["status"]["phase"] == "Running", 60, "a collector"
    )
    address = service.get("pod", "collector")["status"]["podIP"]
    service.set({"gateway": {"tracing": {"endpoint": f"http://{address}:4318"}}})

    def rolled(traced: bool) -> bool:
        made = service.get("deployment", f"{NAME}-gateway")
        flags = made["spec"]["template"]["spec"]["containers"][0]["args"]
        return bool(
            ("--otlp-traces" in flags) == traced
            and made["status"]["observedGeneration"] == made["metadata"]["generation"]
            and made["status"].get("updatedReplicas") == 1
            and len(service.pods("gateway")) == 1
        )

    def told() -> bool:
        assert service.ask(10, 10).status == 200
        (gateway,) = service.pods("gateway")
        whose = f"{service.namespace}|{NAME}-gateway|{gateway}"
        log = service.cluster.kubectl("logs", "collector", "-n", service.namespace).stdout
        return {f"/v1/traces|{span}|{whose}" for span in ("chat reasoner", "thinking")} <= set(
            log.splitlines()
        )

    try:
        eventually(lambda: rolled(traced=True), 60, "a gateway that is traced")
        eventually(told, 30, "the spans of its requests")
    finally:
        service.set({})
        service.cluster.kubectl("delete", "pod", "collector", "-n", service.namespace, "--now")
    eventually(lambda: rolled(traced=False), 60, "a gateway that is not")


def test_none_of_it_has_touched_a_model_pod(service: Service) -> None:
    assert service.pods("model") == service.model_pods
    (name,) = service.model_pods
    assert service.get("pod", name)["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_operator_has_lacked_no_right(service: Service, operator: str) -> None:
    logs = service.cluster.kubectl("logs", "-n", operator, "deployment/thinkscale").stdout
    assert "Started" in logs
    # In a namespace that another test is deleting nobody may create anything.
    lacked = [
        line
        for line in logs.lower().splitlines()
        if "forbidden" in line and "it is being terminated" not in line
    ]
    assert lacked == []
