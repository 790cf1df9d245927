"""What tuning a model will take: memory and time, estimated from its layers and a few posts. Reads no weights."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from ...reasoning.backends.transformers.loading import Vlm
from .checks import language_linears
from .examples import Examples
from .recipe import TuningRecipe
from .turns import Course, Turn

__all__ = ["Estimate", "estimate"]

LOOKED_AT = 16
"""Posts whose tokens are counted."""
NF4 = 0.53
"""Bytes of a weight in NF4 with double quantisation (Dettmers et al. 2023, section 3)."""
TRAINED = 16
"""Bytes of a trained number: itself, its gradient and Adam's two moments, 32 bits each."""
REACHED_SPEED = 0.35
"""Share of a plain matrix product's speed that training reaches; from experience, not measured here."""
SPARE = 1.15
GB = 1e9


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimates, all rough.

    Attributes:
        parameters: Numbers of the model.
        trained: Numbers that will be trained.
        tokens: Mean tokens of a post with prompt and answer.
        longest: Most tokens of the posts looked at.
        memory: Bytes per GPU, or of the machine's memory on a CPU.
        seconds: Training alone; measuring comes on top.
    """

    parameters: int
    trained: int
    tokens: float
    longest: int
    memory: float
    seconds: float

    def lines(self) -> list[str]:
        """For people."""
        duration = f"about {max(1, round(self.seconds))} s"
        if self.seconds >= 90:
            minutes = self.seconds / 60
            duration = f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"
        return [
            f"{self.parameters / 1e6:,.1f} million weights, {self.trained / 1e6:,.2f} million trained; "
            f"{self.tokens:.0f} tokens a post, {self.longest} at most among those looked at",
            f"estimated: {self.memory / GB:,.1f} GB of memory, {duration} of training, then measuring",
        ]


def estimate(
    shape: Vlm, examples: Examples, course: Course, recipe: TuningRecipe, *, posts: int, device: torch.device
) -> Estimate:
    """Estimate from a model without weights.

    Args:
        shape: From `open_shape`.
        examples: Over the same, of the training part.
        course: The run.
        recipe: Rank, precision, micro-batch.
        posts: In the training part.
        device: Where training will run.
    """
    linears: list[Any] = [shape.model.get_submodule(name) for name in language_linears(shape)]
    parameters = sum(weights.numel() for weights in shape.model.parameters())
    tuned = sum(m.in_features * m.out_features for m in linears)
    trained = sum(recipe.rank * (m.in_features + m.out_features) for m in linears)
    rows = range(0, posts, max(1, posts // LOOKED_AT))
    batches = [examples.batch([Turn(row, reasons=True, variant=row)]) for row in rows]
    lengths = [batch.labels.shape[1] for batch in batches]
    answers = [batch.labels.shape[1] - batch.start for batch in batches]
    width = 4 if device.type == "cpu" else 2
    text: Any = shape.model.config.get_text_config()
    longest = recipe.micro_batch * max(lengths)
    inner = 2 * sum(m.out_features for m in linears) * longest * width
    layers = text.num_hidden_layers
    activations = inner / layers + layers * longest * text.hidden_size * width if recipe.checkpointing else inner
    weights = (parameters - tuned) * width + tuned * (NF4 if recipe.quantise == "4bit" else width)
    logits = recipe.micro_batch * max(answers) * text.vocab_size * 4 * 3
    mean = sum(lengths) / len(lengths)
    work = sum(map(len, course.batches)) * mean * tuned * (6 if recipe.checkpointing else 4)
    gpus = len(course.batches) / (course.steps * course.accumulate)
    return Estimate(
        parameters=parameters,
        trained=trained,
        tokens=mean,
        longest=max(lengths),
        memory=SPARE * (weights + TRAINED * trained + activations + logits),
        seconds=work / (_speed(device) * REACHED_SPEED * gpus),
    )


def _speed(device: torch.device) -> float:
    """Floating-point operations a second of a plain matrix product."""
    side, dtype = (512, torch.float32) if device.type == "cpu" else (4096, torch.bfloat16)
    one = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        float((one @ one)[0, 0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
