"""Fixtures of the end-to-end tests: a cluster with two GPU nodes, and the operator from its chart.

`USE_EXISTING_CLUSTER=true` runs against the current kubeconfig; then `E2E_IMAGE=REPOSITORY:TAG`
names a product image that the cluster can pull.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from e2e.harness import PRODUCT_IMAGE, ClusterClient, fixtures, installed

NODES = 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    fixtures.mark_by_path(items, str(Path(__file__).parent), "e2e")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fixtures.report_failure(report, item)
    return report


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterClient]:
    """Two nodes of eight GPUs each, Services and DNS, the product's image on the nodes."""
    yield from fixtures.cluster(nodes=NODES)


@pytest.fixture
def namespace(cluster: ClusterClient) -> Iterator[str]:
    """A namespace of the test's own."""
    yield from fixtures.namespace(cluster)


@pytest.fixture(scope="session")
def operator(cluster: ClusterClient) -> Iterator[str]:
    """The operator, installed by Helm; its namespace."""
    with installed.operator(cluster, os.environ.get("E2E_IMAGE", PRODUCT_IMAGE)) as namespace:
        yield namespace
