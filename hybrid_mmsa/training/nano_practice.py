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

from ..reasoning.answer import NOTHING, write_answer
from ..reasoning.question import Prompt
from ..types import LABELS, Label
from .nano_lessons import JUDGED, KINDS, RATIONALE, Lessons, answer_tokens
from .nano_pieces import ASSISTANT, END
from .nano_rationales import Facts, compose
from .tuning_targets import Target

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
    starts = np.concatenate([[0], np.cumsum(lessons.lengths)])
    whose = np.repeat(np.arange(len(lessons)), lessons.lengths)
    telling = np.unique(whose[lessons.kinds == KINDS["claim"]])
    rows = telling[np.random.default_rng(seed).random(len(telling)) < share]
    asked, targets = list[list[int]](), list[Target]()
    for row in rows:
        ids = lessons.ids[starts[row] : starts[row + 1]].tolist()
        begin = len(ids) - ids[::-1].index(ASSISTANT)
        asked.append(ids[:begin])
        answer = tokenizer.decode([each for each in ids[begin:] if each != END])
        targets.append(_drawn_anew(answer, prompt, random.Random(f"{seed}/{row}")))
    said = answer_tokens(tokenizer, targets)
    given = [np.where(kinds == 0, KINDS["given"], kinds) for _, kinds in said]
    whole = [np.array(ask + ids, np.int16) for ask, (ids, _) in zip(asked, said, strict=True)]
    taught = [np.concatenate([np.zeros(len(ask)), kinds]) for ask, kinds in zip(asked, given, strict=True)]
    return replace(
        lessons.take(rows),
        ids=np.concatenate([np.empty(0, np.int16), *whole]),
        kinds=np.concatenate([np.empty(0), *taught]).astype(np.int8),
        lengths=np.array([len(ids) for ids in whole], np.int64),
    )


def _drawn_anew(answer: str, prompt: Prompt, chance: random.Random) -> Target:
    """The answer with other labels, and a rationale that tells them."""
    written = json.loads(answer)
    drawn: dict[str, Label] = {name: chance.choice(LABELS) for name in JUDGED if written[name] != NOTHING}
    text, picture = drawn.get("text_says"), drawn.get("picture_says")
    seen = tuple(written["picture_cues"]) if picture else ()
    facts = Facts(drawn["label"], text, picture, seen=seen, alone=text is None or picture is None)
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
