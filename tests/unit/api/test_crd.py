"""The CRD keeps the API server's rules and the house's conventions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import kubernetes_validate
import pytest
import yaml

from thinkscale.api import pool_crd
from thinkscale.api.cel import CelRule
from thinkscale.api.crd import crd, main, schema
from thinkscale.api.definition import to_yaml
from thinkscale.api.pool import GPUPoolSpec
from thinkscale.api.rules import OWNED_ELSEWHERE, OWNED_FLAGS, RULES
from thinkscale.api.schema import Schema, node_at
from thinkscale.api.v1alpha1 import EngineType, ReasoningServiceSpec
from thinkscale.engines import adapter_for
from thinkscale.engines.adapter import LaunchPlan

STRUCTURAL_NEVER = {"$ref", "$defs", "title", "const", "uniqueItems", "prefixItems", "nullable"}
VERSION = crd()["spec"]["versions"][0]


def nodes(node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(node[key], f"{path}[]" if key == "items" else f"{path}.*")


SPEC_NODES = [
    *nodes(schema()["properties"]["spec"], "spec"),
    *nodes(pool_crd.schema()["properties"]["spec"], "pool"),
]
STATUS_NODES = [
    *nodes(schema()["properties"]["status"], "status"),
    *nodes(pool_crd.schema()["properties"]["status"], "pool-status"),
]
ALL_NODES = [*SPEC_NODES, *STATUS_NODES]
POOL = pool_crd.crd()["spec"]["versions"][0]


@pytest.mark.parametrize("made", [crd(), pool_crd.crd()], ids=["service", "pool"])
def test_it_passes_strict_validation_and_is_small(made: dict[str, Any]) -> None:
    text = to_yaml(made)
    kubernetes_validate.validate(yaml.safe_load(text), "1.36", strict=True)
    assert len(text.encode()) < 200_000


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == [crd(), pool_crd.crd()]


@pytest.mark.parametrize(("path", "node"), ALL_NODES, ids=[path for path, _ in ALL_NODES])
def test_every_node_is_structural(path: str, node: Schema) -> None:
    assert not STRUCTURAL_NEVER & node.keys()
    assert "type" in node or node.get("x-kubernetes-int-or-string"), "has a type"
    assert not ("properties" in node and "additionalProperties" in node)
    if node.get("type") == "array":
        assert node["x-kubernetes-list-type"] in ("map", "set", "atomic")
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"] or "default" in node["items"]["properties"][key]


@pytest.mark.parametrize(("path", "node"), ALL_NODES, ids=[path for path, _ in ALL_NODES])
def test_every_field_has_a_description_for_explain(path: str, node: Schema) -> None:
    if not path.endswith(("[]", ".*")):
        assert node["description"].strip().endswith((".", ":", "?")) or "." in node["description"]


@pytest.mark.parametrize(("path", "node"), SPEC_NODES, ids=[path for path, _ in SPEC_NODES])
def test_everything_in_the_spec_is_bounded_so_that_rules_stay_cheap(
    path: str, node: Schema
) -> None:
    match node.get("type"):
        case "array":
            assert node["maxItems"] <= (512 if path == "pool.members" else 128)
        case "string":
            assert "enum" in node or node["maxLength"] <= 4096
        case "object" if "additionalProperties" in node:
            assert node["maxProperties"] <= 32
        case "number":
            pytest.fail("no floats in a spec")


def test_lists_that_people_patch_are_merged_by_key() -> None:
    merged = {
        path: node["x-kubernetes-list-map-keys"]
        for path, node in ALL_NODES
        if node.get("x-kubernetes-list-type") == "map"
    }
    pod = "spec.engine.podTemplate.spec"
    assert merged == {
        "spec.slos": ["name"],
        "spec.thinking.tiers": ["name"],
        "spec.engine.env": ["name"],
        "spec.engine.volumeMounts": ["mountPath"],
        f"{pod}.imagePullSecrets": ["name"],
        f"{pod}.topologySpreadConstraints": ["topologyKey", "whenUnsatisfiable"],
        f"{pod}.volumes": ["name"],
        "status.tiers": ["name"],
        "status.slos": ["name"],
        "status.conditions": ["type"],
        "pool.members": ["namespace", "name"],
        "pool-status.members": ["namespace", "name"],
        "pool-status.conditions": ["type"],
    }


def with_defaults(node: Schema, value: Any) -> Any:
    """What the API server stores: defaults filled in from the schema, outside in."""
    if "properties" in node and isinstance(value, dict):
        filled = {
            name: child["default"]
            for name, child in node["properties"].items()
            if name not in value and "default" in child
        }
        return {
            name: with_defaults(node["properties"][name], inner)
            for name, inner in (value | filled).items()
        }
    if "items" in node and isinstance(value, list):
        return [with_defaults(node["items"], item) for item in value]
    return value


def test_the_models_assume_the_defaults_that_the_api_server_stores() -> None:
    slo = {
        "name": "a",
        "indicator": "EndToEnd",
        "thresholdMilliseconds": 5,
        "objectivePercent": "9",
    }
    written = {
        "model": {"uri": "hf://a/b", "cache": {"claimName": "c"}},
        "engine": {"image": "i", "contextTokens": 4096},
        "thinking": {"budget": {"maxTokens": 10}},
        "slos": [slo],
        "scaling": {"maxReplicas": 2},
    }
    stored = with_defaults(node_at(schema(), "spec"), written)
    assert stored != written
    assert ReasoningServiceSpec.model_validate(stored) == ReasoningServiceSpec.model_validate(
        written
    )


def test_a_pool_assumes_the_defaults_that_the_api_server_stores() -> None:
    written = {"maxGPUs": 8, "members": [{"namespace": "team-a", "name": "r1"}]}
    stored = with_defaults(node_at(pool_crd.schema(), "spec"), written)
    assert stored["members"][0]["priority"] == 100
    assert GPUPoolSpec.model_validate(stored) == GPUPoolSpec.model_validate(written)


def test_a_pool_belongs_to_the_cluster_and_shows_how_it_is_used() -> None:
    assert pool_crd.crd()["spec"]["scope"] == "Cluster"
    assert [column["name"] for column in POOL["additionalPrinterColumns"]] == [
        *("Limit", "Used", "Granted", "Wished", "Members", "Limiting", "Reason", "Age")
    ]


def test_kubectl_get_shows_the_columns() -> None:
    assert [column["name"] for column in VERSION["additionalPrinterColumns"]] == [
        *("Ready", "Replicas", "Desired", "GPUs", "Depth", "Backlog", "SLOs", "Reason", "Age")
    ]
    wide = [c["name"] for c in VERSION["additionalPrinterColumns"] if c.get("priority")]
    assert wide == ["Reason"]


def test_columns_and_scale_read_fields_that_exist() -> None:
    scale = VERSION["subresources"]["scale"].values()
    paths = [(schema(), path) for path in scale]
    for root, version in ((schema(), VERSION), (pool_crd.schema(), POOL)):
        paths += [(root, c["jsonPath"]) for c in version["additionalPrinterColumns"]]
    for root, path in paths:
        if not path.startswith(".metadata"):
            plain = path.split("[?")[0].removeprefix(".")
            assert node_at(root, plain)


@pytest.mark.parametrize(
    ("root", "every"),
    [(schema(), RULES), (pool_crd.schema(), pool_crd.RULES)],
    ids=["service", "pool"],
)
def test_rules_sit_at_objects_that_exist_and_point_to_fields_that_exist(
    root: Schema, every: Mapping[str, Sequence[CelRule]]
) -> None:
    for path, rules in every.items():
        node = node_at(root, path) if path else root
        assert node["x-kubernetes-validations"] == [rule.as_schema() for rule in rules]
        for rule in rules:
            if rule.field:
                assert node_at(node, rule.field.removeprefix("."))


def test_every_message_offers_a_mend() -> None:
    for rules in (*RULES.values(), *pool_crd.RULES.values()):
        for rule in rules:
            mends = (":", "needs", "example", "must be hf://")
            assert any(word in rule.message for word in mends), rule.message
            assert "\n" not in rule.message


def test_each_flag_of_the_operator_is_refused_with_what_to_use_instead() -> None:
    messages = {rule.message for rule in RULES["spec.engine"]}
    for flag, instead in OWNED_FLAGS.items():
        assert f"must not contain --{flag}: {instead}" in messages
    for flags, instead in OWNED_ELSEWHERE.items():
        assert any(
            message.endswith(f": {instead}") and all(f"--{flag}" in message for flag in flags)
            for message in messages
        )


@pytest.mark.parametrize("engine", [engine.value for engine in EngineType])
def test_every_flag_that_an_adapter_writes_is_refused_or_harmless_when_it_comes_twice(
    engine: str,
) -> None:
    plan = LaunchPlan(
        model="m", revision="r", served_name="s", port=1, context_tokens=9, seats=2, gpus=2,
        reasoning_parser="p", drain_seconds=5,
    )  # fmt: skip
    flags = {
        argument.partition("=")[0].removeprefix("--")
        for argument in adapter_for(engine).arguments(plan)
        if argument.startswith("--")
    }
    refused = {*OWNED_FLAGS, *(flag for flags in OWNED_ELSEWHERE for flag in flags)}
    assert flags - refused <= {"enable-metrics", "enable-strict-thinking"}
