"""The analyzer behind HTTP: `create_app(analyzer)` makes an ASGI application. Needs the extra `serve`.

Importing this room imports no web framework; the door of the feature is `create_app`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..analyzer import Analyzer
from ..extras import needs
from .keys import Keys, new_key
from .problems import CODES, FieldFault, Problem, ProblemBody
from .schemas import AnalyzeBody, BatchAnswer, BatchBody, BatchRow, Job, ModelCard, Models, PostBody, Version
from .settings import DEFAULT_SETTINGS, ServerSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = [
    "CODES",
    "DEFAULT_SETTINGS",
    "AnalyzeBody",
    "BatchAnswer",
    "BatchBody",
    "BatchRow",
    "FieldFault",
    "Job",
    "Keys",
    "ModelCard",
    "Models",
    "PostBody",
    "Problem",
    "ProblemBody",
    "ServerSettings",
    "Version",
    "create_app",
    "new_key",
]

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def create_app(
    analyzer: Analyzer,
    settings: ServerSettings = DEFAULT_SETTINGS,
    *,
    keys: Keys | None = None,
    hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
    picture_origins: Collection[str] = (),
) -> FastAPI:
    """An ASGI application that answers posts, for any ASGI server; `hybrid-mmsa serve` runs it.

    Args:
        analyzer: What answers. It stays open when the application ends.
        settings: How much is taken at a time.
        keys: The keys that open it. Without any it is for this machine alone.
        hosts: Host names that it answers for. By default those of this machine without keys, and all with keys.
        origins: Sites whose pages may ask from a browser (CORS), such as `https://example.org`.
        picture_origins: Hosts whose pictures posts may name by their address, such as `https://images.example.org`.

    Raises:
        InputError: An origin of pictures is none.
        MissingExtraError: The packages of the extra `serve` are not installed.
    """
    with needs("serve", "the server"):
        from .app import build
    if hosts is None:
        hosts = LOOPBACK_HOSTS if keys is None else ()
    return build(
        analyzer,
        settings,
        keys=keys,
        hosts=frozenset(hosts),
        origins=tuple(origins),
        picture_origins=tuple(picture_origins),
    )
