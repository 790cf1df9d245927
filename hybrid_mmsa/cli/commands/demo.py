"""`hybrid-mmsa demo`: the bundled sample posts, answered and shown as a table. It holds no logic of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ...analyzer import Analyzer
from ...data import read_posts
from ...errors import ArtefactError
from ...types import Analysis, ExplainLevel, Sample
from ..terminal.console import emit, invocation, page
from ..terminal.options import AsJson, ReasonerChoice

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PICTURES", "SAMPLES", "demo"]

SAMPLES = Path(__file__).parents[2] / "samples"

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


def demo(reasoner: ReasonerChoice = None, as_json: AsJson = False) -> None:
    """Analyse the bundled sample posts and show them as a table.

    The posts are invented and the photographs free: plain posts, a sarcastic one, one whose words and picture disagree.
    With a reasoner, the deferred posts are sent to it and every step is shown.

    For example:
        hybrid-mmsa demo
        hybrid-mmsa demo --reasoner smol
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the page is for the posts
    with Analyzer.from_pretrained(reasoner=reasoner) as analyzer:
        posts = _answers(analyzer)
        name = None if analyzer.reasoner is None else analyzer.reasoner.id
    if as_json:
        for _, answer in posts:
            emit(answer.model_dump_json())
        return
    from ..terminal.show import PostTable

    console = page()
    console.print(PostTable(posts, PICTURES))
    _show_deferred(console, [post for post in posts if post[1].route.decision == "defer"], name)
    more = "" if reasoner is None else f" --reasoner {reasoner} --mode deep"
    console.print(f'Your turn: {invocation()} analyze "What a day!" --image photo.jpg{more}', soft_wrap=True)


def _answers(analyzer: Analyzer) -> list[tuple[Sample, Analysis]]:
    """Every sample post and its answer; a reasoner writes its rationale, too."""
    explain: ExplainLevel = "modality" if analyzer.reasoner is None else "full"
    rows = [row for _, row in read_posts(SAMPLES / "posts.jsonl")]
    posts: list[tuple[Sample, Analysis]] = []
    for sample, answer in zip(rows, analyzer.stream(rows, explain=explain), strict=True):
        if not isinstance(sample, Sample) or not isinstance(answer, Analysis):
            raise ArtefactError(f"a bundled sample post cannot be read: {answer.model_dump_json()}")
        posts.append((sample, answer))
    return posts


def _show_deferred(console: Console, deferred: Sequence[tuple[Sample, Analysis]], reasoner: str | None) -> None:
    from ..terminal.show import DeferredPosts

    if reasoner is None:
        if deferred:
            console.print(
                "Deferred posts are for a reasoner, a larger model. None is configured, so the fast answer stands.\n"
                f"A small one (extra vlm, 0.1 GB): {invocation()} models pull smol, then {invocation()} demo "
                "--reasoner smol",
                soft_wrap=True,
            )
    elif deferred:
        posts = "1 post is" if len(deferred) == 1 else f"{len(deferred)} posts are"
        console.print(f"{posts} deferred; {reasoner} is asked:\n")
        console.print(DeferredPosts(deferred, PICTURES))
    else:
        console.print(
            f"No post is deferred: the fast tier is sure of it, or asking {reasoner} is not known to help there.",
            soft_wrap=True,
        )
