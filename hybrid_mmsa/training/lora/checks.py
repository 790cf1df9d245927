"""What must hold before and after a LoRA adapter is trained, each refused with its cause. Knows no trainer.

What is learnt is the answer and nothing else; what is trained is the language model's LoRA and nothing else; vision
tower and projector come out as they went in.
"""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from ...errors import ArtefactError, InputError
from ...reasoning.backends.transformers.loading import Vlm
from ..answers.targets import Target
from .examples import IGNORED, Batch, is_taught

__all__ = ["check_frozen", "check_learnt", "frozen_print", "language_linears", "linear_names"]


def linear_names(model: nn.Module) -> list[str]:
    """The names of a model's linear layers, quantised or not."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def language_linears(vlm: Vlm) -> list[str]:
    """The linear layers of the language model, by their whole names: what a LoRA adapter may change.

    They are found by where they stand in the model, never by what they are called.

    Raises:
        ArtefactError: There is none.
    """
    names = [name for name in linear_names(vlm.model) if name.startswith(f"{vlm.language}.")]
    if not names:
        raise ArtefactError(f"the language model ({vlm.language}) has no linear layer to tune")
    return names


def check_learnt(vlm: Vlm, batch: Batch) -> list[str]:
    """What is learnt of each post in a batch, decoded from the tokens themselves.

    Raises:
        InputError: Nothing is learnt, or something else than the wanted answers.
    """
    if not bool((batch.labels != IGNORED).any()):
        raise InputError(
            "all labels are masked: no token of the first batch would be learnt; the chat template or the prompt "
            "hides the answer",
            field="posts",
        )
    learnt_texts = []
    for labels, ids, target in zip(batch.labels, batch.inputs["input_ids"], batch.targets, strict=True):
        learnt = labels != IGNORED
        if not bool(learnt.any()):
            raise InputError("all labels of a post are masked: nothing would be learnt of it", field="posts")
        if bool(learnt[: batch.start].any()) or not torch.equal(labels[learnt], ids[learnt]):
            raise InputError("tokens outside of the answer would be learnt", field="posts")
        text = str(vlm.tokenizer.decode(labels[learnt].tolist(), skip_special_tokens=True))
        expected = _taught_text(vlm, target)
        if _letters(text) != _letters(expected) or not bool(learnt[batch.column]):
            raise InputError(f"{text[:80]!r} would be learnt instead of {expected[:80]!r}", field="posts")
        if target.closes and labels[learnt][-1].item() != vlm.tokenizer.eos_token_id:
            raise InputError("the end of the answer would not be learnt", field="posts")
        learnt_texts.append(text)
    return learnt_texts


def check_frozen(vlm: Vlm, model: nn.Module) -> int:
    """How many numbers are trained: all of them LoRA weights of the language model.

    Args:
        vlm: The model as it was opened.
        model: The same with adapters in its layers.

    Raises:
        ArtefactError: Something else would be trained, an adapter stands outside of the language model, or nothing
            would be trained.
    """
    inside = f".{vlm.language}."
    wrong = [name for name, weights in model.named_parameters() if weights.requires_grad and not _is_lora(name, inside)]
    if wrong:
        raise ArtefactError(
            f"{len(wrong)} weights that must stay as they are would be trained, such as {wrong[0]!r}: only LoRA "
            f"weights of the language model ({vlm.language}) may be; vision tower and projector are frozen"
        )
    strays = [name for name, _ in model.named_parameters() if "lora_" in name and not _is_lora(name, inside)]
    if strays:
        raise ArtefactError(f"a LoRA stands outside of the language model ({vlm.language}): {strays[0]!r}")
    trained = sum(weights.numel() for weights in model.parameters() if weights.requires_grad)
    if not trained:
        raise ArtefactError("no weight would be trained: the adapter did not get into the language model")
    return trained


def frozen_print(vlm: Vlm) -> str:
    """SHA-256 (hex) of everything outside of the language model, to see that it did not change."""
    digest = hashlib.sha256()
    language = f"{vlm.language}."
    for name, weights in vlm.model.named_parameters():
        if "lora_" not in name and not name.startswith(language):
            digest.update(name.encode())
            digest.update(weights.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _is_lora(name: str, inside: str) -> bool:
    return "lora_" in name and inside in f".{name}"


def _taught_text(vlm: Vlm, target: Target) -> str:
    """What is taught, less the tokens that reach into what is not: a piece may hold the end of one value and a key."""
    places = vlm.tokenizer(target.answer, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    taught = {place for start, end in places if is_taught(target, start, end) for place in range(start, end)}
    return "".join(target.answer[place] for place in sorted(taught))


def _letters(text: str) -> str:
    """Letters and digits: tokenizers differ in what they do with white space and marks at a border."""
    return "".join(character for character in text if character.isalnum())
