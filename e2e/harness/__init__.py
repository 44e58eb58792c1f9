"""A real Kubernetes on one machine, for tests and for the demo.

`LocalCluster` is a control plane, nodes, Services and DNS in a private network namespace, gone
without a trace when its process ends; `ExistingCluster` is whatever the current kubeconfig names.
How and why it works: docs/adr/0002.
"""

from e2e.harness.assets import MissingAssetsError
from e2e.harness.client import ClusterClient, CommandError
from e2e.harness.cluster import ExistingCluster, LocalCluster
from e2e.harness.eventually import NotYetError, eventually
from e2e.harness.images import PRODUCT_IMAGE, PRODUCT_REPOSITORY, PRODUCT_TAG

__all__ = [
    "PRODUCT_IMAGE",
    "PRODUCT_REPOSITORY",
    "PRODUCT_TAG",
    "ClusterClient",
    "CommandError",
    "ExistingCluster",
    "LocalCluster",
    "MissingAssetsError",
    "NotYetError",
    "eventually",
]
