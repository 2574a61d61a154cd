"""What can go wrong with a request, once for both faces: HTTP status and gRPC code by kind."""

from __future__ import annotations

import re
from enum import Enum

import msgspec

from gristmill.errors import GristmillError


class Kind(Enum):
    """What went wrong."""

    MALFORMED = ("malformed", 400, "INVALID_ARGUMENT", None)
    INVALID = ("invalid", 422, "INVALID_ARGUMENT", None)
    TOO_LARGE = ("too_large", 413, "INVALID_ARGUMENT", None)
    NO_JSON = ("no_json", 415, "INVALID_ARGUMENT", None)
    NOT_FOUND = ("not_found", 404, "NOT_FOUND", None)
    NO_METHOD = ("no_method", 405, "UNIMPLEMENTED", None)
    KEY_IN_USE = ("key_in_use", 422, "ALREADY_EXISTS", None)
    TOO_LATE = ("too_late", 409, "FAILED_PRECONDITION", None)
    FULL = ("full", 503, "RESOURCE_EXHAUSTED", 1)
    """As many orders or requests are open as there may be."""
    LATE = ("deadline", 503, "DEADLINE_EXCEEDED", 1)
    """No answer in time; what was asked may still be done."""
    UNAVAILABLE = ("unavailable", 503, "UNAVAILABLE", 1)
    """A part of the service is being restarted, or the service is stopping."""
    INTERNAL = ("internal", 500, "INTERNAL", None)

    def __init__(self, code: str, status: int, grpc: str, retry_after: int | None) -> None:
        self.code = code
        """The name that clients can rely on."""
        self.status = status
        """The HTTP status."""
        self.grpc = grpc
        """The name of the gRPC status code."""
        self.retry_after = retry_after
        """Seconds after which it makes sense to try again; None if it makes none."""


class ApiError(GristmillError):
    """A request that was not carried out; ``field`` names what was wrong in it, if it was that."""

    def __init__(self, kind: Kind, detail: str, *, field: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.field = field


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document (RFC 9457), with the name of the problem and of the field."""

    title: str
    status: int
    detail: str
    code: str
    field: str = ""
    """The field that was wrong, such as ``items[0].quantity``."""

    @classmethod
    def of(cls, error: ApiError) -> Problem:
        """Describe an error."""
        kind = error.kind
        return cls(kind.code.replace("_", " "), kind.status, error.detail, kind.code, error.field)


_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"required field `(?P<name>[^`]+)`|unknown field `(?P<unknown>[^`]+)`")


def invalid(error: msgspec.ValidationError) -> ApiError:
    """Say which field of a body is wrong, from what msgspec says."""
    found = _PLACE.match(str(error))
    assert found is not None
    path = (found["path"] or "").removeprefix(".")
    if name := _MISSING.search(found["what"]):
        path = f"{path}.{name['name'] or name['unknown']}".removeprefix(".")
    return ApiError(Kind.INVALID, f"{path or 'the body'}: {found['what']}", field=path)
