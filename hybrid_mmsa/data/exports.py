"""The exports of other programs: which columns give them away, and what these columns mean. It reads no file.

Sources: the X archive's and API's, Reddit's, Yelp's and Label Studio's documentation; the Amazon Reviews data sets of
2018 and 2023 (McAuley lab); Argilla's `Dataset.records.to_list` and `to_datasets`; Trustpilot's review export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

__all__ = ["EXPORTS", "Export", "Value", "value_at"]

Value: TypeAlias = "tuple[str, ...] | Callable[[Mapping[str, object], Path], object]"
"""Where a column's value lies: at these paths (of several, the texts are joined), or what a function finds in a row,
given the folder of the file."""


@dataclass(frozen=True, slots=True)
class Export:
    """One program's rows.

    Attributes:
        name: The program.
        signature: Columns, as paths, that all must be there.
        columns: Our columns, and where their values lie.
        pictures: What is to be said of its pictures, where they are not read.
    """

    name: str
    signature: frozenset[str]
    columns: Mapping[str, Value] = field(default_factory=dict)
    pictures: str = ""


def value_at(row: Mapping[str, object], path: str) -> object:
    """What lies at a path of a row: the column of that name, or else `a.b`: the `b` of what column `a` holds."""
    if path in row:
        return row[path]
    first, dot, rest = path.partition(".")
    inside = row.get(first)
    return value_at(inside, rest) if dot and isinstance(inside, Mapping) else None


def _archive_picture(row: Mapping[str, object], root: Path) -> object:
    """The first picture of a post of an X archive, which lies beside the file by the post's number."""
    media = value_at(row, "tweet.entities.media")
    number = value_at(row, "tweet.id_str") or value_at(row, "tweet.id")
    if not isinstance(media, list) or not isinstance(number, str) or "/" in number:
        return None
    for medium in media:
        address = medium.get("media_url_https") if isinstance(medium, Mapping) else None
        if isinstance(address, str):
            for folder in ("tweets_media", "tweet_media"):
                name = f"{folder}/{number}-{address.rsplit('/', 1)[-1]}"
                if (root / name).is_file():
                    return name
    return None


def _reddit_text(row: Mapping[str, object], _: Path) -> object:
    inner = row.get("data") if isinstance(row.get("data"), Mapping) else row
    parts = [value_at(inner, name) for name in ("title", "selftext", "body")] if isinstance(inner, Mapping) else []
    gone = ("[removed]", "[deleted]")
    return join([part for part in parts if isinstance(part, str) and part.strip() not in gone])


def join(texts: list[str]) -> str | None:
    """Texts as one, each after the first a sentence of its own."""
    whole = ""
    for text in (text.strip() for text in texts if text.strip()):
        whole += (" " if whole.endswith((".", "!", "?", "…", ":")) else ". " if whole else "") + text
    return whole or None


def _chosen(row: Mapping[str, object], _: Path) -> object:
    """The label that an annotator of Label Studio chose: of the last annotation that was not cancelled."""
    annotations = row.get("annotations")
    for annotation in reversed(annotations) if isinstance(annotations, list) else ():
        if not isinstance(annotation, Mapping) or annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result") or ():
            choices = value_at(result, "value.choices") if isinstance(result, Mapping) else None
            if isinstance(choices, list) and choices:
                return choices[0]
            rating = value_at(result, "value.rating") if isinstance(result, Mapping) else None
            if rating is not None:
                return rating
    return None


def _response(row: Mapping[str, object], _: Path) -> object:
    """The label that an annotator of Argilla gave: the first submitted response to a question of one label."""
    responses = row.get("responses")
    for answers in responses.values() if isinstance(responses, Mapping) else ():
        for answer in answers if isinstance(answers, list) else ():
            if isinstance(answer, Mapping) and answer.get("status", "submitted") == "submitted":
                return answer.get("value")
    for column, value in row.items():  # `to_datasets`: columns `label.responses` and `label.responses.status`
        if column.endswith(".responses") and isinstance(value, list) and value:
            states = row.get(f"{column}.status") or ["submitted"] * len(value)
            given = [v for v, s in zip(value, states, strict=False) if s == "submitted"]  # type: ignore[call-overload]
            return given[0] if given else None
    return None


_ADDRESSES = "pictures are addresses, which are not fetched"
EXPORTS: tuple[Export, ...] = (
    Export(
        "X archive",
        frozenset({"tweet.full_text"}),
        {
            "text": ("tweet.full_text",),
            "id": ("tweet.id_str",),
            "time": ("tweet.created_at",),
            "image": _archive_picture,
        },
    ),
    Export(
        "X API 1.1",
        frozenset({"full_text", "id_str", "created_at"}),
        {"text": ("full_text",), "id": ("id_str",), "time": ("created_at",), "group": ("user.screen_name",)},
    ),
    Export(
        "X API 1.1",
        frozenset({"text", "id_str", "created_at"}),
        {"text": ("text",), "id": ("id_str",), "time": ("created_at",), "group": ("user.screen_name",)},
    ),
    Export(
        "X API 2",
        frozenset({"text", "id", "author_id"}),
        {"text": ("text",), "id": ("id",), "time": ("created_at",), "group": ("author_id",)},
    ),
    Export(
        "Reddit listing",
        frozenset({"kind", "data.subreddit"}),
        {"text": _reddit_text, "id": ("data.id",), "time": ("data.created_utc",), "group": ("data.subreddit",)},
    ),
    Export(
        "Reddit",
        frozenset({"subreddit", "created_utc"}),
        {"text": _reddit_text, "id": ("id",), "time": ("created_utc",), "group": ("subreddit",)},
    ),
    Export(
        "Amazon Reviews 2018",
        frozenset({"reviewText", "overall"}),
        {
            "text": ("summary", "reviewText"),
            "label": ("overall",),
            "time": ("unixReviewTime",),
            "group": ("asin",),
        },
        _ADDRESSES,
    ),
    Export(
        "Amazon Reviews 2023",
        frozenset({"rating", "title", "text", "parent_asin"}),
        {"text": ("title", "text"), "label": ("rating",), "time": ("timestamp",), "group": ("parent_asin",)},
        _ADDRESSES,
    ),
    Export(
        "Yelp",
        frozenset({"review_id", "business_id", "stars", "text"}),
        {
            "text": ("text",),
            "id": ("review_id",),
            "label": ("stars",),
            "time": ("date",),
            "group": ("business_id",),
        },
    ),
    Export(
        "Trustpilot",
        frozenset({"Review Content", "Review Stars"}),
        {
            "text": ("Review Title", "Review Content"),
            "id": ("Review ID",),
            "label": ("Review Stars",),
            "time": ("Review Created (UTC)",),
            "group": ("Domain Name",),
        },
    ),
    Export(
        "Trustpilot",
        frozenset({"stars", "title", "text", "consumer.displayName"}),
        {"text": ("title", "text"), "id": ("id",), "label": ("stars",), "time": ("createdAt",)},
    ),
    Export(
        "Label Studio",
        frozenset({"data.text", "annotations"}),
        {
            "text": ("data.text",),
            "id": ("data.post_id", "data.id", "id"),
            "label": _chosen,
            "time": ("data.time",),
            "group": ("data.group",),
            "chosen": ("data.chosen",),
            "image": ("data.picture",),  # as `review` writes it beside the address that Label Studio shows
        },
    ),
    Export(
        "Label Studio",
        frozenset({"annotation_id", "annotator", "text"}),
        {
            "text": ("text",),
            "id": ("post_id", "id"),
            "label": ("label", "sentiment", "choice"),
            "time": ("time",),
            "group": ("group",),
            "chosen": ("chosen",),
            "image": ("picture",),
        },
    ),
    Export(
        "Argilla",
        frozenset({"fields.text", "responses"}),
        {
            "text": ("fields.text",),
            "id": ("id",),
            "label": _response,
            "time": ("metadata.time",),
            "group": ("metadata.group",),
            "chosen": ("metadata.chosen",),
            "image": ("metadata.picture", "fields.image"),
        },
    ),
    Export(
        "Argilla",
        frozenset({"text", "label.responses"}),
        {
            "text": ("text",),
            "id": ("id",),
            "label": _response,
            "time": ("time", "metadata.time"),
            "group": ("group", "metadata.group"),
            "chosen": ("chosen", "metadata.chosen"),
            "image": ("picture", "metadata.picture", "image"),
        },
    ),
)
