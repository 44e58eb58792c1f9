"""The operator installed from its chart, the way the README says it."""

from collections.abc import Iterator
from contextlib import contextmanager

from e2e.harness.cache import REPOSITORY
from e2e.harness.client import ClusterClient
from e2e.harness.images import PRODUCT_IMAGE

CHART = REPOSITORY / "charts" / "thinkscale"
RELEASE = "thinkscale"
NAMESPACE = "thinkscale-system"
READY_SECONDS = 60


@contextmanager
def operator(
    cluster: ClusterClient, image: str = PRODUCT_IMAGE, *values: str, namespace: str = NAMESPACE
) -> Iterator[str]:
    """Install the operator, wait until it is ready, and uninstall it in the end.

    `image`: REPOSITORY:TAG; `values`: further NAME=VALUE for the chart. Yields the namespace.
    """
    repository, _, tag = image.rpartition(":")
    settings = [f"image.repository={repository}", f"image.tag={tag}", *values]
    if image == PRODUCT_IMAGE:
        settings.append("image.pullPolicy=Never")
    command = ["upgrade", "--install", RELEASE, str(CHART), "--namespace", namespace]
    command += ["--create-namespace", "--wait", f"--timeout={READY_SECONDS}s"]
    for setting in settings:
        command += ["--set-string", setting]
    cluster.helm(*command)
    try:
        yield namespace
    finally:
        cluster.helm("uninstall", RELEASE, "--namespace", namespace, "--wait", check=False)
