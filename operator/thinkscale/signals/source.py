"""The gateways of all services, followed; a service's signals on demand, as one reading.

A gateway that was not heard for a while is missing: what it last said of the present (phases,
work) is dropped, what it counted stays, and the reading is marked incomplete, a lower bound.
Counts of gateways that restarted or went are carried on, so that totals are monotone within an
epoch. The epoch is one life of this process: what an earlier one carried is not known here.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from thinkscale.errors import WireFormatError
from thinkscale.model.observation import MergedSignals
from thinkscale.model.reading import Absent, Failed, Reading, Value
from thinkscale.model.signals import GatewaySignals
from thinkscale.signals.merge import merge
from thinkscale.signals.poller import Poller, validated
from thinkscale.signals.totals import Totals, totals_of

SOURCE: Final = "gateways"
MISSING_AFTER_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAddress:
    """One gateway to follow."""

    url: str | None
    """Base URL of its admin port; None: it has no address just now."""
    expected: bool
    """It serves clients, or still finishes their streams: without its word the sum is partial. Once
    expected or heard, a gateway stays expected until it is gone: one that hangs is no longer ready,
    and still has its requests. One that is only starting counts as soon as it is heard.
    """


@dataclass(slots=True, kw_only=True)
class _Followed:
    poller: Poller
    task: asyncio.Task[None]
    url: str
    expected: bool

    @property
    def counts(self) -> bool:
        """Without its word the sum is partial."""
        return self.expected or self.poller.heard is not None


@dataclass(slots=True, kw_only=True)
class _Service:
    gateways: dict[str, _Followed] = field(default_factory=dict)
    carried: Totals = field(default_factory=Totals)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsReading:
    """A service's signals, and how many gateways stand behind them."""

    signals: Reading[MergedSignals]
    expected: int
    heard: int


class GatewaySource:
    """An async context manager that owns all pollers."""

    def __init__(
        self,
        on_jump: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_jump = on_jump
        self._clock = clock
        self._services: dict[str, _Service] = {}
        self._session: aiohttp.ClientSession | None = None
        self.epoch: Final = uuid.uuid4().hex[:12]

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = [g.task for s in self._services.values() for g in s.gateways.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def follow(self, service: str, gateways: Mapping[str, GatewayAddress]) -> None:
        """These are the service's gateways now, by pod name.

        One whose address has changed is asked at the new one; it is still the same gateway.
        """
        known = self._services.setdefault(service, _Service())
        for name in set(known.gateways) - set(gateways):
            self._leave(known, name)
        for name, address in gateways.items():
            before = known.gateways.get(name)
            if before is not None:
                before.expected = before.expected or address.expected
            if address.url is not None and (before is None or before.url != address.url):
                known.gateways[name] = self._start(
                    service, known, address.url, address.expected, before
                )

    def forget(self, service: str) -> None:
        """The service is gone."""
        known = self._services.pop(service, None)
        for gateway in known.gateways.values() if known else ():
            gateway.task.cancel()

    def _start(
        self, service: str, known: _Service, url: str, expected: bool, before: _Followed | None
    ) -> _Followed:
        if self._session is None:
            raise RuntimeError("GatewaySource is used outside its context")
        if before is not None:
            before.task.cancel()
            expected = before.expected

        def carry(previous: dict[str, Any] | None, answer: dict[str, Any]) -> None:
            if previous is not None and previous["bootId"] != answer["bootId"]:
                self._carry(known, previous)

        poller = Poller(
            self._session,
            f"{url}/signals",
            service,
            clock=self._clock,
            on_jump=lambda: self._on_jump(service),
            on_answer=carry,
            before=before.poller if before is not None else None,
        )
        return _Followed(
            poller=poller,
            task=asyncio.create_task(poller.run()),
            url=url,
            expected=expected,
        )

    def _leave(self, known: _Service, name: str) -> None:
        gateway = known.gateways.pop(name)
        gateway.task.cancel()
        if gateway.poller.answer is not None:
            self._carry(known, gateway.poller.answer)

    @staticmethod
    def _carry(known: _Service, last: dict[str, Any]) -> None:
        try:
            known.carried += totals_of(validated(last))
        except WireFormatError:
            return  # it never entered a reading either

    def read(self, service: str) -> SignalsReading:
        """The service's signals now."""
        known = self._services.get(service, _Service())
        now = self._clock()
        carried = known.carried
        heard: list[tuple[GatewaySignals, float]] = []
        missing: list[tuple[str, float]] = []
        for name, gateway in sorted(known.gateways.items()):
            signals, age = self._last_word(gateway.poller, now)
            if signals is not None and age <= MISSING_AFTER_SECONDS:
                heard.append((signals, age))
                continue
            if signals is not None:
                carried += totals_of(signals)
            if gateway.counts:
                missing.append((f"{name}: {gateway.poller.error or 'silent'}", age))
        return SignalsReading(
            signals=_reading(heard, missing, carried),
            expected=len(heard) + len(missing),
            heard=len(heard),
        )

    @staticmethod
    def _last_word(poller: Poller, now: float) -> tuple[GatewaySignals | None, float]:
        """The last good answer and its age; without one, how long it has been awaited."""
        age = now - (poller.born if poller.heard is None else poller.heard)
        if poller.answer is None:
            return None, age
        try:
            return validated(poller.answer), age
        except WireFormatError as error:
            poller.error = str(error)
            return None, age


def _reading(
    heard: Sequence[tuple[GatewaySignals, float]],
    missing: Sequence[tuple[str, float]],
    carried: Totals,
) -> Reading[MergedSignals]:
    if heard:
        return Value(
            value=merge([signals for signals, _ in heard], carried),
            age_seconds=max(age for _, age in heard),
            source=SOURCE,
            complete=not missing,
        )
    if missing:
        return Failed(
            error="; ".join(error for error, _ in missing),
            age_seconds=max(age for _, age in missing),
            source=SOURCE,
        )
    return Absent(reason="no gateway is running yet")
