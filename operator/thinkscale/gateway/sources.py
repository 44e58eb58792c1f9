"""Where a gateway learns its configuration, the directive and the replicas: a source tells a sink.

This module has the protocol and the file source (local use, tests); `kube_source` watches the
cluster. A source that fails says nothing, and the gateway serves with what it has. What cannot be
read is logged and skipped: a broken file must not take a working configuration away.
"""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

import orjson
from pydantic import ValidationError

from thinkscale.api.names import CONFIG_KEY, DIRECTIVE_KEY
from thinkscale.gateway.routing import Replica
from thinkscale.model.directive import Directive
from thinkscale.model.gateway_config import GatewayConfig

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.05


class Sink(Protocol):
    """Who wants to know."""

    def configure(self, config: GatewayConfig) -> None:
        """A new configuration."""
        ...

    def direct(self, directive: Directive) -> None:
        """A new directive."""
        ...

    def locate(self, replicas: Iterable[Replica]) -> None:
        """The fleet as it is now."""
        ...


class Source(Protocol):
    """Tells a sink, for ever."""

    async def run(self, sink: Sink) -> None:
        """Run until cancelled."""
        ...


class Runtime:
    """The ConfigMap's two keys, told on when their text changed."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._config = ""
        self._directive = ""

    def update(self, config: str | None, directive: str | None) -> None:
        """The texts as they are now; None: not there (what was known stays)."""
        if config and config != self._config:
            self._config = config
            try:
                self._sink.configure(GatewayConfig.model_validate_json(config))
            except ValidationError as error:
                logger.warning("Ignored a configuration that cannot be read: %s", error)
        if directive and directive != self._directive:
            self._directive = directive
            try:
                self._sink.direct(Directive.model_validate_json(directive))
            except ValidationError as error:
                logger.warning("Ignored a directive that cannot be read: %s", error)


class FileSource:
    """Reads `config.json` and `directive.json` in a directory, and a JSON list of replicas
    (`name`, `url`, `ready`), again whenever they change.
    """

    def __init__(self, config_dir: Path, replicas_file: Path) -> None:
        self._config_dir = config_dir
        self._replicas_file = replicas_file
        self._replicas = ""

    async def run(self, sink: Sink) -> None:
        """Poll the files."""
        runtime = Runtime(sink)
        config, directive = self._config_dir / CONFIG_KEY, self._config_dir / DIRECTIVE_KEY
        files = (config, directive, self._replicas_file)
        known = None
        while True:
            stamps = tuple(_stamp(path) for path in files)
            if stamps != known:
                known = stamps
                runtime.update(_text(config), _text(directive))
                self._update_replicas(sink)
            await asyncio.sleep(POLL_SECONDS)

    def _update_replicas(self, sink: Sink) -> None:
        text = _text(self._replicas_file)
        if not text or text == self._replicas:
            return
        self._replicas = text
        try:
            replicas = [
                Replica(name=item["name"], url=item["url"], ready=item.get("ready", True))
                for item in orjson.loads(text)
            ]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            logger.warning("Ignored a list of replicas that cannot be read: %s", error)
            return
        sink.locate(replicas)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
