"""Who may call: turns away what carries no valid API key, before anything of it is read.

The answer is OpenAI's, so that their clients raise what they raise there. It never says what was
presented. `/health` needs no key: load balancers have none.
"""

from typing import Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from thinkscale.gateway.key_source import KeySource
from thinkscale.gateway.tally import Tally

OPEN_PATHS: Final = frozenset({"/health"})
KEY_ID: Final = web.RequestKey("key_id", str)
"""The id of the caller's key; absent where no keys are needed."""


class Guard:
    """The door of the API."""

    def __init__(self, source: KeySource, tally: Tally) -> None:
        self._source = source
        self._tally = tally

    def middleware(self) -> Middleware:
        """For the aiohttp application."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path in OPEN_PATHS:
                return await handler(request)
            authorization = request.headers.get("Authorization")
            holder = self._source.keys.holder(authorization)
            if holder is None:
                self._tally.unauthorized += 1
                return _unauthorized(presented=authorization is not None)
            request[KEY_ID] = holder
            return await handler(request)

        return check


def _unauthorized(*, presented: bool) -> web.Response:
    message = "Incorrect API key provided."
    if not presented:
        message = "You didn't provide an API key: send it as `Authorization: Bearer KEY`."
    error = {
        "message": message,
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    return web.Response(
        body=orjson.dumps({"error": error}),
        status=401,
        content_type="application/json",
        headers={"WWW-Authenticate": "Bearer"},
    )
