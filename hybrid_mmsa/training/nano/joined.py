"""Words of one post beside the picture of another: posts of which more is known than corpora tell.

Most labelled texts have no picture, so a model that learns from them as they are learns that the words say what the
post says. Here each is shown with a picture that somebody labelled by itself, and the rule that made MVSA's labels says
what they are together; where words and picture are opposites, it says nothing, and only the sides are known. Of some
texts without a picture only their sarcasm is known. They are shown so, too: else no post of words and a picture would
be sarcastic.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from ...data import joint_label
from ...types import LABELS, Label, Sample
from .corpora import SAID, NanoPost

__all__ = ["JOINED", "joined_posts"]

JOINED = "joined"
"""Their corpus."""


def joined_posts(posts: Sequence[NanoPost], seed: int) -> Iterator[NanoPost]:
    """Texts whose words have a label, or whose sarcasm is known, once each beside another post's picture.

    The pictures have a label of their own; the labels are as frequent as each other, so that a picture has to be looked
    at. Sarcasm is known of words that came without a picture, and the rule of labels knows none: it is not told of
    others.

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
        meant = words.sarcastic if said is None and words.image is None else None
        if not words.text or (said is None and meant is None):
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
                sarcastic=meant,
            ),
            JOINED,
            shown.things,
        )
