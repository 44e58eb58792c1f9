"""Who was given up, with how much work, and whether it was left to finish it."""

from e2e.story.drain import Look, ReplicaLook, victims


def look(second: float, **replicas: tuple[bool, int, bool]) -> Look:
    """Replicas by name: cordoned, in flight, terminating."""
    return Look(
        second=second,
        replicas={
            name: ReplicaLook(cordoned=cordoned, in_flight=in_flight, terminating=terminating)
            for name, (cordoned, in_flight, terminating) in replicas.items()
        },
    )


def test_a_victim_is_followed_from_its_cordon_to_its_end() -> None:
    looks = [
        look(0, a=(False, 2, False), b=(False, 1, False)),
        look(10, a=(False, 2, False), b=(True, 1, False)),
        look(50, a=(False, 2, False), b=(True, 1, False)),
        look(70, a=(False, 2, False), b=(True, 0, False)),
        look(72, a=(False, 2, False), b=(True, 0, True)),
        look(75, a=(False, 2, False)),
    ]
    (victim,) = victims(looks)
    assert (victim.replica, victim.in_flight_when_cordoned) == ("b", 1)
    assert (victim.cordoned_second, victim.idle_second, victim.terminating_second) == (10, 70, 72)
    assert victim.worked_on_seconds == 60
    assert victim.went_in_peace


def test_one_that_was_told_to_go_while_busy_did_not_go_in_peace() -> None:
    looks = [look(0, a=(True, 3, False)), look(5, a=(True, 2, True)), look(9, a=(True, 0, True))]
    (victim,) = victims(looks)
    assert not victim.went_in_peace


def test_one_that_vanished_with_work_did_not_go_in_peace() -> None:
    looks = [look(0, a=(True, 3, False)), look(5, b=(False, 1, False))]
    (victim,) = victims(looks)
    assert victim.idle_second is None
    assert not victim.went_in_peace


def test_a_cordon_that_was_taken_back_makes_no_victim() -> None:
    looks = [look(0, a=(True, 3, False)), look(5, a=(False, 2, False))]
    assert victims(looks) == []


def test_only_the_last_cordon_counts() -> None:
    looks = [
        look(0, a=(True, 3, False)),
        look(5, a=(False, 2, False)),
        look(20, a=(True, 1, False)),
        look(30, a=(True, 0, False)),
    ]
    (victim,) = victims(looks)
    assert (victim.cordoned_second, victim.worked_on_seconds) == (20, 10)
