"""The application: routes, doors and page put together around one analyzer. Imported behind the door of `serving`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, NoReturn, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from .._version import __version__
from ..analyzer import Analyzer
from .answering import Answering
from .bodies import Bodies
from .guard import Guard
from .journal import Journal
from .keys import Keys
from .metrics import Metrics
from .problems import Problem, ProblemBody, faulty
from .rates import Rates
from .remote_pictures import RemotePictures
from .routes import operations, posts
from .schemas import AnalyzeBody, BatchBody, PostBody
from .settings import ServerSettings
from .static import page

__all__ = ["build"]

DESCRIPTION = """\
What a post of text and picture feels, how sure that is, and why. A post that the fast tier is unsure of is deferred to
the reasoner, where there is one. Refusals are `application/problem+json`; decide by their `code`."""
_CODES = {404: "not_found", 405: "method_not_allowed", 400: "malformed_body", 413: "body_too_large"}


def build(
    analyzer: Analyzer,
    settings: ServerSettings,
    *,
    keys: Keys | None,
    hosts: Collection[str],
    origins: Collection[str],
    picture_origins: Collection[str],
) -> FastAPI:
    """See `serving.create_app`."""
    counters = Metrics()
    remote = RemotePictures(picture_origins, most=settings.picture_bytes, seconds=settings.picture_seconds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        answering = app.state.answering = Answering(analyzer, settings, counters, remote)
        try:
            yield
        finally:
            await answering.close(settings.shutdown_seconds)

    app = FastAPI(
        title="hybrid_mmsa",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # it would send clients to whatever host they named
    )
    app.state.settings, app.state.remote = settings, remote
    app.state.rates = rates = Rates(settings.posts_per_second, settings.posts_at_once)
    counters.watch(lambda: _queues(app), analyzer)
    app.include_router(posts())
    app.include_router(operations())
    app.include_router(page())
    app.add_exception_handler(RequestValidationError, _raise_invalid)
    app.add_exception_handler(HTTPException, _raise_problem)
    # The last one added is the outermost.
    app.add_middleware(
        Bodies, most=settings.body_bytes, most_in_all=settings.all_bodies_bytes, seconds=settings.body_seconds
    )
    app.add_middleware(Guard, keys=keys, rates=rates, hosts=hosts, origins=origins)
    app.add_middleware(Journal, metrics=counters)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["Location", "Retry-After", "X-Job-Id", "X-Request-ID"],
        )
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # FastAPI's own way to change it
    return app


def _queues(app: FastAPI) -> dict[str, Any]:
    answering: Answering = app.state.answering
    return {"fast": answering.fast, "reasoner": answering.deferred}


async def _raise_invalid(request: Request, error: Exception) -> NoReturn:
    raise faulty(cast(RequestValidationError, error).errors()) from None


async def _raise_problem(request: Request, error: Exception) -> NoReturn:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(error.detail) if isinstance(error, HTTPException) else ""
    raise Problem(_CODES.get(status, "internal_error"), detail) from None


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the types of bodies that the routes read themselves."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        _, definitions = models_json_schema(
            [(model, "validation") for model in (AnalyzeBody, BatchBody, PostBody, ProblemBody)],
            ref_template="#/components/schemas/{model}",
        )
        document["components"]["schemas"].update(definitions["$defs"])
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
        app.openapi_schema = document
    return app.openapi_schema
