"""What an alert says, and where it goes: lines of JSON, a file, a webhook. It knows nothing of how one is found."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections.abc import Callable
from typing import Literal, TypeAlias

from pydantic import Field

from ..bounds.exchange import Bounds, exchange
from ..errors import InputError
from ..types.frozen import FrozenModel

__all__ = ["Alert", "Measure", "Webhook"]

Measure: TypeAlias = Literal["negative", "deferred", "inputs"]
"""What is watched: shares of negative and of deferred answers, and how well new posts are told from earlier ones."""

_WORDS: dict[Measure, str] = {
    "negative": "share of negative posts",
    "deferred": "share of deferred posts",
    "inputs": "AUC of telling new posts from earlier ones",
}


MOST_BYTES = 2**20
"""Of a webhook's answer, of which its status alone is read."""


class Alert(FrozenModel):
    """A change that is unlikely to be chance."""

    time: str = Field(description="End of the window that it was found in, ISO 8601, UTC.")
    group: str = Field(description='The group of posts; "*" is all of them.')
    measure: Measure
    since: str = Field(description="Start of the window that the change most likely began with.")
    before: float = Field(description="The share before; that of all windows that are remembered.")
    now: float = Field(description="The share since then.")
    posts: int = Field(ge=0, description="Posts since then.")
    false_alarms_per_week: float = Field(description="How many there are at most, on average, of all groups together.")
    advice: str | None = None

    @property
    def text(self) -> str:
        """The alert in a sentence."""
        whose = "all posts" if self.group == "*" else self.group
        change = f"{self.before:.0%} -> {self.now:.0%} since {self.since} ({self.posts:,} posts)"
        return f"{whose}: {_WORDS[self.measure]} {change}"


class Webhook:
    """Posts alerts as JSON to an address.

    Args:
        url: `http://` or `https://`.
        seconds: How long one attempt may take, from the name to the end of the answer's head.
        attempts: How often it is tried.

    Raises:
        InputError: It is no such address.
    """

    def __init__(self, url: str, *, seconds: float = 5.0, attempts: int = 3) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(
                f"found {url!r}; wanted an address that begins with http:// or https://", field="--webhook"
            )
        self.url, self._seconds, self._attempts = url, seconds, attempts

    def __call__(self, alert: Alert) -> str | None:
        """Send an alert; what went wrong, if it was not taken."""
        body = json.dumps({**alert.model_dump(), "text": alert.text}).encode()
        cause = ""
        for _ in range(self._attempts):
            request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"}, method="POST")
            try:
                with exchange(request, Bounds(self._seconds, MOST_BYTES)):
                    return None
            except (OSError, http.client.HTTPException, ValueError) as error:
                cause = " ".join(str(error).split()) or type(error).__name__
        return f"the webhook did not take an alert: {cause}"


Notify: TypeAlias = Callable[[Alert], object]
