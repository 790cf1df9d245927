"""The nearest of many vectors, by their ids: an index that is kept in a file. It knows nothing of posts.

The index is USearch's (hierarchical navigable small worlds, Malkov and Yashunin 2018, arXiv 1603.09320), extra `index`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtefactError, InputError
from ..extras import needs

__all__ = ["Neighbours"]

EXACT = 2000
"""Vectors up to which all are compared: that is as fast, and misses none."""


class Neighbours:
    """Vectors with ids, and a search for the nearest by cosine.

    Args:
        width: Numbers of a vector.

    Attributes:
        ids: Of the vectors, in the order in which they were added.

    Raises:
        MissingExtraError: The extra `index` is not installed.
    """

    def __init__(self, width: int) -> None:
        with needs("index", "searching for nearest posts"):
            from usearch.index import Index
        self.width = width
        self.ids: list[str] = []
        self._index: Any = Index(ndim=width, metric="cos", dtype="f32")

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add vectors.

        Args:
            ids: One each; none is there already.
            vectors: float32 `[n, width]`, of any length but zero.

        Raises:
            InputError: An id comes twice, or a vector is of another width, zero or not finite.
        """
        if vectors.shape != (len(ids), self.width):
            wanted = [len(ids), self.width]
            raise InputError(f"found vectors {list(vectors.shape)}; wanted {wanted}", field="vectors")
        if len(known := set(ids)) < len(ids) or known & set(self.ids):
            raise InputError("an id comes twice", field="ids")
        if not np.isfinite(vectors).all() or not np.linalg.norm(vectors, axis=1).all():
            raise InputError("a vector is zero or not finite: a post without words and picture", field="vectors")
        keys = np.arange(len(self.ids), len(self.ids) + len(ids), dtype=np.uint64)
        self._index.add(keys, np.ascontiguousarray(vectors, dtype=np.float32))
        self.ids += ids

    def nearest(self, vector: NDArray[np.float32], count: int = 10) -> list[tuple[str, float]]:
        """The nearest ids and their cosines, the nearest first.

        Args:
            vector: float32 `[width]`.
            count: So many at most.
        """
        if not self.ids:
            return []
        found = self._index.search(np.asarray(vector, dtype=np.float32), count, exact=len(self) <= EXACT)
        return [(self.ids[int(match.key)], 1 - float(match.distance)) for match in found]

    def save(self, path: Path) -> None:
        """Write the index, and its ids beside it in `PATH.ids.json`."""
        self._index.save(str(path))
        _ids_of(path).write_text(json.dumps(self.ids), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` has written.

        Raises:
            ArtefactError: There is none, or it is damaged.
            MissingExtraError: The extra `index` is not installed.
        """
        with needs("index", "searching for nearest posts"):
            from usearch.index import Index
        try:
            index: Any = Index.restore(str(path)) if path.is_file() else None
            ids = json.loads(_ids_of(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RuntimeError) as error:
            raise ArtefactError(f"{path} is no index of vectors: {error}") from error
        if index is None or not isinstance(ids, list) or len(ids) != len(index):
            raise ArtefactError(f"{path} is no index of vectors with its ids beside it")
        loaded = cls(int(index.ndim))
        loaded._index, loaded.ids = index, [str(id_) for id_ in ids]
        return loaded


def _ids_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.ids.json")
