"""nano's tokenizer and chat template: byte-level pieces learnt from its own texts. Knows no model and no pictures.

What every answer has in common (`", "text_says": "` and the like) is one piece each, so that nearly all tokens that are
learnt and written say something about the post. A post cannot hold the pieces that open and close a turn: its `<` is
escaped before it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import transformers
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from ...reasoning.backends.transformers.patches import PATCH_PIXELS
from ...reasoning.prompt.answer import write_answer
from ...reasoning.prompt.labels import ANSWER_START
from ...reasoning.prompt.question import Prompt

__all__ = ["ASSISTANT", "CHAT", "END", "IMAGE", "PAD", "SPECIAL", "make_processor", "make_tokenizer"]

_library: Any = transformers  # its classes are annotated only in part

SPECIAL = ("<|pad|>", "<|end|>", "<image>", "<|system|>", "<|user|>", "<|assistant|>")
PAD, END, IMAGE, _, _, ASSISTANT = range(len(SPECIAL))
CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_DELIMITERS = ("<post>\n", "\n</post>", "<target>", "</target>\n")


def make_tokenizer(texts: Iterable[str], prompt: Prompt, size: int) -> Any:
    """A fast tokenizer of at most `size` pieces, learnt from texts and from the label words.

    Args:
        texts: What is read and written, without the chat around it.
        prompt: Gives the label words; each is to be one piece.
        size: Most pieces, the special ones among them.
    """
    whole = _between(prompt)
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=size - len(whole),
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    split = re.compile("|".join(map(re.escape, whole)))
    words = [*prompt.labels.values(), "none", "true", "false"]
    parts = (part for text in texts for part in split.split(text) if part)
    # Often enough that each of these words comes out whole, whatever the texts hold.
    tokenizer.train_from_iterator(
        (each for source in ([words] * 10_000, [parts]) for s in source for each in s), trainer
    )
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in whole])
    return _library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[PAD],
        eos_token=SPECIAL[END],
        additional_special_tokens=list(SPECIAL[IMAGE:]),
        clean_up_tokenization_spaces=False,
    )


def make_processor(tokenizer: Any, image_processor: Any) -> Any:
    """LLaVA's processor, every patch of a picture one token."""
    return _library.LlavaProcessor(
        image_processor,
        tokenizer,
        patch_size=PATCH_PIXELS,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=CHAT,
    )


def _between(prompt: Prompt) -> list[str]:
    """What stands between the values of every answer, and around every post."""
    label = next(iter(prompt.labels))
    empty = write_answer(prompt, label=label)
    start, rest = ANSWER_START, empty.removeprefix(ANSWER_START + prompt.labels[label])
    # '", "text_says": "none", "picture_says": "none", "sarcastic": false, "text_cues": [], ...'
    parts = re.split(r"none|false|(?<=\[)(?=\])", rest)
    *most, last = parts
    return [start, *dict.fromkeys([*most, *re.split(r'(?<=: ")(?=")', last)]), *_DELIMITERS]
