"""Posts and beginnings of answers → what an open VLM reads: the one place where a question is put. Knows no adapter.

A model is trained on exactly what it will be asked, since training asks here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ....types import Sample
from ...prompt.question import Prompt
from .loading import Vlm

__all__ = ["ask"]


def ask(
    vlm: Vlm, prompt: Prompt, samples: Sequence[Sample], answers: Sequence[Sequence[int]], *, image_size: int | None
) -> dict[str, Any]:
    """The model's inputs for a batch: chats padded on the left, then answers padded on the right.

    All answers begin in one column: the width of `input_ids` less the length of the longest answer.

    Args:
        vlm: The model and its processor.
        prompt: What to ask with.
        samples: Read posts, all of them with a picture or none of them. A model of words alone is shown no pictures.
        answers: Token ids behind each post's prompt; at least what every answer begins with.
        image_size: Pixels the longest side of a picture is shrunk to first.

    Raises:
        TypeError, ValueError: The processor cannot read a post, such as a picture narrower than it takes.
    """
    chats = [prompt.messages(sample, image_size=image_size, pictures=vlm.sees) for sample in samples]
    processor, bos = vlm.processor, vlm.tokenizer.bos_token
    texts = processor.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    pictures = [[part["image"] for m in chat for part in m["content"] if part["type"] == "image"] for chat in chats]
    inputs = processor(
        text=texts,
        images=pictures if pictures[0] else None,
        padding=True,
        add_special_tokens=not (bos and texts[0].startswith(bos)),
        return_tensors="pt",
    ).to(vlm.model.device)
    shape, width = inputs["input_ids"].shape, max(map(len, answers))
    more = torch.full((len(answers), width), vlm.tokenizer.pad_token_id)
    there = torch.zeros_like(more)
    for row, answer in enumerate(answers):
        more[row, : len(answer)] = torch.tensor(answer)
        there[row, : len(answer)] = 1
    for name, values in inputs.items():
        if name == "input_ids":
            inputs[name] = torch.cat([values, more.to(values.device)], dim=1)
        elif values.shape == shape:  # the mask, and what some models say of every token's kind
            added = there if name == "attention_mask" else torch.zeros_like(there)
            inputs[name] = torch.cat([values, added.to(values.device, values.dtype)], dim=1)
        elif values.is_floating_point():
            inputs[name] = values.to(vlm.model.dtype)
    return dict(inputs)
