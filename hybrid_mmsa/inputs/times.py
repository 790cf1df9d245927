"""Times as exports write them → ISO 8601. Knows nothing of posts; what could be read in two ways is refused."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from numbers import Real

from .refusal import refusal, shown

__all__ = ["read_time"]

_WANTED = "a time in ISO 8601, in seconds or milliseconds since 1970, or as X and mail write it"
_SINCE_1970 = ((1e8, 1e11, 1.0), (1e11, 1e14, 1e3), (1e14, 1e17, 1e6))
"""From, below, and per second: seconds, milliseconds and microseconds of the years 1973 to 5138."""
_FORMATS = (
    "%a %b %d %H:%M:%S %z %Y",  # X: Wed Oct 10 20:19:24 +0000 2018
    "%m %d, %Y",  # Amazon 2018: 09 13, 2009
    "%B %d, %Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%d %b %Y",
    "%B %d, %Y %I:%M %p",
    "%b %d, %Y, %I:%M %p",
)
_NUMBER = re.compile(r"\d{9,17}(\.\d+)?")
_ZONE_NAME = re.compile(r"\s*(UTC|GMT|Z)$", re.IGNORECASE)


def read_time(value: object) -> str:
    """A time in ISO 8601; a time zone is kept, and none is made up where none is given.

    Read are dates and datetimes, ISO 8601 (kept as it is written, also with `/` between year, month and day), numbers
    since 1970 in seconds, milliseconds or microseconds (then in UTC), the formats of X, Amazon and mail, and dates
    with the month's name. `03/04/2024` is not read: it may be of March or of April.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, Real) and not isinstance(value, bool):
        return _since_1970(float(value), value)
    if not isinstance(value, str):
        raise refusal("time", shown(value), _WANTED)
    text = value.strip()
    if _is_iso(text):
        return text
    if _NUMBER.fullmatch(text):
        return _since_1970(float(text), value)
    plain = _ZONE_NAME.sub("+00:00", text.replace("/", "-"))
    if re.match(r"\d{4}-", plain) and _is_iso(plain):
        return plain
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form).isoformat()
        except ValueError:
            continue
    try:
        return parsedate_to_datetime(text).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        raise refusal("time", shown(value), _WANTED) from None


def _is_iso(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _since_1970(number: float, value: object) -> str:
    for low, high, per_second in _SINCE_1970:
        if low <= number < high:
            return datetime.fromtimestamp(number / per_second, UTC).isoformat()
    raise refusal("time", shown(value), _WANTED)
