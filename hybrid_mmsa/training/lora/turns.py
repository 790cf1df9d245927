"""In which order posts are learnt from: turns drawn by label, packed into micro-batches of one kind. Knows no model.

The order depends on the recipe, the labels and the number of GPUs alone, so a run that was killed goes on with the
same batches.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ...types import LABELS, Sample
from .recipe import TuningRecipe

__all__ = ["Course", "Turn", "plan_course"]

SAME_LENGTH = 40
"""Characters by which the posts of a micro-batch may differ."""
MOST_WAITING = 64
"""Steps after which a post of a rare kind is learnt from in a smaller micro-batch."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One post's turn.

    Attributes:
        row: The post's number in the training part.
        reasons: Whether more than the label is taught.
        variant: Chooses the wording of a composed rationale.
    """

    row: int
    reasons: bool
    variant: int


@dataclass(frozen=True, slots=True)
class Course:
    """A whole training run.

    Attributes:
        steps: Updates of the weights.
        accumulate: Micro-batches of a step on each GPU.
        batches: All micro-batches in order: `steps * accumulate * gpus` of them.
    """

    steps: int
    accumulate: int
    batches: tuple[tuple[Turn, ...], ...]


def plan_course(
    samples: Sequence[Sample], recipe: TuningRecipe, gpus: int = 1, telling: Collection[int] | None = None
) -> Course:
    """The order of a run over the training part.

    A micro-batch holds posts that may be asked about together: all with a picture or none, all with a target or none;
    and of about one length, posts and answers, so that little is padded.

    Args:
        samples: The training part, labelled.
        recipe: Epochs, batch sizes, balance, share of reasons, seed.
        gpus: How many share a step.
        telling: The posts of which more than the label is known, by number; by default all. Turns that teach more are
            theirs, and are as many as the recipe says, where they suffice.
    """
    accumulate = math.ceil(recipe.batch_size / (recipe.micro_batch * gpus))
    steps = math.ceil(recipe.epochs * len(samples) / recipe.batch_size)
    patience = min(len(samples), MOST_WAITING * recipe.batch_size)
    batches: list[tuple[Turn, ...]] = []
    waiting: dict[tuple[bool, bool, bool, int], deque[tuple[int, Turn]]] = {}
    for drawn, turn in enumerate(_turns(samples, recipe, telling)):
        if len(batches) >= steps * accumulate * gpus:
            break
        sample = samples[turn.row]
        length = len(sample.text or "") // SAME_LENGTH
        # Where a picture is read, its tokens are more than those of an answer with reasons.
        pictured = sample.image is not None
        kind = (pictured, bool(sample.target), turn.reasons and not pictured, length)
        waiting.setdefault(kind, deque()).append((drawn, turn))
        for queue in waiting.values():
            # Posts of a rare kind do not wait for others of it forever.
            if len(queue) == recipe.micro_batch or (queue and drawn - queue[0][0] >= patience):
                batches.append(tuple(turn for _, turn in queue))
                queue.clear()
    return Course(steps, accumulate, tuple(batches[: steps * accumulate * gpus]))


def _turns(samples: Sequence[Sample], recipe: TuningRecipe, telling: Collection[int] | None) -> Iterator[Turn]:
    """Turns without end: a label by its share, then the next post of that label in a shuffled round."""
    chance = random.Random(recipe.seed)
    rows = {label: [i for i, sample in enumerate(samples) if sample.label == label] for label in LABELS}
    rows = {label: posts for label, posts in rows.items() if posts}
    shares = {
        label: (1 - recipe.balance) * len(posts) / len(samples) + recipe.balance / len(rows)
        for label, posts in rows.items()
    }

    def rounds_of(posts: Sequence[int]) -> Iterator[int]:
        while True:
            yield from chance.sample(posts, len(posts))

    rounds = {label: rounds_of(posts) for label, posts in rows.items()}
    tells = [telling is None or row in telling for row in range(len(samples))]
    reasons = recipe.reasons * len(tells) / max(1, sum(tells))
    owed = dict.fromkeys(rows, 0.0)
    while True:
        # The label that is furthest behind its share, so that every step is nearly balanced.
        for label, share in shares.items():
            owed[label] += share
        label = max(owed, key=lambda each: (owed[each], chance.random()))
        owed[label] -= 1
        row = next(rounds[label])
        yield Turn(row, tells[row] and chance.random() < reasons, chance.getrandbits(31))
