"""Values that do not change: the base of every result, and its mappings. Knows nothing of what results say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict

__all__ = ["FrozenDict", "FrozenMapping", "FrozenModel"]

K = TypeVar("K")
V = TypeVar("V")
TIMINGS = "timings"
"""The field that equality and hashes leave out, wherever a model has it."""
_CHANGES = ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update")


class FrozenDict(dict[K, V]):
    """A dictionary that refuses to change, and so can be hashed. `dict(values)` makes a copy that can change."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # dict switches hashing off
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return type(self), (dict(self),)


def _refuse(self: FrozenDict[Any, Any], *_: object, **__: object) -> NoReturn:
    raise TypeError("a result does not change; make a copy with dict(...) and change that")


for _name in _CHANGES:
    setattr(FrozenDict, _name, _refuse)

FrozenMapping: TypeAlias = Annotated[Mapping[K, V], AfterValidator(FrozenDict)]
"""The type of a result's field that maps: validated as its mapping, kept as a `FrozenDict`."""


class FrozenModel(BaseModel):
    """Base of all that leaves the SDK: immutable with everything in it, hashable, JSON both ways.

    A field that this version does not know is ignored, so that a document of a later minor version can be read. Two
    models of one type are equal when all fields but `timings` are.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash((type(self), *self._compared()))

    def _compared(self) -> list[Any]:
        return [getattr(self, name) for name in type(self).model_fields if name != TIMINGS]
