"""The body of a request → posts, not yet decoded. Knows nothing of models; nothing here opens a path or fetches.

JSON carries a picture in base64; `multipart/form-data` carries it as a file.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from ..types import ExplainLevel, Mode, Sample
from .problems import Problem, invalid
from .remote_pictures import PictureAddress, RemotePictures
from .schemas import AnalyzeBody, BatchBody, PostBody

__all__ = ["Options", "RemotePost", "Request", "Row", "read_batch", "read_form", "read_post"]

Body = TypeVar("Body", bound=BaseModel)
MOST_COMMAS = 500_000
_DATA = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Options:
    """How a post is to be answered; posts of equal options can be judged together."""

    adapter: str | None = None
    mode: Mode = "auto"
    explain: ExplainLevel = "modality"


@dataclass(frozen=True, slots=True, eq=False)
class RemotePost:
    """A post whose picture is still to be fetched."""

    sample: Sample
    picture: PictureAddress


Row: TypeAlias = Sample | RemotePost | Problem


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """The posts of one request; a row that is no post is its problem."""

    rows: tuple[Row, ...]
    options: Options


def read_post(content: bytes, remote: RemotePictures) -> Request:
    """One post from a JSON body.

    Args:
        content: The body.
        remote: Says which pictures may be named by their address.

    Raises:
        Problem: It is not JSON, not an `AnalyzeBody`, has too many values, or its picture is not in base64.
    """
    body = _parsed(AnalyzeBody, content)
    return Request((_sample(body, remote),), Options(body.adapter, body.mode, body.explain))


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


def read_batch(content: bytes, most: int, remote: RemotePictures) -> Request:
    """Posts from a JSON body; those that cannot be read are problems in their places.

    Args:
        content: The body.
        most: How many posts a request may have.
        remote: Says which pictures may be named by their address.

    Raises:
        Problem: It is not JSON, not a `BatchBody`, or has too many posts.
    """
    body = _parsed(BatchBody, content)
    if len(body.posts) > most:
        raise Problem("batch_too_large", f"found {len(body.posts):,} posts; wanted at most {most:,} in one request")
    return Request(tuple(_row(each, remote) for each in body.posts), Options(body.adapter, body.mode, body.explain))


def _parsed(kind: type[Body], content: bytes) -> Body:
    # Parsed, `{},` takes ten times its bytes and more; a comma stands between any two values.
    if content.count(b",") > MOST_COMMAS:
        raise Problem("body_too_large", f"found more than {MOST_COMMAS:,} commas; wanted posts")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise invalid(error) from None


def _row(values: Any, remote: RemotePictures) -> Row:
    try:
        return _sample(PostBody.model_validate(values), remote)
    except ValidationError as error:
        return invalid(error)
    except Problem as problem:
        return problem


def _sample(body: PostBody, remote: RemotePictures) -> Sample | RemotePost:
    sample = Sample(text=body.text, target=body.target, id=body.id)
    if body.image is None:
        return sample
    if remote.is_address(body.image):
        return RemotePost(sample, remote.address(body.image))
    return replace(sample, image=_picture(body.image))


def _picture(written: str) -> bytes:
    """The bytes of a picture in base64; a string is never taken for a path."""
    if head := _DATA.match(written):
        written = written[head.end() :]
    try:
        return base64.b64decode(written, validate=True)
    except ValueError:
        raise Problem("unusable_post", "found no base64; wanted an encoded picture in it", field="image") from None
