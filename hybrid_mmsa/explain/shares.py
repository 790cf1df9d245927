"""How much each side moved the verdict: exact Shapley values over the sides present. Knows nothing of models.

Shapley 1953; as modality shares: MM-SHAP, Parcalabescu & Frank 2023, arXiv 2212.08158.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import factorial

from ..types import Modality

__all__ = ["modality_shares"]


def modality_shares(values: Mapping[frozenset[Modality], float]) -> dict[Modality, float]:
    """Shapley value of each side.

    Args:
        values: Probability of the label for every set of sides seen, the empty set included.

    Returns:
        One value per side; they sum to `values[all sides] - values[no side]`.
    """
    everything: frozenset[Modality] = max(values, key=len)
    sides = sorted(everything)
    n = len(sides)
    shares: dict[Modality, float] = {}
    for side in sides:
        others = [s for s in sides if s != side]
        total = 0.0
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for subset in combinations(others, size):
                total += weight * (values[frozenset({*subset, side})] - values[frozenset(subset)])
        shares[side] = total
    return shares
