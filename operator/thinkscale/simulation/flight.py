"""One request on its way through a simulated fleet: what it needs, where it is, what became of it.

A plain object with slots, since there are hundreds of thousands in one run and several events in
the life of each. Times are seconds of virtual time; counts are tokens.

While it decodes at a replica its age is not counted but read off the replica's step counter V: it
has generated `V - since` tokens.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thinkscale.simulation.virtual_replica import VirtualReplica

NEVER = -1.0


class Flight:
    """Mutable; belongs to whoever is named by `replica`, else to a gateway's queue."""

    __slots__ = (
        "admitted",
        "answer",
        "arrived",
        "capped",
        "cut",
        "cut_at",
        "decoding",
        "first_answer",
        "first_token",
        "gateway",
        "generated",
        "index",
        "last_step",
        "prompt",
        "replica",
        "since",
        "thinking",
        "tier",
        "withheld",
    )

    def __init__(
        self, index: int, arrived: float, prompt: int, thinking: int, answer: int, gateway: int = 0
    ) -> None:
        self.index = index
        self.arrived = arrived
        self.prompt = prompt
        self.thinking = thinking
        """Tokens of its thought, unless it is cut."""
        self.answer = answer
        self.gateway = gateway
        self.tier = ""
        self.replica: VirtualReplica | None = None
        self.admitted = NEVER
        """When an engine first gave it a seat."""
        self.first_token = NEVER
        self.first_answer = NEVER
        self.generated = 0
        """Tokens out; stands still while it decodes, see `since`."""
        self.decoding = False
        self.since = 0
        """Value of the replica's step counter at which it would have had no token yet."""
        self.last_step = -1
        """Value of the step counter with its last token; negative: it does not decode."""
        self.capped = False
        """Its thought is as long as the declared budget: it does not end by itself."""
        self.cut = False
        """Its thought was closed by load."""
        self.cut_at = -1
        """Output tokens when load closed its thought."""
        self.withheld = 0

    @property
    def output(self) -> int:
        """Tokens that it will have generated in the end."""
        return self.thinking + self.answer

    def start_anew(self) -> None:
        """Its replica died: everything that was generated is lost."""
        self.replica = None
        self.generated = 0
        self.decoding = False
        self.last_step = -1
        self.first_token = NEVER
        self.first_answer = NEVER
