"""Each field of `spec.scaling` moves the replicas of a real API server's Deployment.

The operator is its own process; pods are made ready by the test, and a stand-in gateway tells how
much there is to do. Every test changes one field in the live resource and sees the replicas follow,
so a field that nothing reads fails here.
"""

import json
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from e2e.harness import ClusterClient, eventually
from tests.cluster.crd_inputs import install_crd
from tests.cluster.operator_kit import SERVICE, Fleet, Operator, StandInGateway, operator
from thinkscale.api import names
from thinkscale.model.ages import BINS
from thinkscale.model.signals import (
    Counters,
    EngineSignals,
    LifeTableCounts,
    PhaseCounts,
    ReplicaSignals,
)

GATEWAY_IP = "127.0.8.1"
SEATS = SERVICE["spec"]["engine"]["maxConcurrentRequests"]
NOT_YET_SECONDS = 4.0
"""How long a size that must hold is looked at: two ticks of a law that wants to move."""
SETTLES_SECONDS = 40.0
LONG = 600


@pytest.fixture(scope="module")
def running(
    control_plane: ClusterClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    install_crd(control_plane)
    with operator(control_plane, tmp_path_factory.mktemp("operator") / "log") as process:
        yield process


class Scaled:
    """A service whose fleet is as ready as it is large, and whose load the test sets."""

    def __init__(self, fleet: Fleet, gateway: StandInGateway) -> None:
        self.fleet, self.gateway = fleet, gateway
        self.in_flight = 0

    def change(self, scaling: dict[str, Any], **spec: Any) -> None:
        """Change these fields of `spec.scaling` (and of the spec)."""
        patch = json.dumps({"spec": {"scaling": scaling} | spec})
        self.fleet.cluster.kubectl(
            "patch", "rsvc", "r1", "-n", self.fleet.namespace, "--type=merge", "-p", patch
        )

    def size(self) -> int:
        """`spec.replicas` of the Deployment, after all its pods became ready and were heard of."""
        pods = self.fleet.make_ready(names.COMPONENT_MODEL)
        share = self.in_flight // len(pods) if pods else 0
        cordoned = self.cordoned()
        self.gateway.say(
            queued=0 if pods else self.in_flight,
            thinking=self.in_flight if pods else 0,
            arrivals=self.in_flight,
            replicas={
                pod: ReplicaSignals(
                    ready=True,
                    cordoned=pod in cordoned,
                    phases=PhaseCounts(thinking=share),
                    engine=EngineSignals(running=share, waiting=0, kv_usage=0.1, age_seconds=0.5),
                )
                for pod in pods
            },
        )
        return self.fleet.replicas()

    def cordoned(self) -> set[str]:
        """Replicas that the gateways were told to spare, which they do at once."""
        return set(self.directive()["cordoned"])

    def directive(self) -> dict[str, Any]:
        """What the gateways were told."""
        data = self.fleet.get("configmap", names.runtime_name("r1"))["data"]
        directive: dict[str, Any] = json.loads(data[names.DIRECTIVE_KEY])
        return directive

    def ceiling(self) -> dict[str, Any]:
        """What one replica may hold, as the gateways were told."""
        ceiling: dict[str, Any] = self.directive()["ceiling"]
        return ceiling

    def gateway_replicas(self) -> int:
        """`spec.replicas` of the gateways' Deployment."""
        made = self.fleet.get("deployment", names.gateway_name("r1"))
        return int(made["spec"]["replicas"])

    def becomes(self, size: int) -> None:
        """Until the fleet has this size."""
        eventually(lambda: self.size() == size, SETTLES_SECONDS, f"{size} replicas")

    def stays(self, size: int) -> None:
        """The fleet has this size all the while."""
        end = time.monotonic() + NOT_YET_SECONDS
        while time.monotonic() < end:
            assert self.size() == size
            time.sleep(0.2)


@pytest.fixture
def gateway(namespace: str) -> Iterator[StandInGateway]:
    with StandInGateway(GATEWAY_IP, f"{namespace}/r1") as server:
        yield server


@pytest.fixture
def scaled(
    request: pytest.FixtureRequest,
    control_plane: ClusterClient,
    namespace: str,
    running: Operator,
    gateway: StandInGateway,
) -> Scaled:
    """A service with the scaling that the test is parametrized with."""
    service = deepcopy(SERVICE)
    service["spec"] |= {"scaling": dict(request.param)}
    if request.param.get("mode") == "Manual":
        service["spec"]["replicas"] = 2
    control_plane.apply(service, "-n", namespace)
    fleet = Fleet(control_plane, namespace)
    eventually(lambda: fleet.pods(names.COMPONENT_GATEWAY), 20)
    fleet.make_ready(names.COMPONENT_GATEWAY, GATEWAY_IP)
    made = Scaled(fleet, gateway)
    eventually(
        lambda: made.size() >= 0 and fleet.condition("SignalsAvailable")["status"] == "True",
        20,
        "signals come",
    )
    return made


AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}
ONE_AT_MOST = [{"type": "Pods", "value": 1, "periodSeconds": LONG}]


def starting(**scaling: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "scaled", [{"maxReplicas": 4, "behavior": AT_ONCE} | scaling], indirect=True, ids=[""]
    )


@starting(minReplicas=2)
def test_never_fewer_than_the_minimum(scaled: Scaled) -> None:
    scaled.stays(2)
    scaled.change({"minReplicas": 3})
    scaled.becomes(3)
    scaled.change({"minReplicas": 1})
    scaled.becomes(1)


@starting(maxReplicas=2)
def test_never_more_than_the_maximum(scaled: Scaled) -> None:
    scaled.in_flight = 5 * SEATS
    scaled.becomes(2)
    scaled.stays(2)
    scaled.change({"maxReplicas": 3})
    scaled.becomes(3)


@starting(minReplicas=0, scaleToZeroAfterSeconds=10)
def test_an_idle_service_goes_to_zero_and_wakes(scaled: Scaled) -> None:
    scaled.in_flight = 1
    scaled.becomes(1)
    scaled.in_flight = 0
    scaled.stays(1)
    scaled.becomes(0)
    scaled.in_flight = 1
    scaled.becomes(1)


@starting(behavior={"scaleUp": {"stabilizationWindowSeconds": LONG}})
def test_growth_waits_for_the_scale_up_window(scaled: Scaled) -> None:
    scaled.in_flight = 2 * SEATS
    scaled.stays(1)
    scaled.change({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 0}}})
    eventually(lambda: scaled.size() > 1, SETTLES_SECONDS, "growth")


@starting(behavior={"scaleUp": {"policies": ONE_AT_MOST}})
def test_growth_keeps_to_the_scale_up_policies(scaled: Scaled) -> None:
    scaled.in_flight = 5 * SEATS
    scaled.becomes(2)
    scaled.stays(2)
    often = [{"type": "Pods", "value": 1, "periodSeconds": 2}]
    scaled.change({"behavior": {"scaleUp": {"policies": often}}})
    scaled.becomes(3)
    scaled.change({"behavior": {"scaleUp": {"policies": ONE_AT_MOST}}})
    scaled.stays(scaled.size())


@starting(
    behavior={"scaleUp": {"policies": [{"type": "Percent", "value": 100, "periodSeconds": LONG}]}}
)
def test_growth_by_percent_is_of_the_size_at_the_beginning(scaled: Scaled) -> None:
    scaled.in_flight = 5 * SEATS
    scaled.becomes(2)
    scaled.stays(2)
    triple = [{"type": "Percent", "value": 200, "periodSeconds": LONG}]
    scaled.change({"behavior": {"scaleUp": {"policies": triple}}})
    scaled.becomes(3)
    scaled.stays(3)


@starting(minReplicas=3, behavior={"scaleDown": {"stabilizationWindowSeconds": LONG}})
def test_shrinking_waits_for_the_scale_down_window(scaled: Scaled) -> None:
    scaled.becomes(3)
    scaled.change({"minReplicas": 1})
    scaled.stays(3)
    scaled.change({"behavior": AT_ONCE})
    scaled.becomes(1)


@starting(
    minReplicas=4,
    behavior={"scaleDown": {"stabilizationWindowSeconds": 0, "policies": ONE_AT_MOST}},
)
def test_shrinking_keeps_to_the_scale_down_policies(scaled: Scaled) -> None:
    scaled.becomes(4)
    scaled.change({"minReplicas": 1})
    scaled.becomes(3)
    scaled.stays(3)
    half = [{"type": "Percent", "value": 50, "periodSeconds": LONG}]
    scaled.change({"behavior": {"scaleDown": {"policies": half}}})
    scaled.becomes(2)
    scaled.stays(2)
    often = [{"type": "Percent", "value": 50, "periodSeconds": 2}]
    scaled.change({"behavior": {"scaleDown": {"policies": often}}})
    scaled.becomes(1)


@starting(mode="Manual")
def test_in_manual_a_person_sets_the_replicas(scaled: Scaled) -> None:
    scaled.in_flight = 5 * SEATS
    scaled.becomes(2)
    scaled.stays(2)
    scaled.change({}, replicas=3)
    scaled.becomes(3)
    scaled.change({"mode": "Auto"}, replicas=None)
    scaled.becomes(4)


@starting(minReplicas=1)
def test_a_known_gpu_gives_the_gateways_a_ceiling_at_once(scaled: Scaled) -> None:
    pace = {"indicator": "TimePerOutputToken", "thresholdMilliseconds": 45, "objectivePercent": "9"}
    model = {"uri": "hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"}
    engine = {"maxConcurrentRequests": 128, "gpus": {"count": 2}}
    scaled.change({}, model=model, slos=[{"name": "pace"} | pace], engine=engine)
    eventually(lambda: scaled.size() and scaled.ceiling()["seats"] >= 128, 20, "the new engine")
    assert scaled.ceiling().get("kvTokens") is None, "nobody knows these GPUs"
    inputs = scaled.fleet.model()["metadata"]["annotations"][names.ROLLING_INPUTS]
    scaled.change({}, engine={"gpus": {"product": "H100"}})
    made = eventually(
        lambda: scaled.size() and (c := scaled.ceiling()).get("kvTokens") and c, 20, "its cache"
    )
    assert made["kvTokens"] == pytest.approx(312_700, rel=0.01)
    assert made["stepTime"]["baseSeconds"] == pytest.approx(0.0155, rel=0.03)
    scaled.change({}, engine={"gpus": {"product": "A100-80GB"}})
    eventually(
        lambda: scaled.size() and scaled.ceiling()["stepTime"]["baseSeconds"] > 0.02,
        20,
        "a slower GPU",
    )
    annotations = scaled.fleet.model()["metadata"]["annotations"]
    assert annotations[names.ROLLING_INPUTS] == inputs, "no pod rolls for it"


def quality(*scores: str) -> list[dict[str, Any]]:
    """Points at 1,024, 4,096 and 16,384 tokens."""
    budgets = (1024, 4096, 16_384)
    return [{"maxTokens": b, "scorePercent": s} for b, s in zip(budgets, scores, strict=True)]


@starting()
def test_load_lowers_the_tier_that_loses_least_by_it(scaled: Scaled) -> None:
    scores = {"flat": quality("80", "80.5", "81"), "steep": quality("40", "60", "80")}
    tiers = [{"name": n, "maxTokens": 16_384, "quality": q} for n, q in scores.items()]
    thinking = {"budget": {"maxTokens": 16_384, "floorTokens": 1024}, "tiers": tiers}
    engine = {"contextTokens": 32_768, "gpus": {"count": 2, "product": "H100"}}
    model = {"uri": "hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"}
    scaled.change({}, thinking=thinking, engine=engine, model=model, answer={"maxTokens": 4096})
    seen = LifeTableCounts(
        exposure_tokens=tuple(50_000_000 // (1 + age // 4) for age in range(BINS)),
        ends=tuple(10_000 // (1 + age // 4) for age in range(BINS)),
    )
    scaled.gateway.say(
        life_table=seen, output_life_table=seen, tier_arrivals={"flat": 500, "steep": 500}
    )

    def told() -> dict[str, Any]:
        scaled.size()
        rule = scaled.directive()["brownout"] or {}
        return {tier["name"]: tier["budgetTokens"] for tier in rule.get("tiers", ())}

    made = eventually(told, 30, "tiers in the directive")
    assert all(low <= high for low, high in zip(made["flat"], made["steep"], strict=True))
    assert sum(made["steep"]) > 1.5 * sum(made["flat"])
    tiers[0]["quality"], tiers[1]["quality"] = tiers[1]["quality"], tiers[0]["quality"]
    scaled.change({}, thinking=thinking)
    eventually(
        lambda: (now := told()) and sum(now["flat"]) > 1.5 * sum(now["steep"]), 30, "swapped"
    )
    scaled.change({}, thinking=thinking | {"tiers": []})
    eventually(lambda: not told(), 30, "no tier tells its quality any more")


@starting()
def test_gateways_come_with_the_tokens_that_pass(scaled: Scaled) -> None:
    fleet, begun = scaled.fleet, time.monotonic()
    assert scaled.gateway_replicas() == 1

    def passing() -> int:
        tokens = round(25_000 * (time.monotonic() - begun))
        scaled.gateway.say(counters=Counters(thinking_tokens=tokens))
        return scaled.gateway_replicas()

    end = begun + NOT_YET_SECONDS + 6
    while time.monotonic() < end:  # a rate has been seen, and without maxReplicas it moves nothing
        assert passing() == 1
        time.sleep(0.2)
    scaled.change({}, gateway={"maxReplicas": 2})
    eventually(lambda: passing() == 2, 40, "as many gateways as there may be")
    scaled.change({}, gateway={"maxReplicas": 6})
    eventually(lambda: passing() == 3, 40, "as many gateways as the tokens need")
    eventually(lambda: passing() and fleet.status()["gatewayReplicas"] == 3, 20, "in the status")
    scaled.change({}, gateway={"maxReplicas": None})
    eventually(lambda: passing() == 1, 20, "the minimum again")
