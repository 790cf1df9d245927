"""Nearest posts: to what a person liked, items about the same thing, items that feel the same, and both at once.

    python eval/examples/nearest_posts.py

Needs the extra `index`. Two vectors of each item are indexed as one: what it is about, and what it feels, each in its
share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import hybrid_mmsa
from hybrid_mmsa import Analyzer, Sample
from hybrid_mmsa.search import Neighbours

SAMPLES = Path(hybrid_mmsa.__file__).parent / "samples"
ITEMS = {
    "cat joy": ("My cat purred on my lap all evening, I am so happy 😍", "cat.jpg"),
    "cat grief": ("We had to say goodbye to our old cat today. So sad 😢", "cat.jpg"),
    "coffee joy": ("Best espresso of my life, what a lovely morning!", "espresso.jpg"),
    "coffee anger": ("Cold coffee again and a rude waiter. I am so angry 😡", "espresso.jpg"),
    "rocket joy": ("We have lift-off! I cried with joy, what a launch 🎉", "rocket.jpg"),
    "rocket grief": ("The launch failed. Years of work gone, we are heartbroken 💔", "rocket.jpg"),
}
LIKED = Sample(text="Our dog died last night. I miss him, I am so sad 😢")


def index(items: Mapping[str, Sequence[str]], analyzer: Analyzer, feeling: float) -> Neighbours:
    """The items by both vectors; `feeling` in [0, 1] is how much of the likeness is what they feel."""
    posts = [Sample(text=text, image=SAMPLES / picture) for text, picture in items.values()]
    found = vectors(posts, analyzer, feeling)
    made = Neighbours(found.shape[1])
    made.add(list(items), found)
    return made


def vectors(posts: Sequence[Sample], analyzer: Analyzer, feeling: float) -> NDArray[np.float32]:
    """Both vectors side by side: their cosine is the weighted mean of both likenesses."""
    about, felt = analyzer.embed(posts), analyzer.affect(posts)
    return np.concatenate([np.sqrt(1 - feeling) * about, np.sqrt(feeling) * felt], axis=1).astype(np.float32)


def rank(feeling: float, analyzer: Analyzer) -> list[tuple[str, float]]:
    """All items, those nearest to what was liked first."""
    (liked,) = vectors([LIKED], analyzer, feeling)
    return index(ITEMS, analyzer, feeling).nearest(liked, len(ITEMS))


def main() -> None:
    """Print three rankings for somebody who liked a post of grief for a dog."""
    console, analyzer = Console(highlight=False), Analyzer.from_pretrained(cache=100)
    for name, feeling in (("about", 0.0), ("both", 0.5), ("feeling", 1.0)):
        console.print(f"{name}: " + ", ".join(f"{item} {score:.2f}" for item, score in rank(feeling, analyzer)[:3]))


if __name__ == "__main__":
    main()
