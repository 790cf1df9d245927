"""The head of a model card as Hugging Face reads it: licence, task, and the block of what was measured. Fits nothing.

The format is that of https://huggingface.co/docs/hub/model-cards, section "Evaluation Results". Values are written as
JSON, which is YAML as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["CardResult", "front_matter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardResult:
    """One figure of a card.

    Attributes:
        dataset: What it was measured on, as people read it.
        metric: Its name, such as `accuracy` or `macro F1`.
        value: The figure, as the card's own tables show it.
        note: The rest of it: interval and number of posts.
    """

    dataset: str
    metric: str
    value: float
    note: str = ""


def front_matter(name: str, results: Iterable[CardResult], *, licence: str = "other", base: str | None = None) -> str:
    """The block between `---` that a card begins with, with an empty line behind it.

    Args:
        name: The adapter's.
        results: What was measured.
        licence: An identifier of the hub; `other` where the terms are in the card.
        base: The model that it adapts, where that has a name on the hub.
    """
    values: dict[str, Any] = {
        "language": ["en"],
        "library_name": "hybrid_mmsa",
        "license": licence,
        "pipeline_tag": "text-classification",
        "tags": ["sentiment-analysis", "multimodal", "calibration"],
    }
    if base is not None:
        values["base_model"] = base
    lines = [f"{key}: {json.dumps(value)}" for key, value in values.items()]
    if entries := [_entry(result) for result in results]:
        lines += ["model-index:", f"- name: {json.dumps(name)}", "  results:", *entries]
    return "\n".join(["---", *lines, "---", "", ""])


def _entry(result: CardResult) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", result.dataset.lower()).strip("-")
    return "\n".join(
        [
            '  - task: {"type": "text-classification", "name": "Sentiment of posts"}',
            f"    dataset: {json.dumps({'type': slug, 'name': result.dataset}, ensure_ascii=False)}",
            "    metrics:",
            "    - "
            + json.dumps(
                {
                    "type": result.metric.lower().replace(" ", "_"),
                    "value": result.value,
                    "name": f"{result.metric} {result.note}".strip(),
                },
                ensure_ascii=False,
            ),
        ]
    )
