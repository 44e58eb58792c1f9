"""A gateway that ends its streams is still heard, and no longer has a share of the replicas."""

from datetime import UTC, datetime
from typing import Any

import pytest

from thinkscale.api import names
from thinkscale.controller import gather
from thinkscale.controller.pods import pod_of
from thinkscale.controller.store import Service
from thinkscale.model.observation import FleetView
from thinkscale.model.reading import Absent
from thinkscale.signals.source import SignalsReading

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def service(*pods: tuple[str, str, bool]) -> Service:
    """Pods by component, phase, and whether they are being deleted."""
    made = Service()
    for number, (component, phase, is_deleting) in enumerate(pods):
        metadata: dict[str, Any] = {
            "name": f"p{number}",
            "uid": f"u{number}",
            "creationTimestamp": NOW,
            "labels": {names.COMPONENT_LABEL: component},
        }
        if is_deleting:
            metadata["deletionTimestamp"] = NOW
        made.pods[f"p{number}"] = pod_of({"metadata": metadata, "status": {"phase": phase}})
    return made


@pytest.mark.parametrize(
    ("pods", "expected", "sharing"),
    [
        ([("gateway", "Running", False), ("gateway", "Running", True)], 2, 1),
        ([("gateway", "Running", False), ("gateway", "Failed", True)], 1, 1),
        ([("gateway", "Running", False), ("model", "Running", True)], 1, 1),
        ([("gateway", "Running", True)], 0, 0),
    ],
)
def test_only_those_that_take_requests_share_the_replicas(
    pods: list[tuple[str, str, bool]], expected: int, sharing: int
) -> None:
    leaving = gather.gateways_leaving(service(*pods))
    reading = SignalsReading(signals=Absent(reason="none"), expected=expected, heard=expected)
    fleet = FleetView(replicas=(), desired=0, rolling=False)
    seen = gather.observe(fleet, 0.0, reading, "e", leaving)
    assert (seen.gateways_expected, seen.gateways_sharing) == (expected, sharing)
