"""The response of an engine: its head comes, then its body, which is read or listened to.

Whoever streams listens: `data` is then called from within the transport's own callback, with no
queue and no task switch between the socket and the client's. Whoever reads gets what was kept.
What nobody takes is bounded: the connection is told to wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

HIGH_WATER_BYTES: Final = 256 * 1024
"""Of a body that nobody takes: the engine waits from here on."""


class BrokenOff(ConnectionError):
    """The engine broke off, or what it sends is not HTTP."""


class Listener(Protocol):
    """Who hears a body as it comes."""

    def data(self, data: bytes) -> None:
        """A piece of it. Raises nothing."""
        ...

    def over(self, error: BrokenOff | None) -> None:
        """It is complete, or was broken off. Raises nothing."""
        ...


class Connection(Protocol):
    """What a response needs of the connection that it comes on."""

    def abandon(self) -> None:
        """Drop it, with all that it still brings."""
        ...

    def pause(self) -> None:
        """Read no more for now."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...


class EngineResponse:
    """One response."""

    __slots__ = (
        "_arrived",
        "_connection",
        "_error",
        "_over",
        "_size",
        "_waiter",
        "content_type",
        "listener",
        "on_head",
        "status",
    )

    def __init__(self, connection: Connection) -> None:
        self.status = 0
        self.content_type = "application/json"
        self._connection: Connection | None = connection
        self.listener: Listener | None = None
        """Who hears what comes; None: it is kept."""
        self.on_head: Callable[[int], None] | None = None
        """Hears the status as soon as it is there, in the transport's callback. Raises nothing."""
        self._arrived: deque[bytes] = deque()
        self._size = 0
        self._over = False
        self._error: BrokenOff | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def head(self) -> None:
        """Return when its status and type are known. Raises `BrokenOff`."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._more()

    async def readany(self) -> bytes:
        """What has come of the body; waits for some. Empty: it is over. Raises `BrokenOff`."""
        while not self._arrived:
            if self._error is not None:
                raise self._error
            if self._over:
                return b""
            await self._more()
        return self._taken()

    async def _more(self) -> None:
        """Return when something happened."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def listen(self, listener: Listener) -> None:
        """From now on the listener hears what comes, and first what is here already. It may stop to
        listen while it hears.
        """
        self.listener = listener
        while self._arrived and self.listener is not None:
            listener.data(self._taken())
        if self._over and self.listener is not None:
            self.listener = None
            listener.over(self._error)

    def unlisten(self) -> None:
        """What comes is kept for whoever reads."""
        self.listener = None

    def close(self) -> None:
        """Nothing more is wanted: the engine sees the connection go, unless all has come."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        self._finish(BrokenOff("the response was closed"))

    def accepted(self, status: int) -> None:
        """Its head is there. From the connection."""
        self.status = status
        if self.on_head is not None:
            self.on_head(status)
        self._wake()

    def arrived(self, data: bytes) -> None:
        """From the connection, if nobody listens."""
        self._arrived.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER_BYTES and self._connection is not None:
            self._connection.pause()
        self._wake()

    def ended(self, error: BrokenOff | None) -> None:
        """From the connection."""
        self._connection = None
        self._finish(error)

    def _finish(self, error: BrokenOff | None) -> None:
        if self._over:
            return
        self._over, self._error = True, error
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.over(error)
        self._wake()

    def _taken(self) -> bytes:
        data = self._arrived.popleft()
        self._size -= len(data)
        if self._size <= HIGH_WATER_BYTES and self._connection is not None:
            self._connection.resume()
        return data

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
