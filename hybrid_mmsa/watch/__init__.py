"""A stream of posts, watched: shares by group and window, and alerts on changes at a stated rate of false alarms.

It knows answers, times and groups. It reads no streams and runs no model: `sources` and the command line do.
"""

from __future__ import annotations

from .alerts import Alert
from .store import Store
from .watching import Observation, Watch, WatchSettings

__all__ = ["Alert", "Observation", "Store", "Watch", "WatchSettings"]
