"""Recommendation by feeling: what a person liked → other items that feel alike, not items about the same thing.

    python eval/examples/recommendation.py

An item's feeling is a few numbers: the sentiment of the whole, of its words and of its picture, and the emotion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import hybrid_mmsa
from hybrid_mmsa import Analysis, Analyzer, Sample

SAMPLES = Path(hybrid_mmsa.__file__).parent / "samples"
ITEMS = {
    "launch party": ("What a night! We danced under the rocket and laughed until dawn 🎉", "rocket.jpg"),
    "cat café": ("My happy place: purring cats and cake, I love it so much 😍", "cat.jpg"),
    "coffee fair": ("So excited for the coffee fair, wonderful people and a great mood!", "espresso.jpg"),
    "lost love": ("I miss you every day. The saddest songs I ever wrote 💔", None),
    "funeral march": ("We lost our captain. A lonely, sad and silent farewell 😢", None),
    "rage room": ("I am so angry, I hate this noise and everyone who makes it 😡", "bricks.jpg"),
    "timetable": ("The clock at platform 4 was moved to platform 6 on Monday.", "clock.jpg"),
    "star atlas": ("Simply breathtaking, I keep coming back to these galaxies ✨", "galaxies.jpg"),
}
LIKED = {
    "tears": ("Cried all evening. So sad that she is gone 😢", None),
    "goodbye": ("The last letter broke my heart", None),
}


def feeling(answer: Analysis) -> NDArray[np.float64]:
    """Sentiment and emotion as one vector; an emotion counts as much as the post is not neutral."""
    moved = 1 - answer.sentiment.probabilities["neutral"]
    emotions = answer.emotion.probabilities if answer.emotion else {}
    said = [*answer.sentiment.probabilities.values(), *(moved * p for p in emotions.values())]
    return np.array([*said, *[0.0] * (7 - len(said))])


def rank(
    items: Mapping[str, Sequence[str | None]], liked: Mapping[str, Sequence[str | None]]
) -> list[tuple[str, float]]:
    """Items by how near they feel to what was liked, the nearest first: cosine of the feelings, -1 to 1."""
    posts = [
        Sample(text=text, image=None if picture is None else SAMPLES / picture)
        for text, picture in (*liked.values(), *items.values())
    ]
    answers = Analyzer.from_pretrained().analyze_batch(posts, explain="none")
    feelings = np.array([feeling(answer) for answer in answers])
    feelings -= feelings.mean(0)  # what all of them share says nothing
    feelings /= np.linalg.norm(feelings, axis=1, keepdims=True)
    taste = feelings[: len(liked)].mean(0)
    near = feelings[len(liked) :] @ (taste / np.linalg.norm(taste))
    return sorted(zip(items, near.tolist(), strict=True), key=lambda found: -found[1])


def main() -> None:
    """Print the ranking for a person who liked two sad posts."""
    console = Console(highlight=False)
    for name, score in rank(ITEMS, LIKED):
        console.print(f"{score:+.2f}  {name}")


if __name__ == "__main__":
    main()
