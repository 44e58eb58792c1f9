"""Waits inside an engine's container until it has nothing left to do: what holds SIGTERM back.

An engine that ends refuses what is new (or aborts what it has), and a budget that the gateway
forces needs a second request to the same replica. So the command polls the engine's own counts on
loopback and returns only when their sum has been zero for a while (a continuation leaves a gap of
milliseconds between two requests). It may use nothing that the engine's image lacks: Python is the
one interpreter that all three have, as the engines are written in it.
"""

from typing import Final

DRAIN_SCRIPT: Final = """\
import re, sys, time, urllib.request
count = re.compile(sys.argv[1] + r"(?:\\{[^}]*\\})? ([0-9.eE+-]+)", re.M)
url, limit, calm = sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
end = time.monotonic() + limit
quiet_since, failures = time.monotonic(), 0
while time.monotonic() < end and failures < 10:
    try:
        text = urllib.request.urlopen(url, timeout=2).read().decode()
        failures = 0
        if sum(float(value) for value in count.findall(text)) > 0:
            quiet_since = time.monotonic()
    except OSError:
        failures += 1
        quiet_since = time.monotonic()
    if time.monotonic() - quiet_since >= calm:
        break
    time.sleep(0.25)
"""
"""An engine that does not answer ten times running is dead: there is nothing to wait for."""

CALM_SECONDS: Final = 4
"""Zero for so long: longer than it takes gateways to see that the replica is going, and than the
gap between a thought that was cut and its continuation.
"""


def drain_command(counts: str, port: int, within_seconds: int) -> tuple[str, ...]:
    """The command; `counts`: a regular expression for the names of the counts in `/metrics`."""
    url = f"http://127.0.0.1:{port}/metrics"
    limits = (str(within_seconds), str(CALM_SECONDS))
    return ("python3", "-c", DRAIN_SCRIPT, f"^(?:{counts})", url, *limits)
