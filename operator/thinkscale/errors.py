"""Every error this project raises on purpose.

    ThinkscaleError
    ├── SpecInvalid            the resource cannot be served; names the field and the mend
    ├── SignalsUnavailable     no observation could be had (becomes a `Failed` reading)
    ├── WireFormatError        a peer sent something that is not the agreed schema
    └── ApiError               the Kubernetes API refused or could not be reached
        ├── ApiConflict        409: somebody else changed or owns it
        ├── ApiNotFound        404
        └── ApiUnavailable     timeouts, connection errors, 429 and 5xx: worth trying again

The shell catches them narrowly at its edge and turns them into readings or conditions; the core
never catches.
"""


class ThinkscaleError(Exception):
    """Base of the tree."""


class SpecInvalid(ThinkscaleError):
    """The resource says something that cannot be served."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class SignalsUnavailable(ThinkscaleError):
    """No observation could be had from a source."""


class WireFormatError(ThinkscaleError):
    """A peer sent something that is not the agreed schema."""


class ApiError(ThinkscaleError):
    """The Kubernetes API refused a request or could not be reached."""

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ApiConflict(ApiError):
    """409: somebody else changed or owns the object."""


class ApiNotFound(ApiError):
    """404: no such object."""


class ApiUnavailable(ApiError):
    """Timeouts, connection errors, 429 and 5xx: worth trying again."""
