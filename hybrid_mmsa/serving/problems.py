"""What can be wrong with a request, as problem+json (RFC 9457) with codes that stay. Knows nothing of HTTP libraries.

Every refusal of the server is one of `CODES`; clients decide by the code, people read the detail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import Field, ValidationError

from ..errors import InputError
from ..types import FrozenModel

__all__ = ["CODES", "FieldFault", "Problem", "ProblemBody", "faulty", "invalid", "unusable"]

CODES: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "malformed_body": (400, "The body cannot be parsed"),
        "unauthenticated": (401, "A key is needed"),
        "cross_site": (403, "Another site's page may not send this"),
        "not_found": (404, "There is no such thing here"),
        "method_not_allowed": (405, "This method is not offered here"),
        "body_too_slow": (408, "The body did not arrive in time"),
        "body_too_large": (413, "The body is too large"),
        "batch_too_large": (413, "There are too many posts in one request"),
        "unsupported_media_type": (415, "Bodies of this kind are not read"),
        "wrong_host": (421, "This server does not answer for that host"),
        "invalid_request": (422, "A field has the wrong type or value"),
        "no_reasoner": (422, "This server has no reasoner"),
        "picture_url_refused": (422, "Pictures are not fetched from there"),
        "unusable_post": (422, "The post cannot be read"),
        "picture_not_fetched": (424, "The picture could not be fetched"),
        "reasoner_failed": (424, "The reasoner could not answer"),
        "rate_limited": (429, "Too many posts in a short time"),
        "encoder_failed": (500, "The encoder could not encode the post"),
        "internal_error": (500, "The server made a mistake"),
        "closing": (503, "The server is stopping"),
        "overloaded": (503, "Too many posts are waiting"),
        "not_ready": (503, "No post can be answered now"),
        "deadline_exceeded": (504, "The post was not answered in time"),
    }
)
"""Status and title by code."""
MOST_FAULTS = 20


class FieldFault(FrozenModel):
    """What is wrong with one field of a request."""

    field: str
    message: str


class ProblemBody(FrozenModel):
    """A refusal, as `application/problem+json` (RFC 9457)."""

    type: str = Field(description="`urn:hybrid-mmsa:problem:` and the code.")
    code: str = Field(description="What clients decide by; it does not change.")
    title: str
    status: int
    detail: str = Field(description="What was found and what is wanted, for people.")
    field: str | None = Field(default=None, description="The field of the post that is at fault.")
    errors: tuple[FieldFault, ...] = Field(default=(), description="With `invalid_request`: each field's fault.")
    retry_after: float | None = Field(default=None, description="Seconds after which it may succeed.")
    request_id: str | None = Field(default=None, description="As in the header `X-Request-ID`, and in the log.")


class Problem(Exception):  # noqa: N818 - the name that the standard gives it
    """A request, or one post of it, that is refused.

    Args:
        code: One of `CODES`.
        detail: What was found and what is wanted. It never quotes a post.
        field: The field of the post at fault.
        errors: The faults of all fields.
        retry_after: Seconds after which the same request may succeed.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        errors: tuple[FieldFault, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.field, self.errors, self.retry_after = code, detail, field, errors, retry_after
        self.status, self.title = CODES[code]

    def body(self, request_id: str | None = None) -> ProblemBody:
        """What the client is sent."""
        return ProblemBody(
            type=f"urn:hybrid-mmsa:problem:{self.code}",
            code=self.code,
            title=self.title,
            status=self.status,
            detail=self.detail,
            field=self.field,
            errors=self.errors,
            retry_after=self.retry_after,
            request_id=request_id,
        )

    @classmethod
    def of(cls, body: ProblemBody) -> Problem:
        """The problem that a body tells of."""
        return cls(body.code, body.detail, field=body.field, errors=body.errors, retry_after=body.retry_after)

    @property
    def headers(self) -> dict[str, str]:
        """What the client is told in headers: when to come again, how to show a key."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.code == "unauthenticated":
            headers["WWW-Authenticate"] = 'Basic realm="hybrid-mmsa, any name and a key as password", charset="UTF-8"'
        return headers


def invalid(error: ValidationError) -> Problem:
    """The problem for a body that is not of its schema. Values are left out: they may be a post."""
    return faulty(error.errors(include_url=False, include_context=False, include_input=False))


def faulty(faults: Sequence[Mapping[str, Any]]) -> Problem:
    """The problem for fields of a request, by what pydantic says of each."""
    if faults[0]["type"] == "json_invalid":
        return Problem("malformed_body", faults[0]["msg"])
    shown = tuple(
        FieldFault(field=".".join(map(str, fault["loc"]))[:100], message=fault["msg"][:200])
        for fault in faults[:MOST_FAULTS]
    )
    first = shown[0]
    detail = f"{first.field}: {first.message}" if first.field else first.message
    return Problem("invalid_request", detail, errors=shown)


def unusable(error: InputError) -> Problem:
    """The problem for a post or option that the analyzer refuses."""
    return Problem("unusable_post", error.message, field=error.field)
