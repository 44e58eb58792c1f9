"""`make demo DEMO_CLUSTER=existing`, as a person runs it, against a cluster that is not ours.

Its own process with nothing but a kubeconfig: it must ask, tell its story through port-forward, and
take away all that it made.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.harness import PRODUCT_IMAGE, ClusterClient, LocalCluster, eventually
from e2e.harness.cache import REPOSITORY
from e2e.story.cut_trace import COLUMNS
from e2e.story.traffic import SAMPLE

LAST_SECOND = 22
COPIES = 3
"""The quiet start of the sample and its small burst, three times as dense: one scale-up, and back.
"""


@pytest.fixture
def short_trace(tmp_path: Path) -> Path:
    """The sample's first seconds, denser."""
    rows = [row.split(",") for row in SAMPLE.read_text().splitlines()[1:]]
    early = [row for row in rows if float(row[0]) < LAST_SECOND]
    kept = [",".join(row) for row in early for _ in range(COPIES)]
    trace = tmp_path / "trace.csv"
    trace.write_text("\n".join([",".join(COLUMNS), *kept]) + "\n")
    return trace


def demo(cluster: ClusterClient, *arguments: str, **environment: str) -> list[str]:
    """Run the demo in a process of its own; its lines. Fails the test if it fails."""
    assert isinstance(cluster, LocalCluster)
    done = subprocess.run(
        [sys.executable, "-m", "e2e.story.demo", "--cluster", "existing", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=280,
    )
    print(done.stdout)
    assert done.returncode == 0 or environment == {}, done.stdout[-3000:]
    return done.stdout.splitlines()


def everything(cluster: ClusterClient) -> set[str]:
    """Names of all that the demo could leave behind."""
    kinds = "namespaces,crds,clusterroles,clusterrolebindings"
    return set(cluster.kubectl("get", kinds, "-o", "name").stdout.split())


def differences(cluster: ClusterClient, before: set[str]) -> set[str]:
    """What has come or gone since; other tests' namespaces may still be going."""
    return {name for name in everything(cluster) ^ before if not name.startswith("namespace/t-")}


def nodes(cluster: ClusterClient) -> list[dict[str, object]]:
    """What nobody but a node's owner may change."""
    return [
        {
            "labels": node["metadata"]["labels"],
            "spec": node["spec"],
            "allocatable": node["status"]["allocatable"],
        }
        for node in cluster.get("nodes")["items"]
    ]


def test_without_anybody_to_ask_nothing_is_done(cluster: ClusterClient) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("plays the existing cluster on a local one")
    before = everything(cluster)
    lines = demo(cluster, "--image", PRODUCT_IMAGE)
    assert any("Nobody is there to ask" in line for line in lines)
    assert differences(cluster, before) == set()


@pytest.mark.timeout(320)
def test_the_story_is_told_on_an_existing_cluster_and_nothing_is_left(
    cluster: ClusterClient, short_trace: Path, tmp_path: Path
) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("plays the existing cluster on a local one")
    # A node that has just become ready carries its taint for a moment more.
    eventually(lambda: not any("taints" in node["spec"] for node in nodes(cluster)), 60)
    before, nodes_before = everything(cluster), nodes(cluster)
    told = tmp_path / "summary.json"
    demo(
        cluster, "--image", PRODUCT_IMAGE, "--trace", str(short_trace), "--json", str(told), YES="1"
    )
    summary = json.loads(told.read_text())
    assert summary["failed"] == 0
    assert summary["requests"] == len(short_trace.read_text().splitlines()) - 1
    assert summary["scale_ups"] >= 1
    assert summary["scale_downs"] >= 1
    assert summary["gpu_seconds"] == 0
    eventually(lambda: not differences(cluster, before), 30, "all that the demo made is gone")
    assert nodes(cluster) == nodes_before
