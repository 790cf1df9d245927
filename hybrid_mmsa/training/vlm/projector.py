"""Lessons → a projector: the one part that is trained; the language model, its LoRA and the tower stay as they are.

What is asked and what is to be answered is read by the language model alone, behind the tower's kept tokens, so a step
costs what a step of the language model costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ... import metrics
from ...reasoning.backends.transformers.beginning import beginning_first, read_beginning, repeated, shared_beginning
from ...reasoning.backends.transformers.loading import Vlm
from ...reasoning.prompt.labels import label_probabilities
from ...types import LABELS, FloatArray
from ..common.device import training_precision
from ..lora.examples import IGNORED
from .lessons import Lesson, Posts
from .tokens import PictureTokens

__all__ = ["Seeing", "measured"]

LOOKED_AT = 256
"""Pictures by which a random projector is scaled."""


class Seeing:
    """A language model that reads pictures' kept tokens through a projector.

    Args:
        vlm: The model, all of it frozen but its projector.
        tokens: Of all pictures.
    """

    def __init__(self, vlm: Vlm, tokens: PictureTokens) -> None:
        self._vlm = vlm
        self._tokens = tokens
        self._beginnings: dict[tuple[int, ...], Any] = {}
        vlm.model.requires_grad_(False)
        self.projector: Any = vlm.model.model.multi_modal_projector.float().requires_grad_(True)

    def begin(self, seed: int) -> None:
        """Begin with a random projector that gives what is as large as the embeddings of words: it learns sooner."""
        torch.manual_seed(seed)
        for layer in (self.projector.linear_1, self.projector.linear_2):
            layer.reset_parameters()
        words = self._vlm.model.get_input_embeddings().weight
        with torch.no_grad():
            given = self.projector(self._seen(slice(LOOKED_AT)))
            self.projector.linear_2.weight *= words.float().std() / given.std()
            self.projector.linear_2.bias.zero_()

    def loss(self, lesson: Lesson) -> Tensor:
        """Mean cross-entropy of what is taught."""
        kept = lesson.labels.shape[1] - lesson.start + 1
        logits = self.logits(lesson.inputs, lesson.pictures, kept)
        wanted = lesson.labels[:, lesson.start :].to(logits.device)
        return functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)

    def logits(self, inputs: dict[str, Tensor], pictures: Sequence[int] | None, kept: int) -> Tensor:
        """Logits `[n, kept, vocabulary]` of the last columns; what all rows begin with is read once for all steps.

        Args:
            inputs: See `Lesson`.
            pictures: The number of each row's picture; `None` where none is shown.
            kept: Columns at the end.
        """
        model = self._vlm.model
        shared = shared_beginning(inputs, kept, self._vlm.picture_token)
        rows = {name: value.to(model.device) for name, value in beginning_first(inputs, shared).items()}
        ids, shown = rows["input_ids"], {}
        if pictures is not None:
            seen = self.projector(self._seen(list(pictures)))
            shown = {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=list(seen))}}
        states = self._states(ids[0, :shared]) if shared else None
        if states is None:
            shared = 0
        with training_precision():
            found: Tensor = model(
                input_ids=ids[:, shared:],
                attention_mask=rows["attention_mask"],
                position_ids=rows["position_ids"][:, shared:],
                past_key_values=repeated(states, len(ids), shared) if states else None,
                use_cache=bool(states),
                logits_to_keep=kept,
                **shown,
            ).logits
        return found

    def _seen(self, pictures: list[int] | slice) -> Tensor:
        """Standardised tokens of some pictures, where the projector is."""
        return self._tokens.tokens[pictures].to(self._vlm.model.device, torch.float32)

    def _states(self, ids: Tensor) -> Any:
        key = tuple(ids.tolist())
        if key not in self._beginnings:
            with torch.no_grad():
                self._beginnings[key] = read_beginning(self._vlm.model, ids)
        return self._beginnings[key]

    def weights(self) -> dict[str, Tensor]:
        """The projector for tokens as the tower gives them."""
        return self._tokens.folded({name: value.detach().cpu() for name, value in self.projector.state_dict().items()})


def measured(seeing: Seeing, posts: Posts, captions: Iterable[Lesson], size: int) -> dict[str, Any]:
    """What is right on held-out posts with their own picture, with another post's, and with none; and captions' losses.

    Args:
        seeing: The model.
        posts: Posts that were not learnt from.
        captions: Lessons of photos that were not learnt from.
        size: Rows at a time.
    """
    gold = np.array([LABELS.index(sample.label) for sample in posts.samples if sample.label])
    alone = np.array([not sample.text for sample in posts.samples])
    other = np.roll(np.array(posts.pictures), len(posts.pictures) // 2).tolist()
    shown = {"own": posts.pictures, "another": other, "none": None}
    with torch.inference_mode():
        asked = {name: _asked(seeing, posts, pictures, size) for name, pictures in shown.items()}
        told = _told(seeing, list(captions))
    found: dict[str, Any] = {"captions": told} if told else {}
    for kind, inside in (("words and picture", ~alone), ("picture alone", alone)):
        if inside.any():
            found[kind] = {"posts": int(inside.sum())} | {
                name: {
                    "accuracy": float((values[inside].argmax(1) == gold[inside]).mean()),
                    "log_loss": metrics.nll(gold[inside], values[inside]),
                }
                for name, values in asked.items()
                if np.isfinite(values[inside]).all()
            }
    return found


def _asked(seeing: Seeing, posts: Posts, pictures: Sequence[int] | None, size: int) -> FloatArray:
    """Probabilities `[n, 3]`; of a picture alone that is not shown there are none."""
    probabilities = np.full((len(posts.samples), len(LABELS)), np.nan, np.float32)
    for rows in posts.kinds(size):
        if pictures is not None or posts.samples[rows[0]].text:
            inputs, words = posts.question(rows, seen=pictures is not None)
            numbers = None if pictures is None else [pictures[row] for row in rows]
            logits = seeing.logits(inputs, numbers, 1)[:, -1, words]
            probabilities[rows] = label_probabilities(logits.float().cpu().numpy())
    return probabilities


def _told(seeing: Seeing, captions: Sequence[Lesson]) -> dict[str, float]:
    """The log-loss of a caption's token with its own picture, and with the next one's."""
    if not captions:
        return {}
    own = [float(seeing.loss(lesson)) for lesson in captions]
    turned = [replace(lesson, pictures=[*lesson.pictures[1:], lesson.pictures[0]]) for lesson in captions]
    return {"own": float(np.mean(own)), "another": float(np.mean([float(seeing.loss(lesson)) for lesson in turned]))}
