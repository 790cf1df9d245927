"""Words of one post beside the picture of another: posts whose two sides are both known, as many as are wanted.

Most labelled texts have no picture, so a model that learns from them as they are learns that the words say what the
post says. Here each is shown with a picture that somebody labelled by itself, and the rule that made MVSA's labels says
what they are together; where words and picture are opposites, it says nothing, and only the sides are known. Texts of
which only their sarcasm is known are shown so, too: else no post of words and a picture would be sarcastic.
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
    """Each text of known label or sarcasm once, beside another post's picture; none where there is no such picture.

    Pictures have a label of their own, as frequent as each other, so that a picture has to be looked at.

    Args:
        posts: Posts to learn from.
        seed: Chooses the pictures.
    """
    pictures: dict[Label, list[NanoPost]] = {label: [] for label in LABELS}
    for post in posts:
        if post.sample.image is not None and post.sample.image_label is not None:
            pictures[post.sample.image_label].append(post)
    for post in posts:
        words = post.sample
        said = words.text_label or (words.label if post.corpus in SAID and words.image is None else None)
        if not words.text or (said is None and words.sarcastic is None):
            continue
        labels = [label for label in LABELS if pictures[label] not in ([], [post])]
        if not labels:
            continue
        chance = random.Random(f"{seed}/{post.corpus}/{words.id}")
        others = pictures[chance.choice(labels)]
        shown = chance.choice(others)
        if shown is post:  # its own picture is no other post's
            shown = others[others.index(post) - 1]
        label = shown.sample.image_label
        yield NanoPost(
            Sample(
                text=words.text,
                image=shown.sample.image,
                id=f"{words.id}+{shown.sample.id}",
                label=None if said is None else joint_label(said, label),
                text_label=said,
                image_label=label,
                sarcastic=words.sarcastic,
            ),
            JOINED,
            shown.things,
        )
