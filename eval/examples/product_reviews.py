"""Product reviews with photos: rows as Amazon exports them → an adapter of one's own → which parts of a product hurt.

    python eval/examples/product_reviews.py [REVIEWS.jsonl COMMENTS.jsonl]

Needs the extra `tune`. REVIEWS have 1 to 5 stars, COMMENTS have none. Without files, reviews of a kettle are drawn,
with photos that show the kettle and not the feeling. Most say plainly what the shopper feels; the others say "went back
to the shop" or "shuts with a click", which nobody writes in a tweet.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw
from rich.console import Console

from hybrid_mmsa import AdapterFigures, Analysis, Analyzer, Sample, fit_adapter
from hybrid_mmsa.data import PostsFile, Reading, read_posts
from hybrid_mmsa.metrics import Interval, wilson

PARTS = {"lid": ("lid",), "cord": ("cord", "cable"), "spout": ("spout", "pours")}
"""The parts of the product, and the words by which reviews name them."""
# Amazon gives addresses of pictures, which are not fetched. Those one has are named in a column of one's own.
READING = Reading(columns={"image": "photo"})

# What drawn reviews say, by stars: 1 and 2 are unhappy, 3 says how it is, 4 and 5 are happy.
SAID = {
    "lid": (
        ["the lid came off in my hand", "the lid will not close"],
        ["the lid is black"],
        ["the lid shuts with a click"],
    ),
    "cord": (
        ["the cord ends before my shelf", "the cable runs hot"],
        ["the cord is grey"],
        ["the cord reaches every socket"],
    ),
    "spout": (
        ["the spout drips on my hand"],
        ["the spout is steel"],
        ["it pours to the last drop", "the spout stays dry"],
    ),
}
VERDICTS = (
    ["went back to the shop", "now in the bin"],
    ["holds a litre", "same size as my old one"],
    ["ordered a second one"],
)
PLAIN = (
    ["Terrible", "I hate it", "So disappointed"],
    ["A kettle", "It is okay"],
    ["I love it", "Wonderful", "Very happy"],
)
OPENINGS = ("Used it for a week:", "My kettle:", "In our office", "Second month,", "Out of the box", "For the price,")
USES = ("for tea at night", "with five of us at home", "in a tiny kitchen", "on a boat", "for pasta", "every morning")
PLAINLY = 0.7
"""Share of the reviews whose title says what the shopper feels."""
# Who is unhappy, by part: most with the lid, some with the cord, hardly anybody with the spout.
UNHAPPY = {"lid": 0.7, "cord": 0.4, "spout": 0.15}
MOODS = (1, 1, 2), (3,), (4, 5, 5)


def draw_photo(chance: random.Random) -> Image.Image:
    """A kettle on a table, in any colours and from anywhere: it is the same whatever the shopper thinks of it."""
    wall, table, body = (tuple(chance.randrange(60, 230) for _ in range(3)) for _ in range(3))
    photo = Image.new("RGB", (160, 120), wall)
    pen, left = ImageDraw.Draw(photo), chance.randrange(20, 70)
    pen.rectangle((0, 90, 160, 120), fill=table)
    pen.arc((left + 40, 35, left + 75, 85), 270, 90, fill=body, width=5)
    pen.rounded_rectangle((left, 30, left + 55, 95), 12, fill=body)
    pen.polygon([(left, 45), (left - 14, 38), (left, 60)], fill=body)
    return photo


def draw_reviews(folder: Path, count: int, seed: int, *, stars: bool) -> Path:
    """Drawn reviews of a kettle in the columns of Amazon Reviews 2023; photos beside the file."""
    chance, rows = random.Random(seed), []
    folder.mkdir(exist_ok=True)
    for number in range(count):
        part = chance.choice(list(PARTS))
        unhappy = chance.random() < UNHAPPY[part]
        mood = 0 if unhappy else chance.choice((1, 2, 2))
        words = f"{chance.choice(SAID[part][mood])}, {chance.choice(VERDICTS[mood])}"
        row: dict[str, object] = {
            "rating": float(chance.choice(MOODS[mood])) if stars else None,
            "title": chance.choice(PLAIN[mood]) if chance.random() < PLAINLY else f"Kettle, day {number}",
            "text": f"{chance.choice(OPENINGS)} {words}. {chance.choice(USES)}",
            "images": [],
            "asin": "B000KETTLE",
            "parent_asin": "B000KETTLE",
            "timestamp": 1_700_000_000_000 + 86_400_000 * number,
            "verified_purchase": True,
        }
        if chance.random() < 0.4:
            row["photo"] = f"{number}.jpg"
            draw_photo(chance).save(folder / f"{number}.jpg")
        rows.append(row)
    (folder / "reviews.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder / "reviews.jsonl"


def unhappy_shares(model: str | Path, comments: PostsFile) -> dict[str, Interval]:
    """Share of unhappy comments by the part that they name, with 95 % intervals; the worst first."""
    labels: dict[str, list[str]] = {part: [] for part in PARTS}
    posts = [post for _, post in comments if isinstance(post, Sample)]
    for post, answer in zip(posts, Analyzer.from_pretrained(model).stream(posts, explain="none"), strict=True):
        for part, names in PARTS.items():
            if isinstance(answer, Analysis) and any(name in (post.text or "").lower() for name in names):
                labels[part].append(answer.sentiment.label)
    shares = {part: wilson(found.count("negative"), len(found)) for part, found in labels.items() if found}
    return dict(sorted(shares.items(), key=lambda share: -share[1].value))


def report(reviews: Path, comments: Path, out: Path) -> AdapterFigures:
    """Fit an adapter to the reviews, print what that gained, and what the comments complain about."""
    console = Console(highlight=False, soft_wrap=True)
    figures = fit_adapter(read_posts(reviews, READING), out)
    console.print("\n".join(figures.default.lines()), markup=False)
    console.print(figures.verdict, markup=False)
    model = out if figures.ready else "default"
    for part, share in unhappy_shares(model, read_posts(comments, READING)).items():
        console.print(f"{part}: {share.value:.0%} unhappy ({share.low:.0%} to {share.high:.0%})")
    return figures


def main() -> None:
    """Read the two files that are named, or draw some."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if len(sys.argv) == 3:
            reviews, comments = map(Path, sys.argv[1:])
        else:
            reviews = draw_reviews(place / "reviews", 240, 1, stars=True)
            comments = draw_reviews(place / "comments", 150, 2, stars=False)
        report(reviews, comments, place / "kettles")


if __name__ == "__main__":
    main()
