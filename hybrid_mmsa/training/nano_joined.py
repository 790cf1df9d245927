"""Words of one post beside the picture of another: posts whose two sides are both known, as many as are wanted.

Most labelled texts have no picture, so a model that learns from them as they are learns that the words say what the
post says. Here each is shown with a picture that somebody labelled by itself, and the rule that made MVSA's labels says
what they are together; where words and picture are opposites, it says nothing, and only the sides are known.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from ..data import joint_label
from ..types import LABELS, Label, Sample
from .nano_corpora import SAID, NanoPost

__all__ = ["JOINED", "joined_posts"]

JOINED = "joined"
"""Their corpus."""


def joined_posts(posts: Sequence[NanoPost], seed: int) -> Iterator[NanoPost]:
    """Each labelled text once, beside a picture of somebody else's; none where no picture has a label of its own.

    The pictures' labels are as frequent as each other, so that a picture has to be looked at.

    Args:
        posts: Posts to learn from.
        seed: Chooses the pictures.
    """
    pictures: dict[Label, list[NanoPost]] = {label: [] for label in LABELS}
    for post in posts:
        if post.sample.image is not None and post.sample.image_label is not None:
            pictures[post.sample.image_label].append(post)
    labels = [label for label in LABELS if pictures[label]]
    if not labels:
        return
    for post in posts:
        words = post.sample
        said = words.text_label or (words.label if post.corpus in SAID and words.image is None else None)
        if not words.text or said is None:
            continue
        chance = random.Random(f"{seed}/{post.corpus}/{words.id}")
        shown = chance.choice(pictures[chance.choice(labels)])
        label = shown.sample.image_label
        yield NanoPost(
            Sample(
                text=words.text,
                image=shown.sample.image,
                id=f"{words.id}+{shown.sample.id}",
                label=joint_label(said, label),
                text_label=said,
                image_label=label,
            ),
            JOINED,
            shown.things,
        )
