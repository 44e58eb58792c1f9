"""The headline itself, as `make headline` runs it: same requests, same times, two ways to think."""

import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from e2e.harness import PRODUCT_IMAGE, ClusterClient, LocalCluster
from e2e.story import headline
from e2e.story.headline_plot import draw
from e2e.story.headline_result import problems, spoken
from e2e.story.places import Place


@pytest.mark.timeout(420)
def test_the_fleet_follows_the_thinking_and_not_the_requests(
    cluster: ClusterClient, operator: str, namespace: str, tmp_path: Path
) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("needs addresses of pods and a metrics API of its own: a local cluster")
    place = Place(cluster=cluster, namespace=namespace, image=PRODUCT_IMAGE, gpus=None, local=True)
    result = headline.run(place, cluster, Console(force_terminal=False), tmp_path)
    told = result.to_json()
    print("\n".join(spoken(result)))
    draw(tmp_path / "headline.png", result)
    if target := os.environ.get("JSON"):
        Path(target).write_text(json.dumps(told, indent=1) + "\n")
    assert problems(result) == []
    assert (tmp_path / "headline.png").stat().st_size > 10_000
    assert len({row["requests"] for row in told["fleets"]}) == 1
