"""The control law, pure: `decide(intent, observation, state, now) -> (Decision, State)`.

Readings in, one decision out; see `decide` for the path of one tick and docs/control-law.md for the
law in words. It never reads a clock, and knows neither Kubernetes nor the gateways.
"""

from thinkscale.scaling.decide import decide
from thinkscale.scaling.state import State

__all__ = ["State", "decide"]
