"""Conditions change the way everybody's tools expect."""

from datetime import UTC, datetime, timedelta

from thinkscale.api import conditions
from thinkscale.api.conditions import ConditionReason, ConditionType
from thinkscale.api.status import ReasoningServiceStatus

T0 = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
READY = ConditionType.READY


def test_at_first_every_condition_is_unknown_rather_than_missing() -> None:
    made = conditions.initial(3, T0)
    assert [c.type for c in made] == [str(t) for t in ConditionType]
    assert {c.status for c in made} == {"Unknown"}
    assert {c.observed_generation for c in made} == {3}


def test_the_time_moves_only_when_the_status_flips() -> None:
    made = conditions.initial(1, T0)
    t1, t2, t3 = (T0 + timedelta(seconds=s) for s in (1, 2, 3))
    made = conditions.put(made, READY, True, "Serving", "one", generation=1, now=t1)
    made = conditions.put(made, READY, True, "Asleep", "two", generation=2, now=t2)
    ready = conditions.get(made, READY)
    assert ready is not None
    assert (ready.reason, ready.message, ready.observed_generation) == ("Asleep", "two", 2)
    assert ready.last_transition_time == t1
    made = conditions.put(made, READY, False, "NoReadyReplica", "", generation=2, now=t3)
    ready = conditions.get(made, READY)
    assert ready is not None
    assert (ready.status, ready.last_transition_time) == ("False", t3)


def test_others_are_left_alone_and_the_order_is_stable() -> None:
    made = conditions.put(
        (), ConditionType.SLOS_MET, "Unknown", "NoRequests", "", generation=1, now=T0
    )
    made = conditions.put(made, READY, True, "Serving", "", generation=1, now=T0)
    assert [c.type for c in made] == ["Ready", "SLOsMet"]
    again = conditions.put(made, READY, True, "Serving", "", generation=1, now=T0)
    assert again == made


def test_conditions_of_other_managers_survive_at_the_end() -> None:
    foreign = conditions.Condition(
        type="Audited", status="True", reason="Fine", last_transition_time=T0
    )
    made = conditions.put((foreign,), READY, True, "Serving", "", generation=1, now=T0)
    assert [c.type for c in made] == ["Ready", "Audited"]


def test_a_message_that_the_crd_would_refuse_is_cut() -> None:
    made = conditions.put((), READY, False, "Failed", "x" * 5000, generation=1, now=T0)
    assert len(made[0].message) == 1024
    assert made[0].message.endswith("…")


def test_what_was_never_set_is_none() -> None:
    assert conditions.get((), READY) is None


def test_they_travel_as_kubernetes_spells_them() -> None:
    made = conditions.put(
        (), READY, True, ConditionReason.SERVING, "All well.", generation=1, now=T0
    )
    status = ReasoningServiceStatus(conditions=made)
    assert status.model_dump(
        by_alias=True, exclude_none=True, exclude_defaults=True, mode="json"
    ) == {
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Serving",
                "message": "All well.",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-11-25T12:00:00Z",
            }
        ]
    }


def test_reasons_are_what_the_crd_takes() -> None:
    for reason in ConditionReason:
        assert reason.value.isalnum()
        assert reason.value[0].isupper()
