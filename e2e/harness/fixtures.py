"""pytest fixtures and hooks that the API-level and the end-to-end tests share.

A missing part skips the tests that need it and says which; in CI (`CI=true`) it fails them. When a
test fails, what a person would ask for is added to its report while the cluster is still there.
"""

import uuid
from collections.abc import Iterator

import pytest

from e2e.harness import assets, diagnostics
from e2e.harness.client import ClusterClient
from e2e.harness.cluster import ExistingCluster, LocalCluster

_running: list[ClusterClient] = []


def require(*, nodes: bool) -> None:
    """Skip, or in CI fail, when a cluster with or without nodes cannot start here."""
    try:
        assets.find().require(nodes=nodes)
    except assets.MissingAssetsError as error:
        if assets.must_not_skip():
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


def cluster(*, nodes: int) -> Iterator[ClusterClient]:
    """The body of a session fixture: a cluster that runs until the session ends.

    In a session with both kinds of tests, one with nodes serves those that need none as well.
    """
    if _running and nodes == 0:
        yield _running[-1]
        return
    if assets.use_existing_cluster():
        _running.append(ExistingCluster())
        yield _running[-1]
        _running.pop()
        return
    require(nodes=nodes > 0)
    with LocalCluster(nodes=nodes) as local:
        _running.append(local)
        yield local
        _running.pop()


def namespace(client: ClusterClient) -> Iterator[str]:
    """The body of a function fixture: a namespace of its own, deleted without waiting."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    client.kubectl("create", "namespace", name)
    yield name
    client.kubectl("delete", "namespace", name, "--wait=false", check=False)


def mark_by_path(items: list[pytest.Item], directory: str, marker: str) -> None:
    """Give every test under `directory` its marker."""
    for item in items:
        if item.path.is_relative_to(directory):
            item.add_marker(marker)


def report_failure(report: pytest.TestReport, item: pytest.Item) -> None:
    """Add the cluster's state to the report of a failed test."""
    if not report.failed or not _running:
        return
    if report.when == "teardown":
        return
    name = getattr(item, "funcargs", {}).get("namespace")
    text = diagnostics.collect(_running[-1], name if isinstance(name, str) else None)
    report.sections.append(("cluster", text))
