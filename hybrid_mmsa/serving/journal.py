"""Around every request: its identifier, its line in the log, its count, headers for browsers, and its failure.

The log holds one JSON object a line, and nothing of a post: no text, no picture, no query, no body, no key.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .guard import OPEN_PATHS
from .metrics import Metrics
from .problems import Problem

__all__ = ["Journal", "JsonLines", "problem_response"]

LOG = logging.getLogger("hybrid_mmsa.serving")
CLIENT_GONE = 499
"""The status that logs give to a request whose client did not wait for the answer (nginx's)."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_SENT = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]


class JsonLines(logging.Formatter):
    """A log record as one line of JSON: time, level, what happened, and the fields of its `extra["fields"]`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line: dict[str, Any] = {"time": stamp, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            # A traceback's last line may quote a value, which may be a post's: the place and the type are enough.
            error, trace = record.exc_info[1], record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            line |= {"error": type(error).__name__, "place": place}
        return json.dumps(line, ensure_ascii=True)


def problem_response(problem: Problem, request_id: str | None) -> Response:
    """A problem as the client gets it."""
    return Response(
        problem.body(request_id).model_dump_json(exclude_none=True),
        status_code=problem.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


class Journal:
    """The outermost layer of the server; see the module.

    Args:
        app: The layer inside.
        metrics: Is told of each request.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = _request_id(scope)

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                more = [header for header in _SENT if header[0] not in own]
                message = {
                    **message,
                    "headers": [*message["headers"], *more, (b"x-request-id", request_id.encode())],
                }
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except ClientDisconnect:
            status = status or CLIENT_GONE
        except Problem as problem:
            state["code"] = problem.code
            self._metrics.problem(problem.code)
            await problem_response(problem, request_id)(scope, receive, send_noted)
        except Exception:
            LOG.exception("failure", extra={"fields": {"request_id": request_id}})
            if not status:
                state["code"] = "internal_error"
                self._metrics.problem("internal_error")
                failure = Problem("internal_error", "the log has the request's identifier and the place")
                await problem_response(failure, request_id)(scope, receive, send_noted)
        finally:
            self._note(scope, status or CLIENT_GONE, time.perf_counter() - begun)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        state = scope["state"]
        template = getattr(scope.get("route"), "path", "other")  # of a job, without its identifier
        self._metrics.request(template, status, seconds)
        fields = {
            "request_id": state["request_id"],
            "method": scope["method"][:10],
            "route": template,
            "status": status,
            "milliseconds": round(1000 * seconds, 1),
            "key": state.get("owner") or None,
            "posts": state.get("posts"),
            "code": state.get("code"),
        }
        # Whoever watches health asks all the time.
        level = logging.DEBUG if scope["path"] in OPEN_PATHS and status < 400 else logging.INFO
        LOG.log(
            level, "request", extra={"fields": {name: value for name, value in fields.items() if value is not None}}
        )


def _request_id(scope: Scope) -> str:
    """The client's own identifier where it is short and plain, else a new one."""
    sent = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
