"""What a resource is rendered to: valid Kubernetes objects, and what the user wrote wins."""

from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest

from thinkscale.api import names
from thinkscale.api.v1alpha1 import Effort, ReasoningService
from thinkscale.errors import SpecInvalid
from thinkscale.gateway.command_line import command_line
from thinkscale.gateway.wish import EFFORTS
from thinkscale.model.gateway_config import TierConfig
from thinkscale.model.intent import Mode
from thinkscale.resources.gateway import GatewayImage, gateway_objects
from thinkscale.resources.intent import gateway_config_of, initial_replicas, intent_of
from thinkscale.resources.model_pods import model_pod_template, model_source
from thinkscale.resources.objects import Object
from thinkscale.resources.runtime import runtime_config_map
from thinkscale.resources.workload import (
    Pin,
    model_deployment,
    model_support,
    pin_of,
    rolling_inputs,
)

IMAGE = GatewayImage(reference="registry.example/thinkscale:1")
ENGINE: dict[str, Any] = {"image": "engine:1", "contextTokens": 4096}


def service(**spec: Any) -> ReasoningService:
    base = {
        "model": {"uri": "hf://acme/r1"},
        "engine": ENGINE,
        "scaling": {"maxReplicas": 4},
    }
    return ReasoningService.model_validate(
        {
            "metadata": {"name": "r1", "namespace": "ns", "uid": "u1", "generation": 3},
            "spec": base | spec,
        }
    )


def everything(made: ReasoningService) -> list[Object]:
    return [
        *model_support(made),
        *gateway_objects(made, IMAGE, 2),
        runtime_config_map(made, {"config.json": "{}"}),
        model_deployment(made, pin_of(made, {}), 2),
    ]


RICH = service(
    model={"uri": "hf://acme/r1", "cache": {"claimName": "c"}},
    engine=ENGINE | {"gpus": {"count": 2}, "resources": {"requests": {"cpu": 8}}},
    gateway={
        "resources": {"limits": {"memory": "2Gi"}},
        "auth": {"apiKeysSecretRef": {"name": "clients"}},
        "tracing": {"endpoint": "http://collector:4318"},
    },
)


@pytest.mark.parametrize("made", [service(), RICH], ids=["bare", "rich"])
def test_every_object_is_valid_strictly(made: ReasoningService) -> None:
    for thing in everything(made):
        kubernetes_validate.validate(thing, "1.33", strict=True)


def test_every_object_is_named_labelled_and_owned() -> None:
    made = everything(service())
    seen = {(thing["kind"], thing["metadata"]["name"]) for thing in made}
    assert len(seen) == len(made) == 11
    for thing in made:
        metadata = thing["metadata"]
        assert metadata["namespace"] == "ns"
        assert metadata["labels"][names.SERVICE_LABEL] == "r1"
        assert metadata["ownerReferences"][0]["uid"] == "u1"


def test_a_template_of_an_older_operator_is_kept_while_what_rolls_is_the_same() -> None:
    rendered = pin_of(service(), {})
    older = Pin(inputs=rendered.inputs, template={"spec": {"older": True}}).annotations()
    assert pin_of(service(scaling={"maxReplicas": 9}), older).template == {"spec": {"older": True}}
    changed = service(engine=ENGINE | {"image": "engine:2"})
    assert pin_of(changed, older).template == model_pod_template(changed)


@pytest.mark.parametrize("damaged", ["", "{", "[]", '"text"', "{}"])
def test_a_damaged_pin_is_rendered_anew(damaged: str) -> None:
    pin = pin_of(service(), {})
    annotations = pin.annotations() | {names.PINNED_TEMPLATE: damaged}
    assert pin_of(service(), annotations) == pin


def test_an_edited_pin_is_not_taken_over_and_the_last_one_applied_holds() -> None:
    rendered = pin_of(service(), {})
    edited = rendered.annotations() | {names.PINNED_TEMPLATE: '{"spec":{"mine":true}}'}
    assert pin_of(service(), edited) == rendered
    older = Pin(inputs=rendered.inputs, template={"spec": {"older": True}})
    assert pin_of(service(), edited, older) == older
    assert pin_of(service(), {}, older) == older, "the Deployment was deleted"
    changed = service(engine=ENGINE | {"image": "engine:2"})
    assert pin_of(changed, edited, older).template == model_pod_template(changed)


def test_writing_a_default_out_rolls_nothing() -> None:
    """So a later CRD, which writes more defaults into stored objects, rolls nothing either."""
    written = ENGINE | {"maxConcurrentRequests": 128, "gpus": {"count": 1}, "args": [], "env": []}
    assert rolling_inputs(service(engine=written)) == rolling_inputs(service())


def test_which_gpu_it_is_is_told_to_the_law_alone_and_rolls_nothing() -> None:
    known = ENGINE | {"gpus": {"count": 2, "product": "H100"}}
    unknown = ENGINE | {"gpus": {"count": 2}}
    assert rolling_inputs(service(engine=known)) == rolling_inputs(service(engine=unknown))
    bare = service(engine=ENGINE | {"gpus": {"product": "H100"}})
    assert rolling_inputs(bare) == rolling_inputs(service())
    assert model_pod_template(bare) == model_pod_template(service())


def test_the_replicas_are_always_stated() -> None:
    for replicas in (0, 1, 7):
        deployment = model_deployment(service(), pin_of(service(), {}), replicas)
        assert deployment["spec"]["replicas"] == replicas


def test_a_variable_that_the_user_sets_is_the_users() -> None:
    made = service(
        model={"uri": "hf://acme/r1", "cache": {"claimName": "c", "mountPath": "/c"}},
        engine=ENGINE | {"env": [{"name": "HF_HOME", "value": "/mine"}]},
    )
    env = model_pod_template(made)["spec"]["containers"][0]["env"]
    assert env == [
        {"name": "VLLM_CACHE_ROOT", "value": "/c/vllm"},
        {"name": "HF_HOME", "value": "/mine"},
    ]


def test_shared_memory_of_the_users_own_is_not_mounted_over() -> None:
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}]
    volumes = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "9Gi"}}]
    made = service(
        engine=ENGINE
        | {
            "gpus": {"count": 2},
            "volumeMounts": mounts,
            "podTemplate": {"spec": {"volumes": volumes}},
        }
    )
    pod = model_pod_template(made)["spec"]
    assert pod["containers"][0]["volumeMounts"] == mounts
    assert pod["volumes"] == volumes


def test_a_gateway_lives_as_long_as_the_streams_that_a_replica_may_finish() -> None:
    made = service(engine=ENGINE | {"drainSeconds": 100})
    model = model_pod_template(made)["spec"]["terminationGracePeriodSeconds"]
    (deployment,) = [o for o in gateway_objects(made, IMAGE, 2) if o["kind"] == "Deployment"]
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= model >= 100


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("hf://acme/r1", ("acme/r1", None)),
        ("pvc://claim/a/b", ("/models/a/b", "claim")),
        ("pvc://claim", ("/models", "claim")),
    ],
)
def test_where_a_model_comes_from(uri: str, expected: tuple[str, str | None]) -> None:
    assert model_source(service(model={"uri": uri}).spec.model) == expected


@pytest.mark.parametrize("uri", ["s3://bucket/x", "acme/r1", "pvc:///x"])
def test_a_model_from_nowhere_is_refused(uri: str) -> None:
    with pytest.raises(SpecInvalid, match=r"spec\.model\.uri"):
        model_source(service(model={"uri": uri}).spec.model)


def test_the_intent_speaks_seconds_and_fractions() -> None:
    slo = {
        "name": "first",
        "indicator": "TimeToFirstAnswer",
        "thresholdMilliseconds": 9500,
        "perTokenMilliseconds": 45,
        "objectivePercent": "99.5",
        "windowSeconds": 600,
    }
    policies = [
        {"type": "Percent", "value": 25, "periodSeconds": 60},
        {"type": "Pods", "value": 2, "periodSeconds": 30},
    ]
    intent = intent_of(
        service(
            slos=[slo],
            thinking={"budget": {"maxTokens": 500}},
            scaling={"maxReplicas": 4, "behavior": {"scaleDown": {"policies": policies}}},
        )
    )
    (objective,) = intent.objectives
    assert (objective.threshold_seconds, objective.per_token_seconds) == (9.5, 0.045)
    assert objective.objective == pytest.approx(0.995)
    assert intent.scale_up.stabilization_window_seconds == 0
    assert intent.scale_down.stabilization_window_seconds == 300
    assert [(p.percent, p.pods) for p in intent.scale_down.policies] == [(25, None), (None, 2)]
    assert intent.budget.floor_tokens == 500, "brown-out is opt-in"
    assert intent.service == "ns/r1"


def test_a_known_model_on_known_gpus_gives_the_law_a_prior() -> None:
    uri = "hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"
    engine = ENGINE | {"gpus": {"count": 2, "product": "H100"}}
    known = intent_of(service(model={"uri": uri}, engine=engine))
    assert known.step_time is not None
    assert known.step_time.base_seconds == pytest.approx(0.0155, rel=0.01)
    assert known.kv_tokens == pytest.approx(312_700, rel=0.01)
    for made in (service(engine=engine), service(model={"uri": uri})):
        unknown = intent_of(made)
        assert (unknown.step_time, unknown.kv_tokens) == (None, None)


@pytest.mark.parametrize(
    ("thinking", "share"),
    [
        ({}, 0.0),
        ({"budget": {"maxTokens": 9}}, 0.01),
        ({"budget": {"maxTokens": 9, "truncationAllowancePercent": "0"}}, 0.0),
        ({"budget": {"maxTokens": 9, "truncationAllowancePercent": "2.5"}}, 0.025),
    ],
)
def test_the_allowance_is_a_share_of_the_requests(thinking: dict[str, Any], share: float) -> None:
    assert intent_of(service(thinking=thinking)).truncation_allowance == pytest.approx(share)


def test_a_workload_is_born_no_larger_than_its_grant() -> None:
    intent = intent_of(service(scaling={"minReplicas": 3, "maxReplicas": 4}))
    assert initial_replicas(replace(intent, granted_replicas=1)) == 1
    assert initial_replicas(replace(intent, granted_replicas=9)) == 3


def test_a_workload_is_born_at_the_minimum_or_at_what_a_person_says() -> None:
    auto = intent_of(service(scaling={"minReplicas": 2, "maxReplicas": 4}))
    assert initial_replicas(auto) == 2
    manual = intent_of(service(replicas=3, scaling={"mode": "Manual", "maxReplicas": 4}))
    assert manual.mode is Mode.MANUAL
    assert initial_replicas(manual) == 3


def test_a_gateway_is_told_what_it_needs() -> None:
    made = service(
        model={"uri": "hf://acme/r1", "name": "public"},
        thinking={"budget": {"minTokens": 5, "maxTokens": 500}, "defaultMaxTokens": 100},
        answer={"maxTokens": 50},
    )
    config = gateway_config_of(made)
    assert (config.service, config.model) == ("ns/r1", "public")
    assert (config.min_tokens, config.max_tokens, config.default_max_tokens) == (5, 500, 100)
    assert (config.answer_max_tokens, config.seats_per_replica) == (50, 128)


def test_a_gateway_is_told_the_tiers_in_the_words_of_its_clients() -> None:
    tiers = [
        {"name": "quick", "efforts": ["Minimal", "XHigh"], "maxTokens": 100},
        {"name": "deep", "maxTokens": 900, "minTokens": 20, "floorTokens": 300},
    ]
    config = gateway_config_of(service(thinking={"tiers": tiers, "defaultTier": "deep"}))
    assert config.default_tier == "deep"
    assert config.tiers == (
        TierConfig(name="quick", efforts=("minimal", "xhigh"), max_tokens=100),
        TierConfig(name="deep", max_tokens=900, min_tokens=20, floor_tokens=300),
    )


def test_every_effort_of_the_resource_is_one_that_clients_can_send() -> None:
    assert tuple(effort.value.lower() for effort in Effort) == EFFORTS


def test_a_gateway_that_asks_for_keys_mounts_their_secret_and_gets_no_right_to_read_others() -> (
    None
):
    auth = {"apiKeysSecretRef": {"name": "clients"}}
    made = {
        thing["kind"]: thing for thing in gateway_objects(service(gateway={"auth": auth}), IMAGE, 1)
    }
    pod = made["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (volume,) = pod["volumes"]
    (mount,) = container["volumeMounts"]
    assert volume == {"name": mount["name"], "secret": {"secretName": "clients"}}
    assert mount["readOnly"]
    assert f"--api-keys-dir={mount['mountPath']}" in container["args"]
    assert all("secrets" not in rule["resources"] for rule in made["Role"]["rules"])


def test_a_gateway_without_keys_mounts_nothing() -> None:
    (deployment,) = [o for o in gateway_objects(service(), IMAGE, 1) if o["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert "volumes" not in pod
    assert "volumeMounts" not in pod["containers"][0]
    assert not any("api-keys" in argument for argument in pod["containers"][0]["args"])


def test_a_gateway_that_is_traced_is_told_where_to_send_and_whose_its_spans_are() -> None:
    made = service(gateway={"tracing": {"endpoint": "http://collector.apm:4318"}})
    (deployment,) = [o for o in gateway_objects(made, IMAGE, 1) if o["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "--otlp-traces" in container["args"]
    assert container["env"][0]["name"] == "POD_NAME"  # or $(POD_NAME) would stay as it is
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert values["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.apm:4318"
    assert values["OTEL_RESOURCE_ATTRIBUTES"] == (
        "k8s.namespace.name=ns,k8s.deployment.name=r1-gateway,k8s.pod.name=$(POD_NAME)"
    )


def test_a_gateway_is_not_traced_unless_that_is_asked_for() -> None:
    (deployment,) = [o for o in gateway_objects(service(), IMAGE, 1) if o["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "--otlp-traces" not in container["args"]
    assert [variable["name"] for variable in container["env"]] == ["POD_NAME"]


@pytest.mark.parametrize(
    "gateway",
    [
        {},
        {"auth": {"apiKeysSecretRef": {"name": "clients"}}},
        {"tracing": {"endpoint": "http://collector:4318"}},
    ],
)
def test_a_gateway_understands_the_flags_that_it_is_started_with(gateway: dict[str, Any]) -> None:
    made = gateway_objects(service(gateway=gateway), IMAGE, 1)
    (deployment,) = [o for o in made if o["kind"] == "Deployment"]
    command, *flags = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    given = command_line().parse_args(flags)
    assert (command, given.namespace, given.service) == ("gateway", "ns", "r1")
    assert (given.port, given.admin_port) == (names.GATEWAY_PORT, names.GATEWAY_ADMIN_PORT)
    assert (given.api_keys_dir is not None) == ("auth" in gateway)
    assert given.otlp_traces == ("tracing" in gateway)
