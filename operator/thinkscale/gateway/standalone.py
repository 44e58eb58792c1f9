"""Model servers by their URLs as a source: one command in front of one vLLM, without a cluster.

The configuration comes from flags; what it lacks, the model's name, the servers tell. Health is
probed, since nobody else does it here: a server that refuses connections is not ready at once, one
that is merely slow after the third time, and one that comes back is ready with the next probe. A
server that serves another model is never ready, where its engine lists the name that clients send.
Engines answer `/health` while they load nothing and queue everything, so a full one stays ready.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from thinkscale.gateway.routing import Replica
from thinkscale.gateway.sources import Sink
from thinkscale.model.gateway_config import GatewayConfig

logger = logging.getLogger(__name__)

PROBE_SECONDS: Final = 1.0
PROBE_TIMEOUT: Final = aiohttp.ClientTimeout(total=3.0)
PATIENCE: Final = 3
"""Probes in a row that may fail before a server that takes connections is not ready."""


@dataclass(slots=True)
class _Server:
    """One model server, as the probes find it."""

    name: str
    url: str
    ready: bool = False
    failures: int = 0
    trouble: str = ""

    def replica(self) -> Replica:
        return Replica(name=self.name, url=self.url, ready=self.ready)


class UpstreamSource:
    """Tells the flags' configuration, and the servers as they come and go."""

    def __init__(
        self,
        config: GatewayConfig,
        upstreams: Sequence[str],
        *,
        health_path: str,
        serves_by_name: bool = True,
    ) -> None:
        """`config`: an empty model means the one that the servers tell. `upstreams`: URLs.
        `serves_by_name`: the dialect's; without it nothing is told by the models that are listed.
        """
        self._config = config
        self._health_path = health_path
        self._serves_by_name = serves_by_name
        self._servers = [_Server(name=urlsplit(url).netloc, url=url) for url in upstreams]

    async def run(self, sink: Sink) -> None:
        """Probe for ever."""
        for server in self._servers:
            server.ready, server.failures, server.trouble = False, 0, ""
        async with aiohttp.ClientSession(timeout=PROBE_TIMEOUT) as session:
            config = self._config
            if not config.model:
                config = config.model_copy(update=named(await self._ask_model(session)))
            sink.configure(config)
            probes = (self._probe(session, server, config.model) for server in self._servers)
            await asyncio.gather(*probes)
            sink.locate(self._fleet())
            async with asyncio.TaskGroup() as group:
                for server in self._servers:
                    group.create_task(self._follow(session, server, config.model, sink))

    async def _follow(
        self, session: aiohttp.ClientSession, server: _Server, model: str, sink: Sink
    ) -> None:
        """Probe one server for ever; one that is silent does not hold up the others."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            before = server.ready
            await self._probe(session, server, model)
            if server.ready != before:
                sink.locate(self._fleet())

    def _fleet(self) -> list[Replica]:
        return [server.replica() for server in self._servers]

    async def _ask_model(self, session: aiohttp.ClientSession) -> str:
        """The model of the first server, in the flags' order, that tells one."""
        while True:
            asked = [_models(session, server.url) for server in self._servers]
            answers = await asyncio.gather(*asked)
            for server, answer in zip(self._servers, answers, strict=True):
                if isinstance(answer, str):
                    _complain(server, answer)
                elif answer:
                    logger.info("Serves the model of the server url=%s", server.url)
                    return answer[0]
            await asyncio.sleep(PROBE_SECONDS)

    async def _probe(self, session: aiohttp.ClientSession, server: _Server, model: str) -> None:
        trouble = await self._health(session, server.url)
        if not trouble and not server.ready and self._serves_by_name:
            trouble = await _mismatch(session, server.url, model)
        if not trouble:
            if not server.ready:
                logger.info("Ready url=%s", server.url)
            server.ready, server.failures, server.trouble = True, 0, ""
            return
        server.failures += 1
        if trouble == UNCONNECTED or server.failures >= PATIENCE:
            server.ready = False
        if not server.ready:
            _complain(server, trouble)

    async def _health(self, session: aiohttp.ClientSession, url: str) -> str:
        """What is wrong with a server; empty: nothing."""
        try:
            async with session.get(url + self._health_path) as response:
                return "" if response.status == 200 else f"it answers {response.status}"
        except aiohttp.ClientConnectorError:
            return UNCONNECTED
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"it does not answer: {type(error).__name__}"


UNCONNECTED: Final = "it takes no connection"


def named(model: str) -> dict[str, str]:
    """The fields of a configuration that follow from the model's name."""
    return {"model": model, "service": f"local/{model}"}


async def _mismatch(session: aiohttp.ClientSession, url: str, model: str) -> str:
    """Why a server cannot serve this model; empty: it can, or does not tell."""
    models = await _models(session, url)
    if isinstance(models, str) or model in models:
        return ""
    return f"it serves {', '.join(models) or 'no model'} and not {model}"


async def _models(session: aiohttp.ClientSession, url: str) -> list[str] | str:
    """The models that a server lists, or why they are not known."""
    try:
        async with session.get(url + "/v1/models") as response:
            if response.status != 200:
                return f"/v1/models answers {response.status}: say which model with --model"
            listed = orjson.loads(await response.read())
            return [str(card["id"]) for card in listed["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "/v1/models is no list of models: say which model with --model"
    except aiohttp.ClientConnectorError:
        return UNCONNECTED
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return f"it does not answer: {type(error).__name__}"


def _complain(server: _Server, trouble: str) -> None:
    """Once for each trouble."""
    if server.trouble != trouble:
        server.trouble = trouble
        logger.warning("Not ready url=%s: %s", server.url, trouble)
