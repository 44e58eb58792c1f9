"""Talks to the endpoint that is measured: OpenAI's API, and `/tokenize` where there is one.

Every failure is one of three, and who asks decides what to do: refused for good (`Refused`), not
now (`Busy`, with the wait that the endpoint asked for), or lost on the way (`Lost`, and whether it
may have been worked on). The API key goes into one header and nowhere else.
"""

import asyncio
import email.utils
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

from thinkscale.engines.dialect import CLOSING, THINK_CLOSE, THINK_OPEN, Tags
from thinkscale.engines.vllm_requests import VllmRequests
from thinkscale.errors import ThinkscaleError
from thinkscale.model.gateway_config import NUDGE
from thinkscale.quality.calls import Call, Reply, ReplyError, reply_of

KEEPALIVE_SECONDS: Final = 4.0
"""vLLM closes idle connections after five."""
CONNECT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 3600.0
SIDE_CALL: Final = aiohttp.ClientTimeout(total=30.0)
SHOWN_CHARACTERS: Final = 300
NOT_NOW: Final = frozenset({408, 429, 502, 503, 504, 529})
UNSENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class EndpointError(ThinkscaleError):
    """The endpoint cannot be used; the message is one line."""


class Refused(EndpointError):
    """It will refuse this request again."""


class Busy(Exception):
    """It may take this request later."""

    def __init__(self, reason: str, after_seconds: float | None) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds
        """As the endpoint asked; None: it did not say."""


class Lost(Exception):
    """No answer came."""

    def __init__(self, reason: str, *, processed: bool) -> None:
        super().__init__(reason)
        self.processed = processed
        """It may have been worked on, and paid for."""


class Endpoint:
    """A context manager around its connections."""

    def __init__(self, url: str, api_key: str | None) -> None:
        """`url`: with or without `/v1`."""
        self.root = url.rstrip("/").removesuffix("/v1")
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
            headers={"Content-Type": "application/json", **headers},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def model(self) -> str:
        """The one model that it serves. EndpointError: several, none, or no answer."""
        try:
            async with self._session.get(f"{self.root}/v1/models", timeout=SIDE_CALL) as response:
                if response.status != 200:
                    raise EndpointError(_refusal(response.status, await response.text()))
                payload = orjson.loads(await response.read())
            names = [entry["id"] for entry in payload["data"]]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EndpointError(f"{self.root} cannot be reached ({_why(error)})") from error
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise EndpointError(
                f"{self.root}/v1/models is not OpenAI's list of models; give --model"
            ) from error
        if len(names) != 1:
            shown = ", ".join(names[:10]) or "none"
            raise EndpointError(f"the endpoint serves {shown}; choose one with --model")
        return str(names[0])

    async def tags(self, model: str) -> Tags:
        """How the model writes the tags; empty where the endpoint does not tell."""
        opening, closing_tag, closing, nudge = await asyncio.gather(
            *(self._tokenize(text, model) for text in (THINK_OPEN, THINK_CLOSE, CLOSING, NUDGE))
        )
        ids = [answer.get("tokens") or [] for answer in (opening, closing_tag, closing, nudge)]
        context = opening.get("max_model_len")
        return Tags(
            open_id=ids[0][0] if len(ids[0]) == 1 else None,
            close_id=ids[1][0] if len(ids[1]) == 1 else None,
            closing_ids=tuple(ids[2]),
            nudge_ids=tuple(ids[3]),
            context_tokens=context if isinstance(context, int) else None,
        )

    async def _tokenize(self, text: str, model: str) -> Mapping[str, Any]:
        body = orjson.dumps(VllmRequests().tokenize_body(text, model=model))
        try:
            async with self._session.post(
                f"{self.root}/tokenize", data=body, timeout=SIDE_CALL
            ) as response:
                answer = orjson.loads(await response.read()) if response.status == 200 else {}
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            return {}
        return answer if isinstance(answer, dict) else {}

    async def ask(self, call: Call, model: str) -> Reply:
        """Send a call and wait for the whole answer. Refused, Busy, Lost."""
        body = orjson.dumps({"model": model, **call.body})
        try:
            async with self._session.post(f"{self.root}{call.route}", data=body) as response:
                if response.status == 200:
                    return reply_of(orjson.loads(await response.read()))
                text = await response.text(errors="replace")
                after = retry_after(response.headers.get("Retry-After"), time.time())
                status = response.status
        except UNSENT as error:
            raise Lost(_why(error), processed=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise Lost(_why(error), processed=True) from error
        except ReplyError as error:
            raise Refused(str(error)) from error
        if status in NOT_NOW:
            raise Busy(_refusal(status, text), after)
        if status >= 500:
            raise Lost(_refusal(status, text), processed=True)
        raise Refused(_refusal(status, text))


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait, from seconds or a date; None: there is none that can be read."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now)
    except ValueError:
        return None


def _refusal(status: int, text: str) -> str:
    """An error in one line: OpenAI's message if it is there."""
    shown = text
    try:
        payload = orjson.loads(text)
        error = payload.get("error", payload) if isinstance(payload, dict) else payload
        shown = error["message"] if isinstance(error, dict) and "message" in error else text
    except orjson.JSONDecodeError:
        pass
    return f"HTTP {status}: {' '.join(str(shown).split())[:SHOWN_CHARACTERS]}"


def _why(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
