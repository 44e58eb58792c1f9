"""A live service's signals, read from its gateways' admin ports; twice, for the present rate."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

from thinkscale.cli.arguments import Misuse
from thinkscale.errors import WireFormatError
from thinkscale.model.signals import GatewaySignals
from thinkscale.signals.merge import merge
from thinkscale.signals.poller import validated
from thinkscale.signals.totals import Totals
from thinkscale.simulation.live import Live

TIMEOUT_SECONDS: Final = 5.0
MOST_BYTES: Final = 8_000_000


def read(urls: Sequence[str], watch_seconds: float) -> Live:
    """The service now. Rates are those of the watched seconds where enough came in them, else of
    the gateways' lives. Misuse: a gateway does not answer, or with something else.
    """
    before = [_signals(url) for url in urls]
    if watch_seconds > 0:
        time.sleep(watch_seconds)
    after = [_signals(url) for url in urls]
    same = [b.boot_id == a.boot_id for b, a in zip(before, after, strict=True)]
    came = sum(
        a.counters.arrivals - b.counters.arrivals for b, a in zip(before, after, strict=True)
    )
    if watch_seconds > 0 and all(same) and came >= 20:
        rate = came / watch_seconds
    else:
        rate = sum(a.counters.arrivals / max(1.0, a.uptime_seconds) for a in after)
    return Live(signals=merge(after, Totals()), arrivals_per_second=rate)


def _signals(url: str) -> GatewaySignals:
    """One gateway's answer."""
    if not url.startswith(("http://", "https://")):
        raise Misuse(f"{url}: is no URL; give http://HOST:9090, the gateway's admin port")
    address = url.rstrip("/").removesuffix("/signals") + "/signals"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
            raw = answer.read(MOST_BYTES)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Misuse(
            f"{address}: does not answer ({reason}); give the gateway's admin port"
        ) from error
    try:
        parsed: dict[str, Any] = json.loads(raw)
        return validated(parsed)
    except (ValueError, TypeError, WireFormatError) as error:
        raise Misuse(f"{address}: is no gateway's admin port ({error})") from error
