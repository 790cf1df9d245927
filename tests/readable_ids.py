"""Ids of table tests that a person can read: no bytes, no invisible characters, no whole texts.

Knows no tests; `conftest` asks it for every parameter that has no id of its own.
"""

import unicodedata
from pathlib import Path

LONGEST = 40
"""Characters of one parameter."""
PLAIN = (bool, int, float, complex, type(None), Path)


def readable_id(value, argname):
    """What a parameter is called in a test's id; `None` leaves it to pytest.

    Args:
        value: The parameter.
        argname: The name of the test's argument, for values that have no short name.
    """
    match value:
        case str():
            return _short(_visible(value)) or "empty"
        case bytes():
            head = "".join(chr(byte) if 32 < byte < 127 else " " for byte in value[:LONGEST]).split()
            return _short(" ".join([f"{len(value)} bytes", *head]))
        case dict():
            return _short(", ".join(f"{_item(key)}={_item(each)}" for key, each in value.items())) or "empty"
        case list() | tuple():
            return _short(" ".join(_item(each) for each in value)) or "empty"
        case _ if getattr(value, "__name__", "") == "<lambda>":
            return argname
    return None


def _item(value):
    """A part of a collection. Never the default `repr`: its address differs between processes."""
    if isinstance(value, (dict, list, tuple)):
        return f"({readable_id(value, '')})"
    if isinstance(value, (str, bytes)):
        return readable_id(value, "")
    if isinstance(value, PLAIN):
        return str(value)
    return getattr(value, "__name__", type(value).__name__)


def _visible(text):
    """The text on one line; what cannot be seen, and marks that stand on another character, as their number."""
    return " ".join("".join(map(_visible_character, text)).split())


def _visible_character(char):
    if char.isspace():
        return " "
    return char if char.isprintable() and unicodedata.category(char)[0] != "M" else f"<{ord(char):04x}>"


def _short(text):
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
