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
from thinkscale.scaling.attainment import SloHistory
from thinkscale.scaling.latency import Snapshots
from thinkscale.scaling.lead_time import Awaited, LeadTimes
from thinkscale.scaling.life_table import Lengths
from thinkscale.scaling.stabilize import Wishes
from thinkscale.scaling.steps import Changes
from thinkscale.scaling.traffic import Traffic

VERSION: Final = 1


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
    traffic: Traffic = ()
    lengths: Lengths = field(default_factory=Lengths)
    latency: Snapshots = ()
    slos: Mapping[str, SloHistory] = field(default_factory=dict)
    trim: float = 1.0
    """The margin that tail latency asked for."""
    trimmed_at: float | None = None

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
        sizes = {len(state.lengths.exposure_tokens), len(state.lengths.ends)}
        if state.lengths.counted_exposure is not None:
            sizes |= {len(state.lengths.counted_exposure), len(state.lengths.counted_ends)}
        return state if state.version == VERSION and sizes == {BINS} else cls.initial()


_CODEC: Final = TypeAdapter(State)
