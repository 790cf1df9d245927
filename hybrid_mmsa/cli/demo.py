"""`hybrid-mmsa demo`: the bundled sample posts, answered and shown as a table. It holds no logic of its own."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from ..analyzer import Analyzer
from ..data import read_posts
from ..errors import ArtefactError
from ..types import Analysis, Sample
from .console import emit, invocation, page
from .options import AsJson

__all__ = ["PICTURES", "SAMPLES", "demo"]

SAMPLES = Path(__file__).parent.parent / "samples"

PICTURES = MappingProxyType(
    {
        "astronaut.jpg": "a smiling astronaut",
        "bricks.jpg": "a bare brick wall",
        "cat.jpg": "a tabby cat's face",
        "clock.jpg": "a blurred wall clock",
        "espresso.jpg": "a cup of espresso",
        "galaxies.jpg": "far galaxies",
        "photographer.jpg": "a man with a tripod",
        "rocket.jpg": "a rocket on its pad",
    }
)
"""What each sample picture shows."""


def demo(as_json: AsJson = False) -> None:
    """Answer the bundled sample posts and show them as a table.

    They are made-up posts with free photographs: plain ones, a sarcastic one, one whose words and picture disagree.

    For example:
        hybrid-mmsa demo
    """
    posts = list(read_posts(SAMPLES / "posts.jsonl"))
    answers = list(Analyzer.from_pretrained().stream(posts))
    if as_json:
        for answer in answers:
            emit(answer.model_dump_json())
        return
    from .show import PostTable

    shown: list[tuple[Sample, Analysis]] = []
    for (_, sample), answer in zip(posts, answers, strict=True):
        if not isinstance(sample, Sample) or not isinstance(answer, Analysis):
            raise ArtefactError(f"a bundled sample post cannot be read: {answer.model_dump_json()}")
        shown.append((sample, answer))
    console = page()
    console.print(PostTable(shown, PICTURES))
    if any(answer.route.decision == "defer" for _, answer in shown):
        console.print("Deferred posts are for a reasoner, a larger model; none is configured: the fast answer stands.")
    console.print(f'Your turn: {invocation()} analyze "What a day!" --image photo.jpg', soft_wrap=True)
