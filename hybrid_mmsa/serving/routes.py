"""The routes under `/v1`, and those for whoever runs the server. Each reads a request, waits, and writes the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypeAlias, TypeVar, cast

from fastapi import APIRouter, Query, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response, StreamingResponse

from .._version import __version__
from ..adapters import bundled_adapters
from ..types import SCHEMA_VERSION, Analysis
from . import reading
from .answering import Answering, Patience
from .problems import CODES, Problem, ProblemBody
from .rates import Rates
from .reading import read_batch, read_form, read_post
from .schemas import AnalyzeBody, BatchAnswer, Job, ModelCard, Models, Version
from .settings import ServerSettings

__all__ = ["operations", "posts"]

T = TypeVar("T")
Responses: TypeAlias = dict[int | str, dict[str, Any]]
HEARTBEAT = 10.0
"""Seconds between signs of life to a client that follows a job: fewer than proxies wait."""
LARGE_BODY = 1 << 16
"""Bytes from which a body is parsed in a thread, so that others are served meanwhile."""
MOST_FIELD_BYTES = 1 << 20
JSON = "application/json"
FORM = "multipart/form-data"

Wait = Annotated[
    bool, Query(description="false: answer with the fast verdict now; a deferred post becomes a job of the reasoner.")
]
Timeout = Annotated[
    float | None, Query(gt=0, le=3600, description="Seconds in which an answer is wanted; the server's if it has less.")
]


def problem_responses(*codes: str) -> Responses:
    """The refusals of a route for the OpenAPI document, by status."""
    by_status: dict[int | str, list[str]] = {}
    for code in codes:
        by_status.setdefault(CODES[code][0], []).append(code)
    schema = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}}}
    return {status: {"description": ", ".join(named), "content": schema} for status, named in by_status.items()}


GUARDED = ("unauthenticated", "wrong_host", "method_not_allowed", "malformed_body", "internal_error")
TAKING = (
    *("body_too_large", "batch_too_large", "body_too_slow", "unsupported_media_type", "malformed_body"),
    *(
        "invalid_request",
        "unusable_post",
        "picture_url_refused",
        "picture_not_fetched",
        "no_reasoner",
        "reasoner_failed",
        "rate_limited",
    ),
    *("encoder_failed", "overloaded", "closing", "deadline_exceeded", "cross_site"),
)


def posts() -> APIRouter:
    """The routes that answer posts."""
    router = APIRouter(tags=["posts"], responses=problem_responses(*GUARDED))
    takes = problem_responses(*GUARDED, *TAKING)
    finds = problem_responses(*GUARDED, "not_found", "invalid_request")
    deferred: Responses = {
        202: {"model": Analysis, "description": "The fast verdict; `Location` names the job that will have more."}
    }
    router.add_api_route(
        "/v1/analyze",
        analyze,
        methods=["POST"],
        response_model=Analysis,
        responses={**takes, **deferred},
        openapi_extra={"requestBody": _request_body("AnalyzeBody", form=True)},
    )
    router.add_api_route(
        "/v1/analyze/batch",
        analyze_batch,
        methods=["POST"],
        response_model=BatchAnswer,
        responses=takes,
        openapi_extra={"requestBody": _request_body("BatchBody", form=False)},
    )
    router.add_api_route("/v1/jobs/{job}", get_job, methods=["GET"], response_model=Job, responses=finds)
    router.add_api_route("/v1/jobs/{job}", cancel_job, methods=["DELETE"], response_model=Job, responses=finds)
    stream: Responses = {
        200: {"content": {"text/event-stream": {}}, "description": "One event when the job has ended: a `Job`."}
    }
    router.add_api_route(
        "/v1/jobs/{job}/events",
        follow_job,
        methods=["GET"],
        response_class=StreamingResponse,
        responses={**finds, **stream},
    )
    router.add_api_route("/v1/models", models, methods=["GET"], response_model=Models)
    return router


def operations() -> APIRouter:
    """The routes for whoever runs the server."""
    router = APIRouter(tags=["operations"])
    guarded = problem_responses(*GUARDED)
    health = problem_responses("not_ready", "closing", "method_not_allowed")
    router.add_api_route("/healthz", health_of_process, methods=["GET"], responses=health)
    router.add_api_route("/readyz", readiness, methods=["GET"], responses=health)
    router.add_api_route("/version", version, methods=["GET"], response_model=Version, responses=guarded)
    text: Responses = {
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format."}
    }
    router.add_api_route("/metrics", metrics, methods=["GET"], response_class=Response, responses={**guarded, **text})
    return router


async def analyze(request: Request, wait: Wait = True, timeout: Timeout = None) -> Response:
    """Answer one post: JSON with the picture in base64, or a form with the picture as a file."""
    answering = _taking(request)
    answering.fast.check_room()  # before the work of parsing a body that would be refused
    posts = await _one_post(request)
    request.state.posts = 1
    (row,) = await answering.answers(posts, _patience(request, wait, timeout))
    if row.error is not None:
        raise Problem.of(row.error)
    analysis = cast(Analysis, row.analysis)
    if row.job is None:
        return Response(analysis.model_dump_json(), media_type=JSON)
    headers = {"Location": f"/v1/jobs/{row.job}", "X-Job-Id": row.job}
    return Response(analysis.model_dump_json(), status_code=202, media_type=JSON, headers=headers)


async def analyze_batch(request: Request, wait: Wait = True, timeout: Timeout = None) -> Response:
    """Answer many posts; each is answered or fails for itself, in their order."""
    answering, settings = _taking(request), _settings(request)
    answering.fast.check_room()
    _content_type(request, JSON)
    content = await request.body()
    posts = await _parsed(len(content), lambda: read_batch(content, settings.request_posts, request.app.state.remote))
    cast(Rates, request.app.state.rates).take(request.state.sender, len(posts.rows) - 1)
    request.state.posts = len(posts.rows)
    rows = await answering.answers(posts, _patience(request, wait, timeout))
    return Response(BatchAnswer(results=tuple(rows)).model_dump_json(), media_type=JSON)


async def get_job(request: Request, job: str) -> Job:
    """How a job stands, with its answer when it is done."""
    return _answering(request).jobs.get(job, request.state.owner)


async def cancel_job(request: Request, job: str) -> Job:
    """Cancel a job; one that has ended stays as it is."""
    return await _answering(request).jobs.cancel(job, request.state.owner)


async def follow_job(request: Request, job: str) -> StreamingResponse:
    """Server-sent events: a comment now and then, and one event `done`, `failed` or `cancelled` with the job."""
    answering, owner = _answering(request), request.state.owner
    answering.jobs.get(job, owner)

    async def events() -> AsyncIterator[str]:
        while not answering.closing:
            state = await answering.jobs.wait(job, owner, HEARTBEAT)
            if state.status != "waiting":
                yield f"event: {state.status}\ndata: {state.model_dump_json()}\n\n"
                return
            yield ": waiting\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def models(request: Request) -> Models:
    """The adapters that may be named, and the reasoner."""
    analyzer = _answering(request).analyzer
    loaded = analyzer.adapters
    cards = [
        ModelCard(name=name, default=name == analyzer.default, hash=adapter.hash or None, encoder=adapter.encoder)
        for name, adapter in loaded.items()
    ]
    others = sorted(bundled_adapters().keys() - loaded.keys()) if analyzer.encoder.name == "compact" else ()
    cards += [ModelCard(name=name, default=False) for name in others]
    return Models(models=tuple(cards), reasoner=None if analyzer.reasoner is None else analyzer.reasoner.id)


async def health_of_process(request: Request) -> dict[str, str]:
    """Whether this process works at all: 503 means that it should be started again."""
    _answering(request).check_alive()
    return {"status": "ok"}


async def readiness(request: Request) -> dict[str, str]:
    """Whether posts are answered: one is, for this request."""
    await _taking(request).ready()
    return {"status": "ok"}


async def version() -> Version:
    """Which program answers."""
    return Version(version=__version__, schema_version=SCHEMA_VERSION)


async def metrics(request: Request) -> Response:
    """What the server counts, for Prometheus."""
    text = await asyncio.to_thread(_answering(request).metrics.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _request_body(schema: str, *, form: bool) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    if form:
        options = AnalyzeBody.model_json_schema()["properties"]
        parts = {name: {"type": "string"} for name in options} | {"image": {"type": "string", "format": "binary"}}
        content[FORM] = {"schema": {"type": "object", "properties": parts, "additionalProperties": False}}
    return {"required": True, "content": content}


def _answering(request: Request) -> Answering:
    return cast(Answering, request.app.state.answering)


def _settings(request: Request) -> ServerSettings:
    return cast(ServerSettings, request.app.state.settings)


def _taking(request: Request) -> Answering:
    """What answers, unless it takes no more."""
    answering = _answering(request)
    if answering.closing:
        raise Problem("closing", "this server is stopping; ask another", retry_after=5)
    return answering


def _patience(request: Request, wait: bool, timeout: float | None) -> Patience:
    seconds = min(timeout or float("inf"), _settings(request).deadline_seconds)
    return Patience(asyncio.get_running_loop().time() + seconds, wait, request.state.owner)


def _content_type(request: Request, *kinds: str) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in kinds:
        raise Problem("unsupported_media_type", f"wanted a body of type {' or '.join(kinds)}")
    return kind


async def _parsed(size: int, parse: Callable[[], T]) -> T:
    return parse() if size < LARGE_BODY else await asyncio.to_thread(parse)


async def _one_post(request: Request) -> reading.Request:
    if _content_type(request, JSON, FORM) == JSON:
        content = await request.body()
        return await _parsed(len(content), lambda: read_post(content, request.app.state.remote))
    async with request.form(max_files=1, max_fields=10, max_part_size=MOST_FIELD_BYTES) as form:
        fields, picture = await _parts(form)
        return read_form(fields, picture)


async def _parts(form: FormData) -> tuple[dict[str, str], bytes | None]:
    """The fields of a form, and the bytes of its picture."""
    fields: dict[str, str] = {}
    picture: bytes | None = None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != "image":
                raise Problem("invalid_request", "found a file in another part than image")
            picture = await value.read()
        elif name in fields:
            raise Problem("invalid_request", "found a part twice")
        else:
            fields[name] = value
    return fields, picture
