"""A GPU limit in a simulation: what each member claims, holds and is granted, and who must look
again because of another.

It divides by the operator's own `scaling.sharing`, from the same inputs as `controller.pools`: a
member's claim is its law's decision made as if nothing were shared, a member that has not been
asked yet claims what it has, and GPUs are held from order to removal, warming and draining
included. Grants are made anew whenever somebody asks.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from thinkscale.model.decision import Decision
from thinkscale.scaling.sharing import Grant, Member, share
from thinkscale.simulation.members import Members, Stage
from thinkscale.simulation.scenario import Scenario


class _Standing:
    """What is known of one member."""

    def __init__(self, scenario: Scenario, priority: int, replicas: Members) -> None:
        self.scenario = scenario
        self.priority = priority
        self.replicas = replicas
        self.wished: int | None = None
        self.late_rates: tuple[float, ...] = ()
        self.granted = 0
        """As it last heard."""

    @property
    def held(self) -> tuple[int, int]:
        """Replicas that have GPUs, and those of them that are draining."""
        present = self.replicas.present
        leaving = sum(replica.stage is Stage.DRAINING for replica in present)
        return max(self.replicas.desired + leaving, len(present)), leaving


class Pool:
    """The limit and its members, by name."""

    def __init__(self, gpus: int, priorities: Mapping[str, int]) -> None:
        self.gpus: Final = gpus
        self._priorities = priorities
        self._standings: dict[str, _Standing] = {}
        self._claims = 0
        self._divided_at: tuple[object, ...] = ()

    def join(self, name: str, scenario: Scenario, replicas: Members) -> None:
        """A service takes part."""
        self._standings[name] = _Standing(scenario, self._priorities[name], replicas)

    def granted(self, name: str, decision: Decision) -> int | None:
        """What a member may have now of what it wants; None: all of it."""
        standing = self._standings[name]
        standing.wished, standing.late_rates = decision.wanted, decision.late_rates
        self._claims += 1
        standing.granted = self._grants()[name].now
        return None if standing.granted >= decision.wanted else standing.granted

    def woken(self) -> Iterator[str]:
        """Those whose grant another has changed since they last heard, where that matters."""
        held = tuple(standing.held for standing in self._standings.values())
        if self._divided_at == (self._claims, held):
            return
        self._divided_at = (self._claims, held)
        for name, grant in self._grants().items():
            standing = self._standings[name]
            before, standing.granted = standing.granted, grant.now
            wished = standing.wished
            if wished is not None and before != grant.now and min(before, grant.now) < wished:
                yield name

    def _grants(self) -> dict[str, Grant]:
        return share(self.gpus, (self._member(*item) for item in self._standings.items()))

    def _member(self, name: str, standing: _Standing) -> Member:
        intent, (held, leaving) = standing.scenario.intent, standing.held
        wished = standing.wished
        return Member(
            name=name,
            priority=standing.priority,
            gpus_per_replica=intent.gpus_per_replica,
            min_replicas=intent.min_replicas,
            wished_replicas=max(intent.min_replicas, held) if wished is None else wished,
            held_replicas=held,
            leaving_replicas=leaving,
            late_rates=standing.late_rates,
        )
