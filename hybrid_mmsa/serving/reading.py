"""The body of a request → posts, not yet decoded. Knows nothing of models; nothing here opens a path or fetches.

JSON carries a picture in base64; `multipart/form-data` carries it as a file.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..types import ExplainLevel, Mode, Sample
from .problems import Problem, invalid
from .schemas import AnalyzeBody, BatchBody, PostBody

__all__ = ["Options", "Request", "read_batch", "read_form", "read_post"]

Body = TypeVar("Body", bound=BaseModel)
MOST_COMMAS = 500_000
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_DATA = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Options:
    """How a post is to be answered; posts of equal options can be judged together."""

    adapter: str | None = None
    mode: Mode = "auto"
    explain: ExplainLevel = "modality"


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """The posts of one request; a row that is no post is its problem."""

    rows: tuple[Sample | Problem, ...]
    options: Options


def read_post(content: bytes) -> Request:
    """One post from a JSON body.

    Raises:
        Problem: It is not JSON, not an `AnalyzeBody`, has too many values, or its picture is not in base64.
    """
    body = _parsed(AnalyzeBody, content)
    return Request((_sample(body),), Options(body.adapter, body.mode, body.explain))


def read_form(fields: Mapping[str, str], picture: bytes | None) -> Request:
    """One post from the parts of a form.

    Args:
        fields: The parts that are no file.
        picture: The file `image`, where there is one.

    Raises:
        Problem: A part is not a field of `AnalyzeBody`.
    """
    if "image" in fields:
        raise Problem("invalid_request", "image: wanted a file, with a file name", field="image")
    try:
        body = AnalyzeBody.model_validate({name: value for name, value in fields.items() if value})
    except ValidationError as error:
        raise invalid(error) from None
    sample = Sample(text=body.text, image=picture, target=body.target, id=body.id)
    return Request((sample,), Options(body.adapter, body.mode, body.explain))


def read_batch(content: bytes, most: int) -> Request:
    """Posts from a JSON body; those that cannot be read are problems in their places.

    Args:
        content: The body.
        most: How many posts a request may have.

    Raises:
        Problem: It is not JSON, not a `BatchBody`, or has too many posts.
    """
    body = _parsed(BatchBody, content)
    if len(body.posts) > most:
        raise Problem("batch_too_large", f"found {len(body.posts):,} posts; wanted at most {most:,} in one request")
    return Request(tuple(map(_row, body.posts)), Options(body.adapter, body.mode, body.explain))


def _parsed(kind: type[Body], content: bytes) -> Body:
    # Parsed, `{},` takes ten times its bytes and more; a comma stands between any two values.
    if content.count(b",") > MOST_COMMAS:
        raise Problem("body_too_large", f"found more than {MOST_COMMAS:,} commas; wanted posts")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise invalid(error) from None


def _row(values: Any) -> Sample | Problem:
    try:
        return _sample(PostBody.model_validate(values))
    except ValidationError as error:
        return invalid(error)
    except Problem as problem:
        return problem


def _sample(body: PostBody) -> Sample:
    picture = None if body.image is None else _picture(body.image)
    return Sample(text=body.text, image=picture, target=body.target, id=body.id)


def _picture(written: str) -> bytes:
    """The bytes of a picture in base64; a string is never taken for a path or an address."""
    if _URL.match(written):
        detail = "found the address of a picture; send the picture itself: nothing is fetched"
        raise Problem("picture_url_refused", detail, field="image")
    if head := _DATA.match(written):
        written = written[head.end() :]
    try:
        return base64.b64decode(written, validate=True)
    except ValueError:
        raise Problem("unusable_post", "found no base64; wanted an encoded picture in it", field="image") from None
