"""Fixtures of the API-level tests: a real API server with its controllers and scheduler, no nodes.

Nothing here needs root. `USE_EXISTING_CLUSTER=true` runs the tests against the current kubeconfig.
"""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from e2e.harness import ClusterClient, fixtures


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    fixtures.mark_by_path(items, str(Path(__file__).parent), "cluster")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fixtures.report_failure(report, item)
    return report


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ClusterClient]:
    """The cluster that all tests of the session share."""
    yield from fixtures.cluster(nodes=0)


@pytest.fixture
def namespace(control_plane: ClusterClient) -> Iterator[str]:
    """A namespace of the test's own."""
    yield from fixtures.namespace(control_plane)


@pytest.fixture
def kubectl(control_plane: ClusterClient) -> Callable[..., CompletedProcess[str]]:
    """`kubectl(*arguments, input=None, check=True)` on the shared cluster."""
    return control_plane.kubectl
