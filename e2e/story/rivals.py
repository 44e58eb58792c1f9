"""The rivals of the headline: real HorizontalPodAutoscalers on what the gateways see of requests.

Each scales the ReasoningService through its scale subresource, with the same minimum, maximum and
behaviour as the operator's own service has. Kubernetes' HPA does the rest; nothing is imitated.
"""

import copy
from typing import Any

from e2e.story.services import Manifest


def autoscaler(manifest: Manifest, *, name: str, metric: str, target: float) -> dict[str, Any]:
    """An HPA that keeps `metric` of the service at `target` per replica."""
    scaling = manifest["spec"]["scaling"]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": manifest["apiVersion"],
                "kind": manifest["kind"],
                "name": name,
            },
            "minReplicas": scaling["minReplicas"],
            "maxReplicas": scaling["maxReplicas"],
            "behavior": copy.deepcopy(scaling.get("behavior", {})),
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "metric": {
                            "name": metric,
                            "selector": {"matchLabels": {"service": name}},
                        },
                        "target": {
                            "type": "AverageValue",
                            "averageValue": f"{round(target * 1000)}m",
                        },
                    },
                }
            ],
        },
    }
