"""The control law, pure: `decide(intent, observation, state, now) -> (Decision, State)`.

Readings in, one decision out; see `decide` for the path of one tick and docs/control-law.md for the
law in words. `unattainable` names the SLOs that no number of replicas can meet. Nothing here reads
a clock, or knows Kubernetes or the gateways.
"""

from thinkscale.scaling.attainable import Finding
from thinkscale.scaling.attainable import check as unattainable
from thinkscale.scaling.decide import decide
from thinkscale.scaling.state import State

__all__ = ["Finding", "State", "decide", "unattainable"]
