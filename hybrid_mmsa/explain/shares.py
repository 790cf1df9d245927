"""How much each source moved the answer: exact Shapley values over the sources present. Knows nothing of models.

Shapley 1953; as modality shares: MM-SHAP, Parcalabescu & Frank 2023, arXiv 2212.08158.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import factorial

from ..types import Source

__all__ = ["modality_shares"]


def modality_shares(values: Mapping[frozenset[Source], float]) -> dict[Source, float]:
    """Shapley value of each source: a side of the post, or the words in its picture.

    Args:
        values: Probability of the label for every set of sources read, the empty set included.

    Returns:
        One value per source; they sum to `values[all sources] - values[no source]`.
    """
    everything: frozenset[Source] = max(values, key=len)
    sources = sorted(everything)
    n = len(sources)
    shares: dict[Source, float] = {}
    for source in sources:
        others = [s for s in sources if s != source]
        total = 0.0
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for subset in combinations(others, size):
                total += weight * (values[frozenset({*subset, source})] - values[frozenset(subset)])
        shares[source] = total
    return shares
