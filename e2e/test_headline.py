"""The headline itself, as `make headline` runs it: same requests, same times, two ways to think."""

import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from e2e.harness import PRODUCT_IMAGE, ClusterClient, LocalCluster, fixtures
from e2e.story import headline
from e2e.story.headline_plot import draw
from e2e.story.headline_result import Result, problems, spoken
from e2e.story.places import Place

ATTEMPTS = 2
"""A run on a machine that was busy with something else is void and says nothing: once more then."""


def run_until_it_counts(cluster: LocalCluster, directory: Path) -> Result:
    """The first run that is not void, or the last; each in a namespace of its own."""
    for attempt in range(ATTEMPTS):
        spaces = fixtures.namespace(cluster)
        place = Place(
            cluster=cluster, namespace=next(spaces), image=PRODUCT_IMAGE, gpus=None, local=True
        )
        run_directory = directory / str(attempt)
        run_directory.mkdir()
        result = headline.run(place, cluster, Console(force_terminal=False), run_directory)
        next(spaces, None)
        if not result.void:
            break
    return result


@pytest.mark.timeout(800)
def test_the_fleet_follows_the_thinking_and_not_the_requests(
    cluster: ClusterClient, operator: str, tmp_path: Path
) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("needs addresses of pods and a metrics API of its own: a local cluster")
    result = run_until_it_counts(cluster, tmp_path)
    told = result.to_json()
    print("\n".join(spoken(result)))
    draw(tmp_path / "headline.png", result)
    if target := os.environ.get("JSON"):
        Path(target).write_text(json.dumps(told, indent=1) + "\n")
    assert problems(result) == []
    assert (tmp_path / "headline.png").stat().st_size > 10_000
    assert len({row["requests"] for row in told["fleets"]}) == 1
