"""Refusals in vLLM's shape: `{"error": {"message", "type", "param", "code"}}`, traps included.

A missing or malformed field is a "Bad Request" (with a space), a value out of range a
`BadRequestError`. A queue that is full, and a thinking budget that the server was not started for,
answer a *streaming* request with HTTP 200 and the error as an event.
"""


class Refusal(Exception):
    """A request that is not served; `status` is the HTTP status and the error's code."""

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "BadRequestError", param: str | None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"error": {"message": message, "type": kind, "param": param, "code": status}}


class LateRefusal(Refusal):
    """One that is found when the stream has begun."""


def malformed(message: str, param: str | None = None) -> Refusal:
    """A field is missing or of the wrong type, or the body is no JSON."""
    return Refusal(message, kind="Bad Request", param=param)


def out_of_range(message: str, param: str | None = None) -> Refusal:
    """A value that the engine cannot serve."""
    return Refusal(message, param=param)


def no_budgets() -> Refusal:
    """There is neither a parser nor a configuration for thinking budgets."""
    return LateRefusal(
        "thinking_token_budget is set but reasoning_config is not configured. Please set "
        "--reasoning-parser and/or --reasoning-config to use thinking_token_budget.",
        param=None,
    )


def unknown_model(model: str) -> Refusal:
    """404."""
    return Refusal(
        f"The model `{model}` does not exist.", status=404, kind="NotFoundError", param="model"
    )


def shutting_down() -> Refusal:
    """What a draining engine answers to new requests: 500, not 503."""
    return Refusal(
        "cannot schedule new futures after shutdown",
        status=500,
        kind="InternalServerError",
        param=None,
    )


def busy() -> Refusal:
    """The queue is as long as `--max-num-queued-reqs` allows."""
    return Refusal(
        "The engine is currently busy and cannot accept new requests. "
        "Please try again later or on a different instance.",
        status=503,
        kind="Service Unavailable",
        param=None,
    )
