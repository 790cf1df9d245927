"""Makes a post's words harmless inside a prompt: no delimiter, control token or turn comes through. Knows no prompt."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["escape", "plain"]

_JOINER = "\u200d"
_SPACE = re.compile(r"\s+")
# Emoji are built with the joiner; between plain characters it only serves to hide something.
_HIDING_JOINER = re.compile(f"(?<=[\x00-\x7f]){_JOINER}+|{_JOINER}+(?=[\x00-\x7f])|^{_JOINER}+|{_JOINER}+$")
# Every control token and delimiter that stands in angle brackets begins with one. Hearts stay hearts.
_ANGLE = re.compile(r"<(?!/?3+(?![\w|>]))")
# Mistral's and BERT's kind: [INST], [/INST], [IMG_END], [SYSTEM_PROMPT] ...
_SQUARE = re.compile(r"\[(\s*/?\s*\w+\s*)\]")
# Vicuna, LLaVA-1.5, SmolVLM and Alpaca open a turn with plain words.
_TURN = re.compile(r"\b(user|assistant|system|human|model|developer|instruction|response|input|answer)(\s*):", re.I)


def escape(text: str) -> str:
    """A post's words as they stand in a prompt: the same to read, and nothing that a template or tokenizer obeys.

    Compatibility forms are folded first (NFKC), so that a fullwidth `＜image＞` hides nothing. Then `<` becomes `‹`
    (except in `<3` and `</3`), `[INST]` becomes `(INST)`, and `USER:` becomes `USER -`. Line breaks become spaces.
    Escaping twice changes nothing more.
    """
    text = _SPACE.sub(" ", _HIDING_JOINER.sub("", unicodedata.normalize("NFKC", plain(text)))).strip()
    text = _ANGLE.sub("‹", text)
    text = _SQUARE.sub(r"(\1)", text)
    return _TURN.sub(r"\1 -", text)


def plain(text: str) -> str:
    """Text without control characters, direction overrides and other invisible ones; line breaks become spaces.

    For what comes from outside or from a model, on its way into a prompt, a result or a terminal.
    """
    kept = (" " if c.isspace() else c for c in text if c.isspace() or c == _JOINER or unicodedata.category(c)[0] != "C")
    return _SPACE.sub(" ", "".join(kept)).strip()
