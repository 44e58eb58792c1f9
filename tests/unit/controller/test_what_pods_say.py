"""From a pod's status to the replica that the law sees."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thinkscale.api import names
from thinkscale.controller.pods import Pod, pod_of, replica_of
from thinkscale.model.observation import ReplicaState

BORN = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
STARTUP_SECONDS = 60.0


def stamp(seconds: float) -> str:
    return (BORN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(type_: str, status: str, at: float, reason: str = "") -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "lastTransitionTime": stamp(at),
        "reason": reason,
        "message": "0/2 nodes are available",
    }


def pod(
    *conditions: dict[str, Any], before: Pod | None = None, uid: str = "u", **status: Any
) -> Pod:
    return pod_of(
        {
            "metadata": {
                "name": "p",
                "uid": uid,
                "creationTimestamp": stamp(0),
                "labels": {names.COMPONENT_LABEL: "model"},
            },
            "status": {"conditions": list(conditions)} | status,
        },
        before,
    )


def waiting(reason: str, restarts: int = 0) -> list[dict[str, Any]]:
    state = {"waiting": {"reason": reason, "message": "told"}}
    return [{"name": "engine", "restartCount": restarts, "state": state}]


def state_at(seconds: float, made: Pod) -> tuple[ReplicaState, str]:
    view = replica_of(made, BORN + timedelta(seconds=seconds), STARTUP_SECONDS)
    return view.state, view.trouble_reason


def test_a_pod_that_starts_is_warming_and_then_ready() -> None:
    assert state_at(10, pod()) == (ReplicaState.WARMING, "")
    ready = pod(condition("Ready", "True", 21))
    assert state_at(30, ready) == (ReplicaState.READY, "")
    view = replica_of(ready, BORN + timedelta(seconds=30), STARTUP_SECONDS)
    assert (view.warmed_in_seconds, view.age_seconds) == (21, 30)


def test_a_restart_teaches_nothing_of_the_lead_time() -> None:
    ready = pod(
        condition("Ready", "True", 900),
        containerStatuses=[{"name": "engine", "restartCount": 2, "state": {"running": {}}}],
    )
    view = replica_of(ready, BORN + timedelta(seconds=901), STARTUP_SECONDS)
    assert view.state is ReplicaState.READY
    assert view.warmed_in_seconds is None


def test_a_moment_of_unreadiness_has_a_clock_of_its_own() -> None:
    blip = pod(condition("Ready", "False", 20_000))
    view = replica_of(blip, BORN + timedelta(seconds=20_003), STARTUP_SECONDS)
    assert (view.state, view.state_seconds, view.age_seconds) == (ReplicaState.WARMING, 3, 20_003)


def test_only_the_first_readiness_teaches_the_lead_time() -> None:
    first = pod(condition("Ready", "True", 20))
    blip = pod(condition("Ready", "False", 20_000), before=first)
    again = pod(condition("Ready", "True", 20_010), before=blip)
    view = replica_of(again, BORN + timedelta(seconds=20_020), STARTUP_SECONDS)
    assert (view.warmed_in_seconds, view.state_seconds) == (20, 10)
    other = pod(condition("Ready", "True", 30), before=again, uid="another")
    view = replica_of(other, BORN + timedelta(seconds=31), STARTUP_SECONDS)
    assert view.warmed_in_seconds == 30, "another pod of this name"


def test_a_readiness_too_late_to_be_the_first_teaches_nothing() -> None:
    found = pod(condition("Ready", "True", 20_010))
    view = replica_of(found, BORN + timedelta(seconds=20_020), STARTUP_SECONDS)
    assert view.warmed_in_seconds is None
    running = {"name": "engine", "restartCount": 0, "state": {"running": {"startedAt": stamp(500)}}}
    pulled = pod(condition("Ready", "True", 530), containerStatuses=[running])
    view = replica_of(pulled, BORN + timedelta(seconds=540), STARTUP_SECONDS)
    assert view.warmed_in_seconds == 530, "the image took its time, the start did not"


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("ErrImagePull", "ImagePullFailed"),
        ("ImagePullBackOff", "ImagePullFailed"),
        ("InvalidImageName", "ImagePullFailed"),
        ("CrashLoopBackOff", "CrashLooping"),
        ("CreateContainerConfigError", "CrashLooping"),
    ],
)
def test_a_pod_that_will_not_come_up_is_stuck_and_says_why(reason: str, ours: str) -> None:
    made = pod(condition("Ready", "False", 1), containerStatuses=waiting(reason))
    assert state_at(5, made) == (ReplicaState.STUCK, ours)
    view = replica_of(made, BORN + timedelta(seconds=5), STARTUP_SECONDS)
    assert view.trouble == f"{reason}: told"


def test_creating_a_container_is_no_trouble() -> None:
    made = pod(condition("Ready", "False", 1), containerStatuses=waiting("ContainerCreating"))
    assert state_at(5, made) == (ReplicaState.WARMING, "")


def test_no_node_is_trouble_after_a_moment() -> None:
    made = pod(condition("PodScheduled", "False", 2, "Unschedulable"))
    assert state_at(4, made) == (ReplicaState.WARMING, "")
    assert state_at(8, made) == (ReplicaState.STUCK, "Unschedulable")


def test_a_start_that_takes_longer_than_declared_is_stuck() -> None:
    made = pod(condition("Ready", "False", 5))
    assert state_at(60, made) == (ReplicaState.WARMING, "")
    assert state_at(66, made) == (ReplicaState.STUCK, "StartupTooLong")


def test_what_is_being_deleted_drains_whatever_else_it_is() -> None:
    manifest = {
        "metadata": {
            "name": "p",
            "uid": "u",
            "creationTimestamp": stamp(0),
            "deletionTimestamp": stamp(9),
        },
        "status": {"conditions": [condition("Ready", "True", 5)]},
    }
    assert state_at(10, pod_of(manifest)) == (ReplicaState.DRAINING, "")
