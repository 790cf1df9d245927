"""Chat messages → the text a GGUF model reads, written by the model's own chat template. Knows no labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jinja2
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from ...errors import ArtefactError, ReasonerError

__all__ = ["ChatText"]

Message: TypeAlias = dict[str, Any]
Form: TypeAlias = Callable[[list[Message], str], list[Message]]

PICTURE: Message = {"type": "image"}
# What a template must bring through, to be usable at all.
QUESTION = "Qj7"
INSTRUCTION = "Zk3"


class ChatText:
    """Renders chats with one model's template, a marker standing where a picture belongs.

    Templates of vision models write a token of their own for a picture; that is what the model was trained on, so it is
    kept around the marker where it is white space, and replaced by it where it is the token. Templates that know no
    pictures are given the marker as words. A template that refuses a system message gets it inside the user's first.

    Args:
        template: Jinja text, as the file carries it.
        bos, eos: The texts of the tokens that begin and end a sequence.
        marker: What stands for a picture; a text that no post can hold.

    Raises:
        ArtefactError: No way to call the template brings words and pictures through.
    """

    def __init__(self, template: str, *, bos: str, eos: str, marker: str) -> None:
        self.marker = marker
        self._render = Jinja2ChatFormatter(template, eos_token=eos, bos_token=bos)
        self._token: str | None = None
        self._form = self._usable_form()

    def __call__(self, messages: Sequence[Message]) -> tuple[str, list[Any]]:
        """The text up to where the answer begins, and the pictures in the order of their markers.

        Raises:
            ReasonerError: The template wrote more or fewer pictures than there are.
        """
        pictures = [part["image"] for m in messages for part in m["content"] if part["type"] == "image"]
        text = self._text(list(messages), self._form)
        if text.count(self.marker) != len(pictures):
            raise ReasonerError(f"the chat template shows {text.count(self.marker)} pictures of {len(pictures)}")
        return text, pictures

    def _text(self, messages: list[Message], form: Form) -> str:
        text = self._rendered(form(messages, self.marker))
        return text if self._token is None or form not in OWN else text.replace(self._token, self.marker)

    def _rendered(self, messages: Any) -> str:
        return str(self._render(messages=messages).prompt)

    def _usable_form(self) -> Form:
        chat = [
            {"role": "system", "content": [_words(INSTRUCTION)]},
            {"role": "user", "content": [PICTURE, _words(QUESTION)]},
        ]
        causes = []
        for form in FORMS:
            try:
                if form in OWN:
                    self._token = self._picture_token(form)
                text = self._text(chat, form)
            except (jinja2.TemplateError, KeyError, TypeError, ValueError) as error:
                causes.append(str(error))
                continue
            if all(text.count(part) == 1 for part in (INSTRUCTION, QUESTION, self.marker)):
                return form
        raise ArtefactError(f"the model's chat template cannot be used: {'; '.join(causes) or 'it drops words'}")

    def _picture_token(self, form: Form) -> str | None:
        """What the template itself writes for a picture, without the white space around it."""
        contents = ([PICTURE, _words(QUESTION)], [_words(QUESTION)])
        with_picture, plain = (
            self._rendered(form([{"role": "user", "content": parts}], self.marker)) for parts in contents
        )
        before, _, after = with_picture.partition(QUESTION)
        plain_before, _, plain_after = plain.partition(QUESTION)
        written = before.removeprefix(plain_before) or after.removesuffix(plain_after)
        return written.strip() or None


def _words(text: str) -> Message:
    return {"type": "text", "text": text}


def _own(messages: list[Message], marker: str) -> list[Message]:
    """Parts as a vision model's template takes them."""
    return [{**m, "content": [PICTURE if p["type"] == "image" else p for p in m["content"]]} for m in messages]


def _marked(messages: list[Message], marker: str) -> list[Message]:
    """Parts that are words only."""
    return [{**m, "content": [_words(marker) if p["type"] == "image" else p for p in m["content"]]} for m in messages]


def _flat(messages: list[Message], marker: str) -> list[Message]:
    """Contents as plain strings."""
    return [{**m, "content": "\n".join(part["text"] for part in m["content"])} for m in _marked(messages, marker)]


def _without_system(form: Form) -> Form:
    def folded(messages: list[Message], marker: str) -> list[Message]:
        if messages[0]["role"] != "system":
            return form(messages, marker)
        instruction = _words("".join(part["text"] for part in messages[0]["content"]) + "\n\n")
        first = {**messages[1], "content": [instruction, *messages[1]["content"]]}
        return form([first, *messages[2:]], marker)

    return folded


_own_folded = _without_system(_own)
OWN = (_own, _own_folded)
FORMS = (_own, _marked, _flat, _own_folded, _without_system(_marked), _without_system(_flat))
