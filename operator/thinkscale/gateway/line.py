"""One request's line to the engines: the response that it reads now, and how long it may be silent.

NB: an engine that queues sends its headers at once and then nothing, so the same patience guards
the headers and the body (`tick`, once a second, from outside).
"""

from collections.abc import Callable, Mapping
from typing import Any

from thinkscale.engines.dialect import Route
from thinkscale.gateway.engine_response import EngineResponse
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.upstream import Upstream


class Line:
    """At most one response at a time."""

    __slots__ = (
        "_clock",
        "_connected",
        "_headers",
        "_patience",
        "_response",
        "_seconds",
        "_upstream",
        "heard_at",
        "silent",
    )

    def __init__(
        self,
        upstream: Upstream,
        headers: Mapping[str, str],
        patience: Patience,
        clock: Callable[[], float],
        connected: Callable[[], None],
    ) -> None:
        """`headers`: the client's own that go on to the engine. `connected`: called whenever an
        engine has answered.
        """
        self._upstream = upstream
        self._headers = dict(headers)
        self._patience = patience
        self._clock = clock
        self._connected = connected
        self._seconds = float("inf")
        self.heard_at = 0.0
        """When the engine has said something."""
        self._response: EngineResponse | None = None
        self.silent = False
        """An engine was given up on because it said nothing."""

    @property
    def idle_seconds(self) -> float:
        """How long it may be silent within a stream."""
        return self._patience.idle

    async def post(self, replica: Replica, route: Route, body: dict[str, Any]) -> EngineResponse:
        """Returns when the headers are there; closes what was open before. Raises what is in
        `Unreachable`.
        """
        return await self.accepted(await self.send(replica, route, body))

    async def accepted(self, response: EngineResponse) -> EngineResponse:
        """Returns when its headers are there. Raises what is in `Unreachable`."""
        await response.head()
        self._connected()
        return response

    async def send(self, replica: Replica, route: Route, body: dict[str, Any]) -> EngineResponse:
        """Returns when it is written; closes what was open before. Raises `Unconnected`."""
        self._shut()
        self.silent = False
        response = await self._upstream.send(replica, route, body, self._headers)
        self._response = response
        self.heard(self._clock(), began=False)
        return response

    def heard(self, now: float, *, began: bool) -> None:
        """The engine has said something. `began`: a token was among all that."""
        self.heard_at = now
        self._seconds = self._patience.idle if began else self._patience.first_token

    def tick(self, now: float) -> None:
        """Give up on a silent engine."""
        if now > self.heard_at + self._seconds and self._response is not None:
            self.silent = True
            self._response.close()

    def close(self) -> None:
        """Let go of the engine, which aborts what it still does for this request."""
        self._shut()
        self._seconds = float("inf")

    def _shut(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
