"""Occupancy at the horizon, queues that drain, and how fractions become replicas."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scaling.builders import make_signals
from tests.unit.scaling.tables import exactly, memoryless
from thinkscale.model.ages import BINS
from thinkscale.scaling import backlog, demand, occupancy
from thinkscale.scaling.backlog import Fluid, Saturation
from thinkscale.scaling.capacity import Design
from thinkscale.scaling.occupancy import InFlight, Projection, Promise

POINT = Design(batch=8.0, token_seconds=0.03, request_tokens=300.0)


def aged(count: int, age_bin: int = 3) -> InFlight:
    ages = [0] * BINS
    ages[age_bin] = count
    return InFlight(output_ages=ages, queued=0)


def test_those_in_flight_fade_and_those_who_come_replace_them():
    found = occupancy.project(aged(10), memoryless(300), 0.03, 2.0, 9.0, 1.0)
    assert found.mean == pytest.approx(15.1, abs=0.1)
    assert found.variance == pytest.approx(10 * 0.368 * 0.632 + 11.4, abs=0.1)
    clumped = occupancy.project(aged(10), memoryless(300), 0.03, 2.0, 9.0, 3.0)
    assert clumped.variance == pytest.approx(10 * 0.368 * 0.632 + 3 * 11.4, abs=0.2)
    assert clumped.clumped == pytest.approx(2 * 11.4, abs=0.1)
    assert found.clumped == 0.0


def test_who_waits_counts_as_new_and_who_is_of_no_known_age_as_one_of_many():
    lengths = exactly(1000)
    assert occupancy.project(
        InFlight(output_ages=(), queued=4), lengths, 0.03, 0.0, 15.0, 1.0
    ).mean == pytest.approx(4.0, rel=0.01)
    waiting = occupancy.project(
        InFlight(output_ages=(), queued=10), memoryless(300), 0.03, 0.0, 9.0, 1.0
    )
    assert waiting.mean == pytest.approx(3.68, abs=0.01)
    assert waiting.variance == pytest.approx(10 * 0.368 * 0.632, abs=0.01)
    assert InFlight(output_ages=(1, 2), queued=4, unknown=8).total == 15
    halfway = occupancy.project(
        InFlight(output_ages=(), queued=0, unknown=4), lengths, 0.03, 0.0, 15.0, 1.0
    )
    assert halfway.mean == pytest.approx(2.0, rel=0.01)


def test_whoever_runs_at_no_known_age_is_not_forgotten():
    found = demand.in_flight(make_signals(thinking=3, queued=2, answering=4))
    assert (sum(found.output_ages), found.unknown, found.queued) == (3, 4, 2)
    assert found.total == 9


def test_in_the_long_run_it_is_rate_times_service_whatever_the_lengths():
    for lengths in (memoryless(300), exactly(300)):
        assert occupancy.project(aged(0), lengths, 0.03, 2.0, 1e5, 1.0).mean == pytest.approx(
            2 * 0.03 * 300, rel=0.01
        )


def test_the_wish_to_shrink_must_hold_now_and_on_the_way():
    """Forty are in flight now and leave before the horizon: that is no reason to shrink now."""
    found = occupancy.need(aged(40), exactly(300), POINT, (0.0, 0.0, 0.0), 60.0, 1.0)
    assert found.up == pytest.approx(0.0, abs=0.01)
    assert found.down == pytest.approx(40 / 8, rel=0.01)


def test_the_wish_to_shrink_looks_at_half_the_horizon_too():
    """A crowd is forecast for halfway and gone by the horizon: of 4 a second 30 s ahead, with
    9 s each, 4·9·(1 - e^(-30/9)) = 34.7 are there then.
    """
    found = occupancy.need(aged(0), memoryless(300), POINT, (0.0, 4.0, 0.0), 60.0, 1.0)
    there = 36 * (1 - math.exp(-30 / 9))
    assert found.up == pytest.approx(0.0, abs=0.01)
    assert found.down == pytest.approx((there + 1.4 * there**0.5) / 8, rel=0.01)


def test_who_may_not_produce_a_token_is_gone_at_the_horizon_whatever_his_age():
    nothing = memoryless(300, 0)
    gone = occupancy.project(
        InFlight(output_ages=(), queued=0, unknown=4), nothing, 0.03, 2.0, 9.0, 1.0
    )
    assert (gone.mean, gone.variance) == (0.0, 0.0)


def test_the_share_of_late_ones_is_a_normal_tail():
    assert Projection(mean=100.0, variance=100.0).late_share(120.0) == pytest.approx(0.0228, 0.01)
    assert Projection(mean=3.0, variance=0.0).late_share(2.0) == 1.0
    assert Projection(mean=3.0, variance=0.0).late_share(3.0) == 0.0
    assert Projection(mean=3.0, variance=0.0).late_share(4.0) == 0.0


def test_a_rate_that_is_hardly_known_makes_the_future_wider():
    sure = occupancy.project(aged(0), memoryless(300), 0.03, 2.0, 9.0, 1.0)
    unsure = occupancy.project(aged(0), memoryless(300), 0.03, 2.0, 9.0, 1.0, rate_variance=0.01)
    assert unsure.mean == sure.mean
    assert unsure.variance - sure.variance == pytest.approx(0.01 * 11.4**2, rel=0.01)


def test_so_much_room_that_few_are_late_when_waiting_within_the_slack_is_not():
    ahead = Projection(mean=183.0, variance=183.0)
    assert Promise(slack_seconds=3.0, objective=0.99).room(ahead, 4.0) == pytest.approx(
        205.8, 0.001
    )
    lax = Promise(slack_seconds=3.0, objective=0.9).room(ahead, 4.0)
    assert lax == pytest.approx(183 + 1.645 * 183**0.5 - 12, rel=0.001)
    clumped = Projection(mean=183.0, variance=283.0, clumped=100.0)
    assert Promise(slack_seconds=3.0, objective=0.99).room(clumped, 4.0) == pytest.approx(
        205.8, 0.001
    )
    # A slack of minutes is a buffer for half of those in flight at most.
    patient = Promise(slack_seconds=600.0, objective=0.99).room(ahead, 4.0)
    assert patient == pytest.approx(183 / 2 + 2.576 * 183**0.5, rel=0.001)


def test_a_short_slack_asks_for_more_than_a_long_one_and_no_promise_for_nothing():
    def punctual(promise: Promise | None) -> float:
        rates = (2.0,) * 3
        return occupancy.need(
            aged(10), memoryless(300), POINT, rates, 60.0, 1.0, promise=promise
        ).punctual

    short = punctual(Promise(slack_seconds=1.0, objective=0.99))
    long = punctual(Promise(slack_seconds=4.0, objective=0.99))
    assert short - long == pytest.approx(3.0 * 2.0 / 8)
    assert punctual(None) == 0.0


def test_where_chance_alone_would_make_more_late_than_may_be_is_told_apart():
    """99 % within 1 s, 2 a second on 8 seats: 1 % is 2.326 sigma, half of it 2.576."""
    promise = Promise(slack_seconds=1.0, objective=0.99)
    found = occupancy.need(aged(10), memoryless(300), POINT, (2.0,) * 3, 60.0, 1.0, promise=promise)
    deviation = (found.ahead.variance - found.ahead.clumped) ** 0.5
    assert found.least == pytest.approx((found.ahead.mean + 2.326 * deviation - 2) / 8, rel=1e-3)
    assert found.punctual - found.least == pytest.approx(0.2495 * deviation / 8, rel=5e-3)
    nobody = occupancy.need(aged(10), memoryless(300), POINT, (2.0,) * 3, 60.0, 1.0)
    assert nobody.least == 0.0


def test_half_a_replica_is_not_worth_one_in_a_large_fleet_and_is_in_a_small_one():
    assert occupancy.to_grow_to(12.4) == 12
    assert occupancy.to_grow_to(12.6) == 13
    assert occupancy.to_grow_to(1.4) == 2
    assert occupancy.to_grow_to(0.02) == 1
    assert occupancy.to_grow_to(0.0) == 0
    assert occupancy.to_shrink_to(11.4) == 12
    assert occupancy.to_shrink_to(11.6) == 13
    assert occupancy.to_shrink_to(0.95) == 2
    assert occupancy.to_grow_to(2.24) == 3
    assert occupancy.to_grow_to(2.2) == 2
    assert occupancy.to_shrink_to(1.85) == 3
    assert occupancy.to_shrink_to(1.8) == 2


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(0, 50), min_size=BINS, max_size=BINS),
    more=st.integers(0, BINS - 1),
    queued=st.integers(0, 100),
    rate=st.floats(0, 20),
    faster=st.floats(0, 5),
    mean=st.floats(50, 4000),
    ahead=st.floats(10, 500),
    slack=st.floats(0.1, 100),
)
def test_more_work_never_asks_for_fewer(counts, more, queued, rate, faster, mean, ahead, slack):
    lengths = memoryless(mean, 8192)

    promise = Promise(slack_seconds=slack, objective=0.99)

    def up(ages: list[int], waiting: int, arrivals: float) -> float:
        flight = InFlight(output_ages=ages, queued=waiting)
        found = occupancy.need(flight, lengths, POINT, (arrivals,) * 3, ahead, 1.0, promise=promise)
        assert found.down >= found.up
        return found.ahead.mean

    plain = up(counts, queued, rate)
    grown = [*counts]
    grown[more] += 1
    assert up(grown, queued, rate) >= plain - 1e-9
    assert up(counts, queued + 1, rate) >= plain - 1e-9
    assert up(counts, queued, rate + faster) >= plain - 1e-9


def test_the_backlog_is_divided_by_the_capacity_that_answering_leaves():
    assert backlog.seconds(11_400, 3, 2, POINT) == pytest.approx(15.5, abs=0.05)
    assert backlog.seconds(100, 1, 8, POINT) is None
    assert backlog.seconds(100, 0, 0, POINT) is None
    assert backlog.seconds(1, 1, 0, Design(batch=8, token_seconds=None, request_tokens=1)) is None


def test_a_queue_within_four_tenths_of_the_slack_is_normal():
    assert not backlog.piled_up(32, 8.0, 10.0)
    assert backlog.piled_up(33, 8.0, 10.0)
    assert backlog.piled_up(1, 0.0, None)


def fluid(**changes) -> Fluid:
    given = {
        "in_flight": 100,
        "arrivals_per_second": 0.0,
        "point": Design(batch=10.0, token_seconds=0.1, request_tokens=100.0),
        "serving": 1,
        "at_once": 1,
        "coming_in_seconds": (),
        "lead_seconds": 1000.0,
    }
    return Fluid(**(given | changes))


def test_a_queue_drains_at_the_rate_of_what_serves():
    assert fluid().queue_at(1, 30.0) == pytest.approx(60.0)
    assert fluid(at_once=2).queue_at(2, 30.0) == pytest.approx(20.0)
    assert fluid(coming_in_seconds=(15.0,)).queue_at(2, 30.0) == pytest.approx(35.0)
    assert fluid(lead_seconds=15.0).queue_at(3, 30.0) == pytest.approx(100 - 15 - 45 - 30)
    assert fluid(in_flight=5).queue_at(1, 30.0) == 0.0
    # None wait at first, 2 a second come for 10 s each and 10 have room: n = 20 - 20·e^(-t/10)
    # fills it after 10·ln 2 = 6.93 s, and then one a second is too many.
    filling = fluid(in_flight=0, arrivals_per_second=2.0)
    assert filling.queue_at(1, 6.0) == 0.0
    assert filling.queue_at(1, 30.0) == pytest.approx(30.0 - 6.93, abs=0.01)


def test_the_smallest_fleet_is_ordered_that_drains_the_queue_soon_after_it_has_come():
    queue = fluid(in_flight=400, arrivals_per_second=2.0, serving=3, at_once=3, lead_seconds=120.0)
    wanted = backlog.replicas_to_drain(queue, 10.0, 20)
    until = 120.0 + 90.0
    assert queue.queue_at(wanted, until) <= 10.0
    assert queue.queue_at(wanted - 1, until) > 10.0
    assert backlog.replicas_to_drain(fluid(in_flight=10**6), 10.0, 20) == 20
    assert backlog.drain_seconds(240.0) == 180.0
    assert backlog.drain_seconds(100.0) == 75.0
    assert backlog.drain_seconds(900.0) == 180.0
    assert backlog.drain_seconds(4.0) == 15.0


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(0, 3000),
    more=st.integers(0, 500),
    rate=st.floats(0, 20),
    serving=st.integers(0, 10),
    lead=st.floats(5, 300),
)
def test_a_longer_queue_never_asks_for_fewer(n, more, rate, serving, lead):
    def wanted(in_flight: int) -> int:
        queue = fluid(
            in_flight=in_flight,
            arrivals_per_second=rate,
            serving=serving,
            at_once=serving,
            lead_seconds=lead,
        )
        return backlog.replicas_to_drain(queue, 10.0, 50)

    assert wanted(n + more) >= wanted(n)


def test_what_replicas_were_seen_to_carry_while_requests_waited_outbids_the_model():
    seen = Saturation()
    for i in range(5):
        seen = backlog.observe(seen, 15.0 * i, 60_000 * i, 2, piled=True)
    assert backlog.measured_tokens_per_second(seen) == pytest.approx(2000)
    point = Design(batch=80.0, token_seconds=80 / 2400, request_tokens=1900.0)
    assert backlog.replicas_by_measurement(seen, point, 8.0) == pytest.approx(7.6)
    assert backlog.replicas_by_measurement(Saturation(), point, 8.0) == 0.0
    slow = Design(batch=80.0, token_seconds=80 / 9000, request_tokens=1900.0)
    assert backlog.replicas_by_measurement(seen, slow, 8.0) == pytest.approx(8 * 1900 / 4500)


def test_a_measurement_needs_a_while_of_waiting_without_a_break():
    seen = Saturation()
    for i in range(30):
        seen = backlog.observe(seen, 15.0 * i, 60_000 * i, 2, piled=True)
    assert len(seen.samples) == backlog.KEPT
    short = Saturation(samples=seen.samples[:3])
    assert backlog.measured_tokens_per_second(short) is None
    # Three of the usual ticks of fifteen seconds are long enough.
    enough = Saturation(samples=seen.samples[:4])
    assert backlog.measured_tokens_per_second(enough) == pytest.approx(2000)
    assert backlog.observe(seen, 460.0, 10**7, 2, piled=False) == Saturation()
    assert len(backlog.observe(seen, 460.0, 5, 2, piled=True).samples) == 1
    assert backlog.observe(seen, seen.samples[-1][0] + 5, 10**7, 2, piled=True) is seen
    assert math.isfinite(backlog.measured_tokens_per_second(seen) or 0.0)
