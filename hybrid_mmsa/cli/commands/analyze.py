"""`hybrid-mmsa analyze`: one post in, one answer out. It holds no logic of its own."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from ...errors import InputError
from ..terminal.console import emit, page, say
from ..terminal.options import AnswerOptions, AsJson, with_answer_options

__all__ = ["analyze"]

STDIN = "-"


@with_answer_options
def analyze(
    options: AnswerOptions,
    text: Annotated[
        str | None, typer.Argument(help='The words of the post; "-" reads them from standard input.')
    ] = None,
    image: Annotated[str | None, typer.Option("--image", metavar="FILE", help="The picture of the post.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Ask for the sentiment towards this person or thing in the text.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Analyse one post of text, picture or both.

    For example:
        hybrid-mmsa analyze "Best concert of my life!" --image crowd.jpg
        hybrid-mmsa analyze "Great show, awful sound" --target sound
        hybrid-mmsa analyze "Thank you, next train" --reasoner qwen3-vl-4b --mode deep
        hybrid-mmsa analyze --image screenshot.png --senses ocr,faces
        hybrid-mmsa analyze -- "-_- so tired of waiting"
        cat post.txt | hybrid-mmsa analyze - --json
    """
    if text == STDIN:
        try:
            text = sys.stdin.buffer.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"standard input is not UTF-8 (byte {error.start})", field="text") from error
    with suppress(OSError, ValueError):  # most texts are no possible file name
        if text is not None and image is None and Path(text).is_file():
            say(f"note: {text} was read as words; to analyse the file: --image {text}")
    analyzer, adapter = options.open()
    answer = analyzer.analyze(text, image, target=target, adapter=adapter, mode=options.mode, explain=options.explain)
    if as_json:
        emit(answer.model_dump_json())
        return
    from ..terminal.show import AnswerPanel

    page().print(AnswerPanel(answer))
