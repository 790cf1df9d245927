"""Lessons in giving a reason: the answer is given up to the rationale, its labels drawn by chance. Knows no model.

A rationale is to say what the fields before it say, whatever that is. In posts that people labelled some labels never
stand together (the rule of MVSA leaves out posts whose sides are opposites), and the post says what its fields say; a
model learns from them to read the post once more, and to write what is usual where its fields are not. Here each
combination is as frequent as any other, and the post has no part in it. Nothing but the rationale is taught.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np

from ...reasoning.prompt.answer import NOTHING, write_answer
from ...reasoning.prompt.question import Prompt
from ...types import LABELS, Label
from ..answers.rationales import Facts, compose
from ..answers.targets import Target
from .lessons import JUDGED, KINDS, RATIONALE, Lessons, answer_tokens, asked_and_said, end_to_end
from .pieces import ASSISTANT, END

__all__ = ["practised"]


def practised(lessons: Lessons, tokenizer: Any, prompt: Prompt, share: float, seed: int) -> Lessons:
    """Some of the lessons that teach a whole rationale, each with labels drawn by chance and a rationale of those.

    What is asked, the cues and whether it is sarcastic stay as they are.

    Args:
        lessons: As `write_lessons` wrote them.
        tokenizer: Theirs.
        prompt: Gives the label words.
        share: Share of those lessons that is taken, in [0, 1].
        seed: Chooses lessons, labels and wordings.
    """
    telling = lessons.teaching("claim")
    rows = telling[np.random.default_rng(seed).random(len(telling)) < share]
    chosen = lessons.take(rows)
    asked, targets = list[list[int]](), list[Target]()
    for row, tokens in zip(rows, np.split(chosen.ids, np.cumsum(chosen.lengths))[:-1], strict=True):
        ids = tokens.tolist()
        begin = len(ids) - ids[::-1].index(ASSISTANT)
        asked.append(ids[:begin])
        answer = tokenizer.decode([each for each in ids[begin:] if each != END])
        targets.append(_drawn_anew(answer, prompt, random.Random(f"{seed}/{row}")))
    written = [
        asked_and_said(ask, said, np.where(kinds == KINDS["nothing"], KINDS["given"], kinds).astype(np.int8))
        for ask, (said, kinds) in zip(asked, answer_tokens(tokenizer, targets), strict=True)
    ]
    ids, kinds, lengths = end_to_end(written)
    return replace(chosen, ids=ids, kinds=kinds, lengths=lengths)


def _drawn_anew(answer: str, prompt: Prompt, chance: random.Random) -> Target:
    """The answer with other labels, and a rationale that tells them."""
    written = json.loads(answer)
    drawn: dict[str, Label] = {name: chance.choice(LABELS) for name in JUDGED if written[name] != NOTHING}
    text, picture = drawn.get("text_says"), drawn.get("picture_says")
    seen = tuple(written["picture_cues"]) if picture else ()
    facts = Facts(drawn["label"], text, picture, things=seen, alone=text is None or picture is None)
    anew = write_answer(
        prompt,
        label=facts.label,
        text_says=text,
        picture_says=picture,
        sarcastic=written["sarcastic"],
        text_cues=written["text_cues"],
        picture_cues=written["picture_cues"],
        rationale=compose(facts, chance),
    )
    start = anew.rindex(RATIONALE) + len(RATIONALE)
    return Target(anew, facts.label, ((start, len(anew)),), closes=True)
