"""Who may ask: the host that was asked for, the page that asks, the key, the rate. Knows nothing of posts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from .keys import Keys
from .problems import Problem
from .rates import Rates

__all__ = ["OPEN_PATHS", "Guard"]

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What answers without a key."""
NOBODY = ""


class Guard:
    """Lets a request in, or raises `Problem`.

    Without keys the server is for this machine alone, and a web page that its user visits must not reach it either: the
    request must name this machine as its host (a name that was bound to it anew is refused), and must not come from
    another site's page. With keys, a browser sends them by itself once it has asked for them, so the second holds too.

    Args:
        app: The layer inside.
        keys: The keys that open it; `None` for none.
        rates: How much each may ask.
        hosts: Names that the server answers for; empty for all.
        origins: Other sites whose pages may ask (CORS).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys | None,
        rates: Rates,
        hosts: Collection[str],
        origins: Collection[str],
    ) -> None:
        self._app, self._keys, self._rates, self._hosts, self._origins = app, keys, rates, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._check_host(headers)
            self._check_site(scope["method"], headers)
            scope["state"]["owner"] = owner = self._owner(headers)
            client = scope.get("client")
            scope["state"]["sender"] = sender = owner or (client[0] if client else NOBODY)
            if scope["method"] == "POST":
                self._rates.take(sender, 1)
        await self._app(scope, receive, send)

    def _check_host(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "").lower()
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if self._hosts and name not in self._hosts:
            raise Problem("wrong_host", "this server answers for other host names; name it with --allow-host")

    def _check_site(self, method: str, headers: Mapping[str, str]) -> None:
        """Browsers say of each request whether another site's page made it; other clients say nothing."""
        other = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if other and method not in ("GET", "HEAD", "OPTIONS") and headers.get("origin") not in self._origins:
            raise Problem("cross_site", "a page of another site may not send this")

    def _owner(self, headers: Mapping[str, str]) -> str:
        """The name of the key that was shown."""
        if self._keys is None:
            return NOBODY
        owner = self._keys.owner(_shown_key(headers))
        if owner is None:
            detail = "wanted Authorization: Bearer KEY (or Basic, with the key as password)"
            raise Problem("unauthenticated", detail)
        return owner


def _shown_key(headers: Mapping[str, str]) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return headers.get("x-api-key", "")
