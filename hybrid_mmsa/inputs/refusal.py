"""How a refused value is put into words. Knows nothing of what makes a value wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ..errors import InputError

__all__ = ["check_choice", "refusal", "shown"]

_LONGEST = 60
Choice = TypeVar("Choice", bound=str)


def refusal(field: str, value: str, expected: str) -> InputError:
    """The error for one field: what was found, what is wanted."""
    return InputError(f"found {value}; wanted {expected}", field=field)


def check_choice(field: str, value: Choice, choices: Sequence[Choice]) -> Choice:
    """The one of an option's values that was chosen, as a plain string; `InputError` where it is none of them."""
    # A caller's own kind of string, such as an enum's member, may compare as it likes.
    plain = str.__str__(value) if isinstance(value, str) else None
    for choice in choices:
        if choice == plain:
            return choice
    raise refusal(field, shown(value), f"{', '.join(choices[:-1])} or {choices[-1]}")


def shown(value: object) -> str:
    """A value as an error message shows it: its type and, when that is short and safe, what it is.

    A post may hold megabytes or control characters, so strings are cut and escaped, and objects are not printed.
    """
    kind = type(value).__name__
    if isinstance(value, str):
        if len(value) <= _LONGEST:
            return ascii(value)
        return f"{value[:_LONGEST]!a}... ({len(value):,} characters)"
    if isinstance(value, bytes | bytearray):
        return f"{kind} of length {len(value):,}"
    if value is None:
        return "None"
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**_LONGEST):
        return f"{kind} {value!r}"
    return kind
