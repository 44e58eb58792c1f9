"""How late the emulated engines were, over all steps of a run."""

import pytest

from e2e.story.lag import buckets, p99_seconds
from thinkscale.emulator.lag import Lag
from thinkscale.emulator.metrics import Metrics

METRICS = """# TYPE thinkscale_emulator_lag_seconds histogram
thinkscale_emulator_lag_seconds_bucket{le="0.001"} 90.0
thinkscale_emulator_lag_seconds_bucket{le="0.004"} 98.0
thinkscale_emulator_lag_seconds_bucket{le="0.008"} 99.0
thinkscale_emulator_lag_seconds_bucket{le="+Inf"} 100.0
thinkscale_emulator_lag_seconds_sum 0.1
"""


def test_the_percentile_is_over_steps_and_not_over_pods() -> None:
    assert p99_seconds(buckets(METRICS)) == 0.008
    punctual = buckets(METRICS.replace("90.0", "9000.0").replace("98.0", "9008.0"))
    assert p99_seconds(buckets(METRICS) + punctual) == 0.001


def test_a_step_later_than_every_edge_counts_as_endlessly_late() -> None:
    late = METRICS.replace("90.0", "0.0").replace("98.0", "0.0").replace("99.0", "0.0")
    assert p99_seconds(buckets(late)) == float("inf")


def test_without_a_step_there_is_no_lag() -> None:
    assert buckets("") == {}
    assert p99_seconds(buckets("")) == 0.0


def test_the_emulator_writes_its_lag_in_the_form_that_is_read_here() -> None:
    lag = Lag()
    lag.add(0.002, 0.03)
    text = Metrics("m", 4096).text({"num_requests_waiting": 0.0}, 1024, 0, lag)
    assert buckets(text).total() == 1
    assert p99_seconds(buckets(text)) == pytest.approx(0.002, rel=0.25)
