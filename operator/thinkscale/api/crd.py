"""The CustomResourceDefinition of ReasoningService, made from the models and the rules; `thinkscale
crd` prints it, with the one of GPUPool.

It is a function of the code alone: the committed copies (top level and chart) are compared with it
by a test, so they cannot drift. The chart's copy is this text with Helm's conditions around it.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

from thinkscale.api import pool_crd
from thinkscale.api.definition import Kind, column, condition, definition, object_schema, to_yaml
from thinkscale.api.names import KIND, PLURAL, SHORT_NAME
from thinkscale.api.rules import RULES
from thinkscale.api.schema import Schema
from thinkscale.api.v1alpha1 import ReasoningServiceSpec, ReasoningServiceStatus

SERVICE: Final = Kind(
    kind=KIND,
    plural=PLURAL,
    short=SHORT_NAME,
    scope="Namespaced",
    categories=("serving", "thinkscale"),
)
CRD_NAME: Final = SERVICE.crd_name
DESCRIPTION: Final = (
    "A reasoning model served on GPUs, scaled by the length of its thinking queue and by its SLOs."
)
COLUMNS: Final = (
    column("Ready", condition("Ready", "status"), "string", "Whether clients are served"),
    column("Replicas", ".status.readyReplicas", "integer", "Model pods that are ready"),
    column("Desired", ".status.desiredReplicas", "integer", "Replicas that are wanted"),
    column("GPUs", ".status.gpus", "integer", "GPUs that the model pods hold"),
    column("Depth", ".status.thinkingDepth", "integer", "Requests not answering yet"),
    column("Backlog", ".status.backlogSeconds", "integer", "Seconds of thinking still to come"),
    column("SLOs", condition("SLOsMet", "status"), "string", "Whether all objectives hold"),
    column("Reason", ".status.lastDecision.reason", "string", "Why the last decision", 1),
    column("Age", ".metadata.creationTimestamp", "date", "Since it was created"),
)


def schema() -> Schema:
    """The openAPIV3Schema: models, limits, defaults and rules."""
    return object_schema(DESCRIPTION, ReasoningServiceSpec, ReasoningServiceStatus, RULES)


def crd() -> dict[str, Any]:
    """The whole CustomResourceDefinition as a plain object."""
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return definition(SERVICE, schema(), COLUMNS, {"scale": scale})


def main(argv: Sequence[str]) -> int:
    """`thinkscale crd`: print the definitions."""
    parser = argparse.ArgumentParser(
        prog="thinkscale crd",
        description="Print the CustomResourceDefinitions, for `kubectl apply -f -`.",
    )
    parser.parse_args(argv)
    sys.stdout.write("---\n".join(to_yaml(made) for made in (crd(), pool_crd.crd())))
    return 0
