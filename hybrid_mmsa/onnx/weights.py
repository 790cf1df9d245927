"""A model file's graph with the large weights left in the file, to be mapped into memory. Knows no operator.

ONNX Runtime copies what stands inside a model: first into the message, then into tensors. What a model says to lie in
another file it maps instead: pages are read when they are used, given back when memory is short, and shared by all
processes. The "other file" here is the model file itself. The few fields that must be known for that are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, in protobuf's wire format
(https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

__all__ = ["Shown", "graph_alone"]

LEAST = 1 << 19
"""Bytes of a weight from which on it stays in the file. Mapping costs a call and a page each, and what is folded into
other weights as the model is opened, as small filters are, would be held twice."""
_GRAPH, _NODE, _INITIALIZER, _OUTPUT = 7, 1, 5, 12
_MADE, _KIND, _NAME = 2, 4, 1
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 9, 13, 14, 1
_KEY, _VALUE = 1, 2
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
Change: TypeAlias = Callable[[int, int], bytes]


class _Field(NamedTuple):
    """One field of a message: where it begins, and where its value does; both end together."""

    number: int
    wire: int
    begin: int
    value: int
    end: int


@dataclass(frozen=True, slots=True)
class Shown:
    """Values inside a graph that are to be outputs as well, behind its own: the first outputs of some nodes.

    Attributes:
        operator: The nodes' kind.
        depths: Which of that kind, from the first (0) to the last (1) in the order of the graph.
    """

    operator: str
    depths: Sequence[float]


def graph_alone(path: Path, shown: Shown | None = None) -> bytes:
    """A model as bytes whose large weights are said to lie in `path.name`.

    Args:
        path: An `.onnx` file.
        shown: What becomes an output; nothing that is computed changes. A model that has no such thing gets none.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such message.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:

        def weight(start: int, end: int) -> bytes:
            fields = list(_fields(data, start, end))
            raw = next((field for field in fields if field.number == _RAW_DATA), None)
            if raw is None or raw.end - raw.value < LEAST:
                return data[start:end]
            place = {"location": path.name, "offset": str(raw.value), "length": str(raw.end - raw.value)}
            entries = (_entry(name, value) for name, value in place.items())
            kept = (data[field.begin : field.end] for field in fields if field is not raw)
            return b"".join([*kept, *entries, _varint(_DATA_LOCATION << 3 | _VARINT), _varint(_EXTERNAL)])

        def graph(start: int, end: int) -> bytes:
            names = () if shown is None else _made_by(data, start, end, shown)
            outputs = (_tagged(_OUTPUT, _tagged(_NAME, name)) for name in names)
            return b"".join([_changed(data, start, end, {_INITIALIZER: weight}), *outputs])

        return _changed(data, 0, len(data), {_GRAPH: graph})


def _changed(data: mmap.mmap, start: int, end: int, changes: Mapping[int, Change]) -> bytes:
    """A message with other values in some of its fields."""
    return b"".join(
        _tagged(field.number, changes[field.number](field.value, field.end))
        if field.number in changes
        else data[field.begin : field.end]
        for field in _fields(data, start, end)
    )


def _made_by(data: mmap.mmap, start: int, end: int, shown: Shown) -> list[bytes]:
    """The names of the values that are to be shown, in a graph that stands between two places."""
    found: list[bytes] = []
    for node in _fields(data, start, end):
        if node.number == _NODE:
            parts = {
                part.number: data[part.value : part.end] for part in reversed([*_fields(data, node.value, node.end)])
            }
            if parts.get(_KIND) == shown.operator.encode():
                found.append(parts[_MADE])
    if not found:  # a model of another make has nothing to show
        return []
    return [found[round(depth * (len(found) - 1))] for depth in shown.depths]


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    place = start
    while place < end:
        tag, value = _number(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == _LENGTH:
            length, value = _number(data, value)
            stop = value + length
        elif wire == _VARINT:
            _, stop = _number(data, value)
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            stop = value + (8 if wire == _EIGHT_BYTES else 4)
        else:
            raise ValueError(f"found a field of kind {wire} at byte {place}; this is no ONNX model")
        if stop > end:
            raise ValueError(f"a field at byte {place} ends behind what it is part of; this is no whole ONNX model")
        yield _Field(number, wire, place, value, stop)
        place = stop


def _number(data: mmap.mmap, place: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError(f"found no number at byte {place}; this is no ONNX model")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _tagged(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(value)) + value


def _entry(name: str, value: str) -> bytes:
    return _tagged(_EXTERNAL_DATA, _tagged(_KEY, name.encode()) + _tagged(_VALUE, value.encode()))
