"""The CustomResourceDefinition, made from the models and the rules; `thinkscale crd` prints it.

It is a function of the code alone: the committed copies (top level and chart) are compared with it
by a test, so they cannot drift. The chart's copy is this text with Helm's conditions around it.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

import yaml

from thinkscale.api.names import GROUP, KIND, PLURAL, SHORT_NAME, VERSION
from thinkscale.api.rules import RULES
from thinkscale.api.schema import Schema, node_at, structural
from thinkscale.api.v1alpha1 import ReasoningServiceSpec, ReasoningServiceStatus

CRD_NAME: Final = f"{PLURAL}.{GROUP}"
DESCRIPTION: Final = (
    "A reasoning model served on GPUs, scaled by the length of its thinking queue and by its SLOs."
)


def _column(name: str, path: str, type_: str, what: str, priority: int = 0) -> dict[str, Any]:
    column = {"name": name, "type": type_, "jsonPath": path, "description": what}
    return column | ({"priority": priority} if priority else {})


def _condition(type_: str, part: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{part}'


COLUMNS: Final = (
    _column("Ready", _condition("Ready", "status"), "string", "Whether clients are served"),
    _column("Replicas", ".status.readyReplicas", "integer", "Model pods that are ready"),
    _column("Desired", ".status.desiredReplicas", "integer", "Replicas that are wanted"),
    _column("GPUs", ".status.gpus", "integer", "GPUs that the model pods hold"),
    _column("Depth", ".status.thinkingDepth", "integer", "Requests not answering yet"),
    _column("Backlog", ".status.backlogSeconds", "integer", "Seconds of thinking still to come"),
    _column("SLOs", _condition("SLOsMet", "status"), "string", "Whether all objectives hold"),
    _column("Reason", ".status.lastDecision.reason", "string", "Why the last decision", 1),
    _column("Age", ".metadata.creationTimestamp", "date", "Since it was created"),
)


def schema() -> Schema:
    """The openAPIV3Schema: models, limits, defaults and rules."""
    root: Schema = {
        "description": DESCRIPTION,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": structural(ReasoningServiceSpec),
            "status": structural(ReasoningServiceStatus),
        },
    }
    for path, rules in RULES.items():
        node = node_at(root, path) if path else root
        node["x-kubernetes-validations"] = [rule.as_schema() for rule in rules]
    return root


def crd() -> dict[str, Any]:
    """The whole CustomResourceDefinition as a plain object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD_NAME},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": ["serving", "thinkscale"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": list(COLUMNS),
                    "schema": {"openAPIV3Schema": schema()},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                }
            ],
        },
    }


class _PlainDumper(yaml.SafeDumper):
    """YAML without anchors, which `kubectl` takes but people do not."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(value: Any) -> str:
    """An object as YAML in the order given, lines at most 100 characters where they can break."""
    return yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, width=100, allow_unicode=True)


def main(argv: Sequence[str]) -> int:
    """`thinkscale crd`: print the CRD."""
    parser = argparse.ArgumentParser(
        prog="thinkscale crd",
        description="Print the CustomResourceDefinition, for `kubectl apply -f -`.",
    )
    parser.parse_args(argv)
    sys.stdout.write(to_yaml(crd()))
    return 0
