"""The error tree: everything this package raises on purpose, and nothing else.

HybridError
├── InputError          a post, row or option cannot be used (also a ValueError)
├── MissingExtraError   a feature's optional packages are not installed (also an ImportError)
├── ArtefactError       a model or adapter folder is missing, damaged or does not fit (also a ValueError)
├── PluginError         a package that extends this one cannot be used (also a RuntimeError)
├── NotFittedError      something fitted was used before `fit` (also a ValueError)
├── SchemaVersionError  a document is of another major version of the schema
├── ClosedError         an analyzer was used after it was closed (also a RuntimeError)
├── EncoderError        an encoder could not encode a post (also a RuntimeError)
├── ReasonerError       a reasoner could not answer: time-out, memory, lost server (also a RuntimeError)
│   └── PostError       it cannot answer this post, too long for it or without words
└── ServerError         a server that a client asked refused or failed, or cannot be reached (also a RuntimeError)
"""

from __future__ import annotations

from functools import partial
from typing import Any

__all__ = [
    "ArtefactError",
    "ClosedError",
    "EncoderError",
    "HybridError",
    "InputError",
    "MissingExtraError",
    "NotFittedError",
    "PluginError",
    "PostError",
    "ReasonerError",
    "SchemaVersionError",
    "ServerError",
]


class HybridError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(HybridError, ValueError):
    """A post, row or option cannot be used.

    Args:
        message: What was found and what is wanted, in one line.
        field: The field at fault: `"text"`, `"image"`, `"target"`, a column or an option.
        index: Position of the post in the batch, where there is one.
    """

    def __init__(self, message: str, *, field: str | None = None, index: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.index = index

    def __str__(self) -> str:
        place = "" if self.index is None else f"post {self.index}: "
        return place + (self.message if self.field is None else f"{self.field}: {self.message}")

    def at(self, index: int) -> InputError:
        """The same error, naming the post of a batch it belongs to."""
        return InputError(self.message, field=self.field, index=index)


class MissingExtraError(HybridError, ImportError):
    """A feature's optional packages are not installed; the message holds the install line."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra {extra!r}: pip install 'hybrid-mmsa[{extra}]'")
        self.feature = feature
        self.extra = extra

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.feature, self.extra)


class ArtefactError(HybridError, ValueError):
    """A model or adapter folder is missing, damaged, or was made for another encoder."""


class PluginError(HybridError, RuntimeError):
    """A package that offers an encoder, reasoner or corpus cannot be used: it fails, or offers something else.

    Args:
        message: What is wrong, naming the package.
        package: The distribution's name and version.
    """

    def __init__(self, message: str, *, package: str) -> None:
        super().__init__(message)
        self.package = package

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), package=self.package), self.args


class NotFittedError(HybridError, ValueError):
    """`fit` must be called, or a fitted artefact loaded, before this use."""


class SchemaVersionError(HybridError):
    """A document is of another major version of the schema than this version reads."""


class ClosedError(HybridError, RuntimeError):
    """An analyzer was used after `close`."""


class EncoderError(HybridError, RuntimeError):
    """An encoder could not encode a post, or returned something other than its features.

    Args:
        message: What the encoder did.
        index: Position of the post in the batch, where there is one.
    """

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.index = index

    def __str__(self) -> str:
        return self.message if self.index is None else f"post {self.index}: {self.message}"

    def at(self, index: int) -> EncoderError:
        """The same error, naming the post of a batch it belongs to."""
        return EncoderError(self.message, index=index)


class ReasonerError(HybridError, RuntimeError):
    """A reasoner could not answer: time-out, out of memory, lost server. `Analyzer` then keeps the fast answer."""


class PostError(ReasonerError):
    """A reasoner cannot answer this post, whatever it can of others: too long, without words, not recorded.

    The others of its batch are asked about all the same, where other failures in a row end the asking.
    """


class ServerError(HybridError, RuntimeError):
    """A server that a client asked refused or failed, or cannot be reached.

    Args:
        message: What the server says, or why it says nothing.
        code: The code of its problem (see `serving.CODES`), `unreachable`, or `unknown` for another server's answer.
        status: The HTTP status; 0 without an answer.
        retry_after: Seconds after which the same request may succeed, where the server says so.
    """

    def __init__(self, message: str, *, code: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code, self.status, self.retry_after = code, status, retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(type(self), code=self.code, status=self.status, retry_after=self.retry_after)
        return make, self.args
