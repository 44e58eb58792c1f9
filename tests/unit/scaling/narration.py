"""Tell the law a story tick by tick; each tick goes through JSON, as a restart would."""

import json

from tests.unit.scaling.builders import at, make_fleet, make_intent, observe
from thinkscale.model.decision import Decision
from thinkscale.model.intent import Intent
from thinkscale.model.observation import FleetView, MergedSignals, Observation
from thinkscale.model.reading import Reading
from thinkscale.scaling import State, decide


class Story:
    """One service over time."""

    def __init__(self, intent: Intent | None = None) -> None:
        self.intent = intent or make_intent()
        self.state = State.initial()
        self.decision: Decision | None = None

    def tick(
        self,
        second: float,
        fleet: FleetView | int,
        signals: MergedSignals | Reading[MergedSignals],
        *,
        age: float = 0.5,
        complete: bool = True,
        epoch: str = "epoch-1",
    ) -> Decision:
        """Observe and decide; a number for the fleet means that many ready replicas."""
        view = make_fleet(fleet) if isinstance(fleet, int) else fleet
        return self.see(second, observe(view, signals, age=age, complete=complete, epoch=epoch))

    def see(self, second: float, observation: Observation) -> Decision:
        """Decide about an observation."""
        self.decision, state = decide(self.intent, observation, self.state, at(second))
        self.state = State.from_json(json.loads(json.dumps(state.to_json())))
        assert self.state == state
        return self.decision
