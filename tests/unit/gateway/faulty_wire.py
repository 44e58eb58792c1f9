"""A TCP wire between a gateway and an engine that breaks in the middle of a stream, in one of the
ways in which wires do; the engine behind it is a real process.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK_END = re.compile(rb"\n\n\r\n")
"""The engine writes one or two events a chunk."""
OVERSIZED_BYTES = 17 * 1024 * 1024


class Wire:
    """One address in front of an engine; `arm` decides what becomes of the next stream."""

    def __init__(self, port: int) -> None:
        self._engine_port = port
        self._server: asyncio.Server | None = None
        self._fault = ""
        self._after = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def arm(self, fault: str, after: int) -> None:
        """The next stream breaks behind so many of the engine's writes, exactly."""
        self._fault, self._after = fault, after

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, near: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far, into = await asyncio.open_connection("127.0.0.1", self._engine_port)
            up = asyncio.create_task(self._up(near, into))
            try:
                await self._down(far, out)
            finally:
                up.cancel()
                into.close()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            out.close()
            self._tasks.discard(task)

    async def _up(self, near: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
        while data := await near.read(65536):
            into.write(data)
        into.close()

    async def _down(self, far: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        before = 0
        while data := await far.read(65536):
            ends = [found.end() for found in re.finditer(CHUNK_END, data)]
            if not self._fault or before + len(ends) <= self._after:
                before += len(ends)
                out.write(data)
                await out.drain()
                continue
            left = self._after - before
            at = ends[left - 1] if left else 0
            out.write(data[:at])
            await out.drain()
            fault, self._fault = self._fault, ""
            await self._break(fault, data[at:], out)
            if fault != "duplicated":
                return

    async def _break(self, fault: str, data: bytes, out: asyncio.StreamWriter) -> None:
        """The data begins with an HTTP chunk."""
        if fault == "cut":
            out.transport.abort()
        elif fault == "cut behind an event":
            out.write(data[: data.index(b"\n\n") + 2])
            await asyncio.sleep(0.1)  # it has been read
            out.transport.abort()
        elif fault == "half-closed":
            out.write_eof()
            await asyncio.sleep(30)
        elif fault == "stalled":
            await asyncio.sleep(30)
        elif fault == "garbled":
            out.write(data.replace(b'{"', b"\xff["))
            await asyncio.sleep(30)
        elif fault == "duplicated":
            out.write(data + data)
        elif fault == "oversized":
            piece = b"data: " + b"x" * 65530
            for _ in range(OVERSIZED_BYTES // len(piece)):
                out.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await out.drain()
            await asyncio.sleep(30)


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Wire]:
    """A wire to the engine at this port."""
    wire = Wire(port)
    await wire.open()
    try:
        yield wire
    finally:
        await wire.close()
