"""The smallest valid resources, changes to them, and the committed CRDs in a test's cluster."""

import copy
from pathlib import Path
from typing import Any

from e2e.harness import ClusterClient, eventually

CRDS = Path(__file__).parents[2] / "crds"
SMALLEST: dict[str, Any] = {
    "apiVersion": "thinkscale.dev/v1alpha1",
    "kind": "ReasoningService",
    "metadata": {"name": "r1"},
    "spec": {
        "model": {"uri": "hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"},
        "engine": {"image": "vllm/vllm-openai:v0.33.0", "contextTokens": 32768},
        "scaling": {"maxReplicas": 4},
    },
}
SMALLEST_POOL: dict[str, Any] = {
    "apiVersion": "thinkscale.dev/v1alpha1",
    "kind": "GPUPool",
    "metadata": {"name": "p1"},
    "spec": {"maxGPUs": 8, "members": [{"namespace": "team-a", "name": "r1"}]},
}


def changed(changes: dict[str, Any], smallest: dict[str, Any] = SMALLEST) -> dict[str, Any]:
    """The smallest service (or pool) with these paths set; None removes one."""
    made = copy.deepcopy(smallest)
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = made
        for parent in parents:
            node = node.setdefault(parent, {})
        if value is None:
            node.pop(last)
        else:
            node[last] = value
    return made


def install_crd(cluster: ClusterClient) -> None:
    """Apply the committed CRDs and wait until their resources can be written."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    # NB: `kubectl wait` ends at once with an error while a brand-new CRD has no status.
    wait = ("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
    eventually(lambda: cluster.kubectl(*wait, check=False).returncode == 0, 30, "CRDs established")
