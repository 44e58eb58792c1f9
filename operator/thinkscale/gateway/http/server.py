"""Listens, keeps the connections, and sweeps out those that have been silent for too long."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Protocol

from thinkscale.gateway.http.connection import Connection
from thinkscale.gateway.http.message import Date, Reply, Request

SWEEP_SECONDS: Final = 5.0
HEAD_SECONDS: Final = 60.0
"""From the first byte of a head to its last."""
BODY_SILENCE_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 650.0
"""Longer than the load balancers in front keep a connection (Google's: 600 s): who closes first
must be they, else they send a request into a closing connection.
"""
UNTAKEN_SECONDS: Final = 60.0
"""That a finished response may lie here without its client taking any of it."""

LAST_SECONDS: Final = 10.0
"""For the rest of a finished response when the server closes."""


class Handler(Protocol):
    """Who answers."""

    async def __call__(self, request: Request, connection: Connection) -> Reply | None:
        """The reply; None: it was written already, as a stream."""
        ...


class HttpServer:
    """One port."""

    def __init__(
        self,
        handler: Handler,
        refusal: Callable[[int, str], Reply],
        *,
        door: Callable[[Request], Reply | None] = lambda _: None,
        epoch: Callable[[], int] = lambda: 0,
        closing: Callable[[], bool] = lambda: False,
    ) -> None:
        """`door`: refuses a request by its head. `epoch`: a number; connections made before it grew
        are closed with their next response. `closing`: all of them are.
        """
        self.handle = handler
        self.refusal = refusal
        self.door = door
        self._epoch = epoch
        self._closing = closing
        self._date = Date()
        self.date = self._date.line
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._untaken: dict[Connection, tuple[int, float]] = {}
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int) -> int:
        """Returns the port. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, loop), host, port, backlog=1024
        )
        self._sweep()
        return int(self._server.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        """No new connection is taken; those that are there go on."""
        if self._server is not None:
            self._server.close()

    async def close(self, patience_seconds: float = 1.0) -> None:
        """End everything: idle connections at once, those in use after this long. A client has
        `LAST_SECONDS` to take what was answered.
        """
        self.stop_listening()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in tuple(self._connections):
            if not connection.busy:
                connection.close()
        await self._emptied(patience_seconds)
        for connection in tuple(self._connections):
            connection.cancel()
        await self._emptied(LAST_SECONDS)
        for connection in tuple(self._connections):
            connection.abort()

    async def _emptied(self, seconds: float) -> None:
        """Return when no connection is left, or after so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()

    # What connections call.

    def closes(self, connection: Connection) -> bool:
        """The response that begins now is the connection's last."""
        return self._closing() or self._epoch() > connection.epoch

    def made(self, connection: Connection) -> None:
        """It is open."""
        connection.epoch = self._epoch()
        self._connections.add(connection)
        self._empty.clear()

    def lost(self, connection: Connection) -> None:
        """It is closed."""
        self._connections.discard(connection)
        self._untaken.pop(connection, None)
        if not self._connections:
            self._empty.set()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)
        now = loop.time()
        for connection in tuple(self._connections):
            self._look(connection, now)

    def _look(self, connection: Connection, now: float) -> None:
        silent = now - connection.heard_at
        reading = not connection.paused
        begun_at = connection.begun_at
        if reading and begun_at is not None and now - begun_at > HEAD_SECONDS:
            connection.refuse(408, f"the request's head took longer than {HEAD_SECONDS:.0f} s")
        elif reading and connection.reading_body and silent > BODY_SILENCE_SECONDS:
            connection.refuse(408, f"nothing of the body came for {BODY_SILENCE_SECONDS:.0f} s")
        elif not connection.handling and self._stuck(connection, now):
            connection.abort()
        elif not connection.busy and silent > IDLE_SECONDS:
            connection.close()

    def _stuck(self, connection: Connection, now: float) -> bool:
        transport = connection.transport
        left = transport.get_write_buffer_size() if transport is not None else 0
        if not left:
            self._untaken.pop(connection, None)
            return False
        before, since = self._untaken.get(connection, (left, now))
        self._untaken[connection] = left, since if left == before else now
        return left == before and now - since > UNTAKEN_SECONDS
