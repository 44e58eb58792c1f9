"""Who may call: turns away what carries no valid API key, before its body is read.

The answer is OpenAI's, so that their clients raise what they raise there. It never says what was
presented. `/health` needs no key: load balancers have none.
"""

from typing import Final

import orjson

from thinkscale.gateway.http.message import Reply, Request
from thinkscale.gateway.key_source import KeySource
from thinkscale.gateway.tally import Tally

OPEN_PATHS: Final = frozenset({"/health"})


class Guard:
    """The door of the API."""

    def __init__(self, source: KeySource, tally: Tally) -> None:
        self._source = source
        self._tally = tally

    def refuses(self, request: Request) -> Reply | None:
        """None: it may pass, and has the id of its key."""
        if request.path in OPEN_PATHS:
            return None
        authorization = request.header(b"authorization")
        request.key_id = self._source.keys.holder(authorization)
        if request.key_id is not None:
            return None
        self._tally.unauthorized += 1
        return _unauthorized(presented=authorization is not None)


def _unauthorized(*, presented: bool) -> Reply:
    message = "Incorrect API key provided."
    if not presented:
        message = "You didn't provide an API key: send it as `Authorization: Bearer KEY`."
    error = {
        "message": message,
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    return Reply(
        status=401,
        body=orjson.dumps({"error": error}),
        headers={"WWW-Authenticate": "Bearer"},
    )
