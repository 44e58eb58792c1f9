"""From the YAML of a ReasoningService to the object that a run applies.

Only what a run must fill in is changed: where the image is, which name the service gets, and the
name of the plan field, which is drawn anew for each run.
"""

import copy
from pathlib import Path
from typing import Any

import yaml

from e2e.story.outcomes import Slo

DEMO = Path(__file__).parents[2] / "examples" / "demo"
Manifest = dict[str, Any]


def load(path: Path) -> Manifest:
    """The one object of a YAML file."""
    manifest: Manifest = yaml.safe_load(path.read_text())
    return manifest


def filled_in(
    manifest: Manifest, *, name: str, image: str, plan_field: str, gpus: int | None = None
) -> Manifest:
    """The object as it is applied; `gpus` None leaves the GPUs as the YAML says."""
    made = copy.deepcopy(manifest)
    made["metadata"]["name"] = name
    engine = made["spec"]["engine"]
    engine["image"] = image
    engine["args"] = [*engine.get("args", []), f"--plan-field={plan_field}"]
    if gpus is not None:
        engine["gpus"] = {**engine.get("gpus", {}), "count": gpus}
    return made


def fixed_at(manifest: Manifest, replicas: int) -> Manifest:
    """The same service in Manual mode: nobody scales it but who writes `spec.replicas`."""
    made = copy.deepcopy(manifest)
    made["spec"]["replicas"] = replicas
    made["spec"]["scaling"]["mode"] = "Manual"
    return made


def slos_of(manifest: Manifest) -> list[Slo]:
    """The objectives, in seconds."""
    return [Slo.from_spec(spec) for spec in manifest["spec"]["slos"]]


def model_of(manifest: Manifest) -> str:
    """What clients send as `model`."""
    return str(manifest["spec"]["model"].get("name", manifest["metadata"]["name"]))
