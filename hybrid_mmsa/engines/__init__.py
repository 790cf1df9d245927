"""Posts that another program has cut into batches, on one machine or many: `BatchAnalyzer` answers them.

It knows batches of columns and how an engine calls for their answers, and opens nothing before it is called.
"""

from __future__ import annotations

from .batch_analyzer import BatchAnalyzer
from .failure_rate import FailureRate
from .local import Call, LocalEngine
from .posts import columns_named, post_of

__all__ = ["BatchAnalyzer", "Call", "FailureRate", "LocalEngine", "columns_named", "post_of"]
