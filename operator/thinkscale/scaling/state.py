"""The law's memory: bounded, plain, and written as JSON into the service's runtime ConfigMap.

Whoever restarts the operator must find the windows, policies and cordons as they were. Whoever
finds a state of another version, or damaged, starts from nothing: that costs knowledge, and no
replica that serves or is coming, because a fresh memory takes those for its first wish. Stuck ones
may go at once: nothing remembers what they were ordered for.

The parts of the memory belong to the modules that use them; here they are only put together.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pydantic import TypeAdapter, ValidationError

from thinkscale.model.ages import BINS
from thinkscale.scaling.allowance import Allowance
from thinkscale.scaling.arrivals import Arrivals
from thinkscale.scaling.attainment import SloHistory
from thinkscale.scaling.backlog import Saturation
from thinkscale.scaling.calibrate import Calibration
from thinkscale.scaling.latency import Snapshots
from thinkscale.scaling.lead_time import Awaited, LeadTimes
from thinkscale.scaling.length_trend import LengthTrend
from thinkscale.scaling.life_table import Lengths, Table
from thinkscale.scaling.margin import Margin
from thinkscale.scaling.pace import Pace
from thinkscale.scaling.running_prompt import RunningPrompt
from thinkscale.scaling.stabilize import Wishes
from thinkscale.scaling.steps import Changes

VERSION: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that the law remembers from one tick to the next. Instants are Unix seconds."""

    version: int = VERSION
    epoch: str | None = None
    """Of the signals that the totals below were counted in."""
    wanted: int | None = None
    """What the last decision wanted; None: nothing was decided yet."""
    size: int | None = None
    """The workload's size as last seen."""
    busy_at: float | None = None
    """When a request was last in flight, or may have been (the signals were missing)."""
    trusted_at: float | None = None
    """When the signals were last complete and fresh."""
    cordon: Mapping[str, float] = field(default_factory=dict)
    """Cordoned replicas, and since when."""
    ups: Wishes = ()
    downs: Wishes = ()
    changes: Changes = ()
    lead_times: LeadTimes = ()
    awaited: Awaited = ()
    arrivals: Arrivals = field(default_factory=Arrivals)
    lengths: Lengths = field(default_factory=Lengths)
    length_trend: LengthTrend = field(default_factory=LengthTrend)
    running_prompt: RunningPrompt = field(default_factory=RunningPrompt)
    pace: Pace = ()
    calibration: Calibration = field(default_factory=Calibration)
    saturation: Saturation = field(default_factory=Saturation)
    margin: Margin = field(default_factory=Margin)
    allowance: Allowance = field(default_factory=Allowance)
    latency: Snapshots = ()
    slos: Mapping[str, SloHistory] = field(default_factory=dict)

    @classmethod
    def initial(cls) -> Self:
        """A memory of nothing."""
        return cls()

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts, strings and numbers; under 32 kB when written."""
        plain: dict[str, Any] = _CODEC.dump_python(self, mode="json")
        return plain

    @classmethod
    def from_json(cls, plain: object) -> "State":
        """The memory that was written; the initial one if it is of another version or damaged."""
        try:
            json.dumps(plain, allow_nan=False)
            state = _CODEC.validate_python(plain)
        except (ValidationError, ValueError, TypeError, RecursionError):
            return cls.initial()
        whole = _whole(state.lengths.thinking) and _whole(state.lengths.outputs)
        return state if state.version == VERSION and whole else cls.initial()


def _whole(table: Table) -> bool:
    """Every row has its bins."""
    rows: list[tuple[float, ...]] = [
        table.exposure_tokens,
        table.ends,
        table.slow_exposure_tokens,
        table.slow_ends,
    ]
    if table.counted_exposure is not None:
        rows += [table.counted_exposure, table.counted_ends]
    return all(len(row) == BINS for row in rows)


_CODEC: Final = TypeAdapter(State)
