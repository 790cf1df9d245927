"""With what and when something was fitted: the opening facts of every `made_with`. Knows nothing of what was fitted."""

from __future__ import annotations

import datetime
import platform

from ..._version import __version__

__all__ = ["made_now", "today"]


def made_now() -> dict[str, str]:
    """Versions of this package and of Python, and today's date in UTC (ISO 8601)."""
    return {
        "package": __version__,
        "python": platform.python_version(),
        "date": today(),
    }


def today() -> str:
    """Today's date in UTC, ISO 8601."""
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()
