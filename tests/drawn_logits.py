"""Drawn logits of every task, as a head gives them, and temperatures for them."""

import numpy as np

from hybrid_mmsa.calibration import Calibration
from hybrid_mmsa.types import TASKS

CLASSES = {"sarcasm": 2, "emotion": 4}


def task_logits(n, *, text, image, target):
    """Drawn logits per task: NaN where a side is missing."""
    rng = np.random.default_rng(n + 2 * text + 4 * image + 8 * target)
    there = {"sentiment": text and image, "target_sentiment": text and target}
    there |= dict.fromkeys(("text_sentiment", "text_alone", "sarcasm", "emotion"), text)
    there |= dict.fromkeys(("image_sentiment", "image_alone"), image)
    shapes = {task: (n, CLASSES.get(task, 3)) for task in TASKS}
    draws = {task: rng.normal(size=shape).astype(np.float32) for task, shape in shapes.items()}
    return {task: draws[task] if there[task] else np.full_like(draws[task], np.nan) for task in TASKS}


def calibration_of_tasks():
    """A temperature of its own for each task."""
    return Calibration({task: 0.5 + 0.25 * i for i, task in enumerate(TASKS)})
