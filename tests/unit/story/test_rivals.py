"""What the rivals see, and how their autoscalers are written."""

from typing import Any

import pytest

from e2e.story.external_metrics import answer
from e2e.story.gateway_load import Load, LoadHistory
from e2e.story.rivals import autoscaler
from e2e.story.services import DEMO, filled_in, fixed_at, load, slos_of

PATH = "/apis/external.metrics.k8s.io/v1beta1"


def history(*loads: tuple[float, int, int]) -> LoadHistory:
    """Readings as (second, arrivals, in flight)."""
    made = LoadHistory()
    for at, arrivals, in_flight in loads:
        made.add(Load(at=at, arrivals=arrivals, in_flight=in_flight))
    return made


def test_the_rate_is_over_the_window_and_not_over_all_time() -> None:
    loads = [(float(second), 0 if second < 20 else (second - 20) * 3, 0) for second in range(41)]
    assert history(*loads).arrivals_per_second(40.0) == pytest.approx(3.0)


def test_a_restarted_gateway_makes_no_negative_rate() -> None:
    made = history((0, 100, 0), (1, 110, 0), (2, 4, 0))
    assert made.arrivals_per_second(2.0) is None
    made.add(Load(at=3, arrivals=9, in_flight=0))
    assert made.arrivals_per_second(3.0) == pytest.approx(5.0)


def test_an_old_reading_is_no_reading() -> None:
    made = history((0, 0, 7), (1, 5, 7))
    assert made.concurrency(2.0) == 7.0
    assert made.concurrency(20.0) is None
    assert made.arrivals_per_second(20.0) is None


def read(service: str, metric: str) -> float | None:
    """One service with a value and one without."""
    return {("long", "concurrency"): 12.25, ("quiet", "concurrency"): None}[service, metric]


def test_a_value_is_answered_in_the_api_groups_own_form() -> None:
    found = answer(f"{PATH}/namespaces/ns/concurrency?labelSelector=service%3Dlong", read)
    assert found is not None
    assert found["kind"] == "ExternalMetricValueList"
    assert [item["value"] for item in found["items"]] == ["12250m"]


def test_an_unknown_value_is_an_empty_list_and_never_zero() -> None:
    found = answer(f"{PATH}/namespaces/ns/concurrency?labelSelector=service%3Dquiet", read)
    assert found is not None
    assert found["items"] == []


@pytest.mark.parametrize(
    "path",
    [
        f"{PATH}/namespaces/ns/concurrency?labelSelector=service%3Dnobody",
        f"{PATH}/namespaces/ns/other?labelSelector=service%3Dlong",
        f"{PATH}/namespaces/ns/concurrency",
        f"{PATH}/nodes",
    ],
)
def test_what_does_not_exist_is_not_found(path: str) -> None:
    assert answer(path, read) is None


def test_the_api_group_can_be_discovered() -> None:
    assert answer(f"{PATH}", read) == {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "external.metrics.k8s.io/v1beta1",
        "resources": [],
    }


def manifest() -> dict[str, Any]:
    """The headline's YAML, filled in."""
    return filled_in(load(DEMO / "headline.yaml"), name="long-hpa", image="r/i:t", plan_field="x_1")


def test_a_rival_has_the_same_limits_and_behaviour_and_scales_the_resource_itself() -> None:
    scaling = manifest()["spec"]["scaling"]
    spec = autoscaler(manifest(), name="long-hpa", metric="concurrency", target=6.4)["spec"]
    assert spec["scaleTargetRef"] == {
        "apiVersion": "thinkscale.dev/v1alpha1",
        "kind": "ReasoningService",
        "name": "long-hpa",
    }
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 8)
    assert spec["behavior"] == scaling["behavior"]
    (metric,) = spec["metrics"]
    assert metric["external"]["metric"]["selector"] == {"matchLabels": {"service": "long-hpa"}}
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "6400m"}


def test_filling_in_changes_nothing_but_the_name_the_image_and_the_plan_field() -> None:
    template, made = load(DEMO / "headline.yaml"), manifest()
    assert made["metadata"].pop("name") == "long-hpa"
    template["metadata"].pop("name")
    assert made["spec"]["engine"].pop("image") == "r/i:t"
    template["spec"]["engine"].pop("image")
    assert made["spec"]["engine"]["args"].pop() == "--plan-field=x_1"
    assert made == template


def test_a_fleet_of_fixed_size_differs_only_in_who_scales_it() -> None:
    made, fixed = manifest(), fixed_at(manifest(), 1)
    assert fixed["spec"].pop("replicas") == 1
    assert fixed["spec"]["scaling"].pop("mode") == "Manual"
    made["spec"]["scaling"].pop("mode")
    assert fixed == made


def test_the_objective_is_read_from_the_yaml() -> None:
    (slo,) = slos_of(manifest())
    assert (slo.threshold_seconds, slo.per_token_seconds, slo.objective_percent) == (12, 0.045, 95)
