"""Posts and answers → what people label in: Label Studio tasks, Argilla records, a table. It knows no models.

What comes back is read by `read_posts`, which knows the exports of these programs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from ..errors import InputError
from ..explain.page.thumbnail import thumbnail
from ..inputs import NumberedRow, read_image
from ..types import LABELS, Analysis, Sample
from ..types.flat import Cell, flat_answer
from .writing import write_table

__all__ = [
    "INTERFACES",
    "Answered",
    "PictureForm",
    "ReviewForm",
    "ReviewPost",
    "answered_posts",
    "to_review",
    "write_review",
]

ReviewForm: TypeAlias = Literal["label-studio", "argilla", "csv"]
PictureForm: TypeAlias = Literal["link", "embed"]
Choice: TypeAlias = Literal["doubt", "random"]
Answered: TypeAlias = "tuple[Sample, Analysis]"


class ReviewPost(NamedTuple):
    """A post that a person is to see, its answer, and whether the model's doubts chose it or a draw from all posts.

    Posts that doubts chose are the ones to learn from. They say nothing fair of the model that doubted: on them it
    looks worse than it is. So models are compared on drawn ones; see `training.heads.adapting`.
    """

    sample: Sample
    answer: Analysis
    chosen: Choice


SIDE, MOST_BYTES = 640, 60_000
"""Longer side in pixels, and bytes at most, of a picture that is embedded."""

QUESTION = "label"
STUDIO_CONFIG = """<View>
  <Text name="text" value="$text"/>
  <Image name="image" value="$image"/>
  <Choices name="label" toName="text" choice="single" showInline="true">
    <Choice value="negative"/><Choice value="neutral"/><Choice value="positive"/>
  </Choices>
</View>
"""
"""The labelling interface of Label Studio that the tasks are for."""


def _argilla_field(name: str, kind: str, *, required: bool = False) -> dict[str, Any]:
    more = {"use_markdown": False} if kind == "text" else {}
    return {"name": name, "title": name, "required": required, "type": kind, "settings": {"type": kind, **more}}


def _argilla_metadata(name: str, kind: str) -> dict[str, Any]:
    settings = {"type": kind, "visible_for_annotators": True}
    return {"name": name, "title": name, "visible_for_annotators": True, "settings": settings}


ARGILLA_SETTINGS: Mapping[str, Any] = {
    "guidelines": "Choose what the whole post feels. The suggestion is the model's; evidence says why it may be wrong.",
    "fields": [
        _argilla_field("text", "text"),
        _argilla_field("image", "image"),
        _argilla_field("evidence", "text", required=True),  # Argilla wants a field that every record has
    ],
    "questions": [
        {
            "name": QUESTION,
            "title": "What does the post feel?",
            "required": True,
            "type": "label_selection",
            "settings": {
                "type": "label_selection",
                "options": [{"text": label, "value": label} for label in LABELS],
                "visible_options": len(LABELS),
            },
        }
    ],
    "metadata": [
        *(_argilla_metadata(name, "float") for name in ("p_error", *(f"p_{label}" for label in LABELS))),
        *(_argilla_metadata(name, "terms") for name in ("picture", "time", "group", "chosen")),
    ],
    "vectors": [],
    "allow_extra_metadata": False,
    "distribution": {"strategy": "overlap", "min_submitted": 1},
    "mapping": None,
}
"""The settings of an Argilla dataset for the records, as `argilla.Settings.from_json` reads them (argilla 2.8)."""

INTERFACES: Mapping[ReviewForm, tuple[str, str]] = {
    "label-studio": (".xml", STUDIO_CONFIG),
    "argilla": (".settings.json", json.dumps(ARGILLA_SETTINGS, indent=1) + "\n"),
}
"""What is written beside the posts: its suffix and its content."""


def answered_posts(posts: Iterable[NumberedRow], answers: Path) -> Iterator[Answered]:
    """Posts with their answers, in the order of the posts; those that failed are left out.

    Args:
        posts: The file that was answered.
        answers: What `batch` wrote for it, as JSON lines.

    Raises:
        InputError: The answers are not those of these posts.
    """
    if answers.suffix.lower() not in (".jsonl", ".ndjson"):
        raise InputError(f"{answers.name} is no file of answers in .jsonl, as batch writes it", field="answers")
    if not answers.is_file():
        raise InputError(f"there is no file {answers}", field="answers")
    with answers.open("rb") as lines:
        answer = _next(lines, answers)
        for line, row in posts:
            if not isinstance(row, Sample):
                continue
            if answer is not None and answer.id == (row.id or str(line)):
                yield row, answer
                answer = _next(lines, answers)
    if answer is not None:
        raise InputError(f"{answers.name} answers post {answer.id!r}, which is not there", field="answers")


def _next(lines: Iterator[bytes], answers: Path) -> Analysis | None:
    raw = next(lines, b"")
    try:
        return Analysis.model_validate_json(raw) if raw.strip() else None
    except ValueError as error:
        cause = str(error).splitlines()[0]
        raise InputError(f"{answers.name} is no file of answers: {cause}", field="answers") from error


def to_review(
    posts: Iterable[Answered], *, everything: bool = False, most: int | None = None, drawn: float = 0.2
) -> list[ReviewPost]:
    """The posts that a person should see: the likeliest mistakes first, and among them some drawn from all posts.

    Args:
        posts: Posts with their answers.
        everything: Also those that need no review.
        most: So many at most.
        drawn: The share of the posts to see that is drawn from all posts, whatever the model thinks of them.

    Raises:
        InputError: The share is not in [0, 1).
    """
    if not 0 <= drawn < 1:
        raise InputError(f"found {drawn}; wanted a share from 0 to below 1", field="random")
    every = list(posts)
    if everything and (most is None or most >= len(every)):
        every.sort(key=_doubt)
        return [ReviewPost(*pair, "random") for pair in every]  # nothing is left out, so nothing was chosen
    doubted = [pair for pair in every if everything or pair[1].needs_review or pair[1].route.decision == "defer"]
    count = round(drawn * most) if most is not None else round(len(doubted) * drawn / (1 - drawn))
    rank = {id(pair): hashlib.sha256(f"review/{pair[1].id}".encode(errors="surrogatepass")).digest() for pair in every}
    at_random = sorted(every, key=lambda pair: rank[id(pair)])[:count]
    taken = {id(pair) for pair in at_random}
    doubted = sorted((pair for pair in doubted if id(pair) not in taken), key=_doubt)
    doubted = doubted if most is None else doubted[: max(0, most - len(at_random))]
    places = [(place / max(len(doubted), 1), ReviewPost(*pair, "doubt")) for place, pair in enumerate(doubted)]
    step = 1 / max(len(at_random), 1)
    places += [((place + 0.5) * step, ReviewPost(*pair, "random")) for place, pair in enumerate(at_random)]
    return [post for _, post in sorted(places, key=lambda each: each[0])]


def _doubt(pair: Answered) -> float:
    return -(pair[1].route.p_error or 0.0)


def write_review(
    posts: Iterable[ReviewPost], out: Path, form: ReviewForm, folder: Path, pictures: PictureForm | None = None
) -> None:
    """Write posts with the answers as suggestions and the evidence beside them.

    Args:
        posts: In the order in which they are to be seen.
        out: The file: JSON, or a table by its suffix.
        form: For which program.
        folder: What picture paths are relative to.
        pictures: `link` names their paths, as Label Studio serves local files; `embed` writes small copies without
            metadata into the file. By default Label Studio has links, and Argilla, which serves no files, copies.

    Raises:
        InputError: Pictures are to be linked for Argilla, or embedded in a table.
    """
    if (form, pictures) in (("argilla", "link"), ("csv", "embed")):
        takes = "Argilla shows no local files: embed" if form == "argilla" else "a table names paths: link"
        raise InputError(f"found {pictures!r}; {takes}", field="pictures")
    if form == "csv":
        write_table((_table_row(post, folder) for post in posts), out)
        return
    make: Callable[..., dict[str, Any]] = _task if form == "label-studio" else _record
    embeds = pictures == "embed" or form == "argilla"
    with out.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, post in enumerate(posts):
            path = _picture(post.sample, folder)
            shown = _copy(post.sample) if embeds else path and f"/data/local-files/?d={path}"
            task = make(post, path, shown)
            file.write((",\n" if number else "\n") + json.dumps(task, ensure_ascii=True))
        file.write("\n]\n")


def _copy(sample: Sample) -> str | None:
    """A small copy of a post's picture as a `data:` URI; `None` without one, and where it cannot be read any more."""
    try:
        read = None if sample.image is None else read_image(sample.image, draft=SIDE)
    except InputError:
        return None
    return None if read is None else thumbnail(read, SIDE, MOST_BYTES)


def _picture(sample: Sample, folder: Path) -> str | None:
    """The path of a picture as the posts' file names it; a picture inside a row has none."""
    if not isinstance(sample.image, str | Path) or str(sample.image).startswith("data:"):
        return None
    path = Path(sample.image)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _evidence(answer: Analysis) -> str:
    """Why it may be wrong, in one line."""
    parts = [f"P(error) {answer.route.p_error:.2f}"] if answer.route.p_error is not None else []
    parts += [reason.replace("_", " ") for reason in answer.route.reasons]
    words, picture = answer.text_sentiment, answer.image_sentiment
    parts += [f"words {words.label}"] if words is not None else []
    parts += [f"picture {picture.label}"] if picture is not None else []
    return "; ".join([*parts, *answer.warnings])


def _task(post: ReviewPost, path: str | None, shown: str | None) -> dict[str, Any]:
    """A task of Label Studio with the answer as a prediction."""
    sample, answer = post.sample, post.answer
    result = {"choices": [answer.sentiment.label]}
    return {
        "data": {
            "id": answer.id,
            "post_id": answer.id,  # its short exports put the task's own number under `id`
            "text": sample.text or "",
            "image": shown or "",
            "picture": path,
            "time": sample.time,
            "group": sample.group,
            "chosen": post.chosen,
            "evidence": _evidence(answer),
            **{f"p_{label}": round(answer.sentiment.probabilities[label], 4) for label in LABELS},
        },
        "predictions": [
            {
                "model_version": answer.provenance.model,
                "score": round(answer.sentiment.confidence, 4),
                "result": [{"from_name": QUESTION, "to_name": "text", "type": "choices", "value": result}],
            }
        ],
    }


def _record(post: ReviewPost, path: str | None, shown: str | None) -> dict[str, Any]:
    """A record of Argilla with the answer as a suggestion."""
    sample, answer = post.sample, post.answer
    metadata: Mapping[str, object] = {
        "p_error": answer.route.p_error,
        "chosen": post.chosen,
        "picture": path,
        "time": sample.time,
        "group": sample.group,
        **{f"p_{label}": answer.sentiment.probabilities[label] for label in LABELS},
    }
    suggestion = {
        "value": answer.sentiment.label,
        "score": answer.sentiment.confidence,
        "agent": answer.provenance.model,
    }
    return {
        "id": answer.id,
        "fields": {
            "text": sample.text or "",
            **({} if shown is None else {"image": shown}),
            "evidence": _evidence(answer) or "none",
        },
        "metadata": {name: value for name, value in metadata.items() if value is not None},
        "suggestions": {QUESTION: suggestion},
        "responses": {},
        "vectors": {},
    }


def _table_row(post: ReviewPost, folder: Path) -> dict[str, Cell]:
    sample, answer = post.sample, post.answer
    flat = flat_answer(answer)
    first: dict[str, Cell] = {"id": answer.id, "label": None, "text": sample.text, "image": _picture(sample, folder)}
    return (
        first
        | {"answer": flat["label"], "evidence": _evidence(answer), "chosen": post.chosen}
        | {name: flat[name] for name in ("confidence", *LABELS, "p_error")}
    )
