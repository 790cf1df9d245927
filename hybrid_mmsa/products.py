"""Products of matrices that stay on the thread that asks for them. Knows nothing of what is multiplied.

NumPy's BLAS (OpenBLAS) gives larger products to threads of its own, which wait in a loop for some 26 ms for more:
beside products of a millisecond that doubles what an answer costs, and workers of a program get in each other's way.
How many threads it has is one setting for the whole process, so it is the host's to choose.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["product"]

MOST = 2**18
"""Multiplications of one product that OpenBLAS does on the caller's thread (`interface/gemm.c`: 65,536 times 4)."""
MOST_OF_A_VECTOR = 2304 * 4
"""Likewise where one side is a single vector (`interface/gemv.c`)."""


def product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """`left @ right`, in pieces that are small enough.

    Args:
        left: float32 `[m, k]`.
        right: float32 `[k, n]`.
    """
    rows, inner, columns = *left.shape, right.shape[1]
    if rows * inner * columns <= (MOST if min(rows, columns) > 1 else MOST_OF_A_VECTOR):
        whole: NDArray[Any] = left @ right
        return whole
    longest, half = max(rows, inner, columns), max(rows, inner, columns) // 2
    if longest == inner:
        return product(left[:, :half], right[:half]) + product(left[:, half:], right[half:])
    if longest == columns:
        return np.concatenate([product(left, right[:, :half]), product(left, right[:, half:])], axis=1)
    return np.concatenate([product(left[:half], right), product(left[half:], right)])
