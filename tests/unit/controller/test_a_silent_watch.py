"""How long the quietest of the pools' watches has been silent: a limit on stale data must show."""

import time

import pytest
from kubernetes.aio.client import Configuration

from thinkscale.controller.pool_watches import PoolWatches
from thinkscale.controller.pools import Pools
from thinkscale.controller.store import Store
from thinkscale.kube.client import KubeClient


async def test_one_silent_watch_of_two_is_what_counts() -> None:
    async with KubeClient(Configuration(host="http://127.0.0.1:9")) as kube:
        watches = PoolWatches(kube, Pools(Store(), lambda key: None))
        (_, pools), (_, namespaces) = watches._watches
        pools.heard, namespaces.heard = time.monotonic() - 700.0, time.monotonic()
        assert watches.quietest_seconds() == pytest.approx(700.0, abs=5.0)
        pools.heard = time.monotonic()
        assert watches.quietest_seconds() < 5.0
