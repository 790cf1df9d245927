"""Product reviews with photos: a file of stars → an adapter of one's own → which parts of the product hurt.

    python eval/examples/product_reviews.py

Needs the extra `tune`. Shoppers say "went back to the shop" and "shuts with a click": no tweet taught the bundled model
such words.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console

import hybrid_mmsa
from hybrid_mmsa import AdapterFigures, Analyzer, fit_adapter
from hybrid_mmsa.inputs import sample_from_row
from hybrid_mmsa.metrics import Interval, wilson

SAMPLES = Path(hybrid_mmsa.__file__).parent / "samples"
PHOTOS = {True: ("bricks.jpg", "clock.jpg"), False: ("espresso.jpg", "cat.jpg")}  # of what went wrong, of the table
ASPECTS = {
    "lid": {True: ("the lid came off in my hand", "the lid will not close"), False: ("the lid shuts with a click",)},
    "cord": {True: ("the cord ends before my shelf", "the cord runs hot"), False: ("the cord reaches every socket",)},
    "spout": {True: ("the spout drips on my hand",), False: ("the spout pours to the last drop", "the spout is dry")},
}
VERDICTS = {True: ("went back to the shop", "now in the bin"), False: ("boils in two minutes", "ordered a second one")}
OPENINGS = ("Used it for a week:", "My kettle:", "In our office", "Second month,", "Out of the box", "For the price,")
USES = ("for tea at night", "with five of us at home", "in a tiny kitchen", "on a boat", "for pasta", "every morning")
# Who complains: most of the lid, some of the cord, hardly anybody of the spout.
UNHAPPY = {"lid": 0.8, "cord": 0.45, "spout": 0.15}


def reviews(count: int, seed: int, folder: Path) -> list[dict[str, object]]:
    """Drawn reviews of a kettle, each of one part, with one to five stars; some with a photo."""
    chance, rows = random.Random(seed), []
    for number in range(count):
        part = chance.choice(list(ASPECTS))
        bad = chance.random() < UNHAPPY[part]
        said = f"{chance.choice(ASPECTS[part][bad])}, {chance.choice(VERDICTS[bad])}"
        text = f"{chance.choice(OPENINGS)} {said}. {chance.choice(USES)} {number}"
        row: dict[str, object] = {
            "id": f"{seed}-{number}",
            "text": text,
            "label": chance.choice((1, 2) if bad else (4, 5)),
        }
        if chance.random() < 0.6:
            left, top = chance.randrange(100), chance.randrange(100)
            with Image.open(SAMPLES / chance.choice(PHOTOS[bad])) as photo:
                photo.crop((left, top, left + 120, top + 120)).save(folder / f"{row['id']}.jpg")
            row["image"] = str(folder / f"{row['id']}.jpg")
        rows.append(row)
    return rows


def fitted(folder: Path) -> AdapterFigures:
    """Write the file of stars, and fit an adapter to it: `adapter train reviews.jsonl --fast`."""
    file = folder / "reviews.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in reviews(200, 1, folder)), encoding="utf-8")
    return fit_adapter(file, folder / "kettles", few_shot=True)


def complaints(folder: Path) -> dict[str, Interval]:
    """Share of unhappy reviews per part of the product, among reviews that nobody gave stars to."""
    unread = reviews(150, 2, folder)
    posts = [sample_from_row({**row, "label": None}) for row in unread]
    answers = Analyzer.from_pretrained(folder / "kettles").analyze_batch(posts, explain="none")
    shares = {}
    for part in ASPECTS:
        labels = [a.sentiment.label for a, row in zip(answers, unread, strict=True) if part in str(row["text"])]
        shares[part] = wilson(labels.count("negative"), len(labels))
    return shares


def main() -> None:
    """Fit, measure, and say what to mend first."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        console.print("\n".join(fitted(Path(folder)).lines()[:4]))
        for part, share in sorted(complaints(Path(folder)).items(), key=lambda found: -found[1].value):
            console.print(f"{part}: {share.value:.0%} unhappy ({share.low:.0%} to {share.high:.0%})")


if __name__ == "__main__":
    main()
