"""The quality debt of the last day: counted once, kept over restarts, never guessed."""

from datetime import UTC, datetime, timedelta

from thinkscale.controller import debt
from thinkscale.controller.debt import Debt, Owed
from thinkscale.model.ages import BINS
from thinkscale.model.observation import MergedSignals, Observation
from thinkscale.model.reading import Absent, Reading, Value
from thinkscale.model.signals import (
    BudgetSignals,
    Counters,
    Histogram,
    LifeTableCounts,
    PhaseCounts,
)

NOON = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


def told(
    cut: int, withheld: int, *, points: int = 0, epoch: str = "e", complete: bool = True
) -> Observation:
    merged = MergedSignals(
        phases=PhaseCounts(),
        held=0,
        oldest_held_seconds=0,
        thinking_ages=(0,) * BINS,
        life_table=LifeTableCounts(),
        slos={},
        counters=Counters(),
        ttfa_seconds=Histogram(),
        ttft_seconds=Histogram(),
        fastest_token_seconds=None,
        replicas={},
        budget=BudgetSignals(
            cut_by_load=cut, withheld_tokens=withheld, withheld_millipoints=1000 * points
        ),
    )
    return observation(Value(value=merged, age_seconds=0, source="g", complete=complete), epoch)


def observation(signals: Reading[MergedSignals], epoch: str = "e") -> Observation:
    return Observation(
        fleet=Absent(reason="not looked at"),
        signals=signals,
        epoch=epoch,
        gateways_expected=1,
        gateways_heard=1,
    )


def after(*seen: tuple[float, Observation], start: Debt | None = None) -> Debt:
    """The debt after these observations, each so many hours after noon."""
    made = start or Debt()
    for hours, each in seen:
        made = debt.observe(made, each, NOON + timedelta(hours=hours))
    return made


def test_the_first_look_is_the_baseline() -> None:
    assert debt.owed(after((0, told(70, 7000))), NOON) == Owed()


def test_what_was_cut_since_is_owed_for_a_day() -> None:
    made = after((0, told(70, 7000)), (0.1, told(72, 7300)), (5, told(75, 7900)))
    assert debt.owed(made, NOON + timedelta(hours=5)) == Owed(cut=5, withheld_tokens=900)
    assert debt.owed(made, NOON + timedelta(hours=24)) == Owed(cut=3, withheld_tokens=600)
    assert debt.owed(made, NOON + timedelta(hours=29)) == Owed()


def test_the_expected_score_that_cuts_have_lost_is_owed_too() -> None:
    made = after((0, told(70, 7000, points=40)), (1, told(72, 7300, points=57)))
    assert debt.owed(made, NOON) == Owed(cut=2, withheld_tokens=300, points=17.0)
    more = after((1.2, told(73, 7400, points=60)), start=made)
    assert debt.owed(more, NOON) == Owed(cut=3, withheld_tokens=400, points=20.0)


def test_hours_that_were_kept_before_scores_were_counted_are_not_forgiven() -> None:
    kept = debt.to_json(after((0, told(70, 7000)), (1, told(72, 7300))))
    old = kept.replace(",300,0]", ",300]")
    assert old != kept
    assert debt.owed(debt.from_json(old), NOON) == Owed(cut=2, withheld_tokens=300)


def test_totals_that_began_anew_are_a_new_baseline() -> None:
    made = after((0, told(70, 7000)), (1, told(71, 7100)), (2, told(3, 300, epoch="f")))
    assert debt.owed(made, NOON + timedelta(hours=2)) == Owed(cut=1, withheld_tokens=100)
    assert debt.owed(after((3, told(4, 420, epoch="f")), start=made), NOON) == Owed(
        cut=2, withheld_tokens=220
    )


def test_a_gateway_that_is_missing_for_a_while_owes_nothing_twice() -> None:
    made = after(
        (0, told(70, 7000)),
        (1, told(20, 2000, complete=False)),
        (2, observation(Absent(reason="none"))),
        (3, told(71, 7100)),
    )
    assert debt.owed(made, NOON) == Owed(cut=1, withheld_tokens=100)


def test_it_survives_a_restart_and_damage_costs_only_knowledge() -> None:
    made = after((0, told(70, 7000)), (1, told(72, 7300)))
    assert debt.from_json(debt.to_json(made)) == made
    assert debt.from_json("{") == debt.from_json("{}") == Debt()


def test_it_stays_small() -> None:
    made = Debt()
    for hour in range(200):
        made = debt.observe(made, told(hour * 100, hour * 10**6), NOON + timedelta(hours=hour))
    assert len(made.hours) == 24
    assert len(debt.to_json(made)) < 700
