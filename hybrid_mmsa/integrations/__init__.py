"""Where users already work: data frames, scikit-learn, spaCy, Hugging Face pipelines, agents, a page to try.

One file per library, each a thin form of `Analyzer`, and none imports another. The files are imported by name, since
each needs its library: `from hybrid_mmsa.integrations.sklearn import SentimentClassifier`. No model is changed here.
"""

from __future__ import annotations

__all__: list[str] = []
