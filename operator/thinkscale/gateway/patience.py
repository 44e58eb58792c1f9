"""How long a request waits for engines before it gives up on them: flags of the gateway."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a request waits for engines, in seconds."""

    connect: float = 30.0
    """For a replica that takes its connection: longer than one that died is listed as ready."""
    comment: float = 5.0
    """Between two comments in a stream that waits here; for the first one, too. 0: never."""
    first_token: float = 600.0
    """For the first token of a stage. Engines queue silently."""
    idle: float = 120.0
    """For the next token."""
