"""How well words find their picture, and a picture its words, among 1,000 photos that chose and taught nothing.

    python eval/bench/space/retrieval.py --data DATA [--held-out 1000] [--json] [--save]

The space is fitted anew, by the recipe of the shipped one, on the captioned photos that are not held out: fewer than
the shipped one had, since 1,000 are taken away. Beside it stand chance, and as a bound what CLIP's authors publish for
their largest model on Flickr30k's 1,000 test photos (Radford et al. 2021, table 13): other photos, five captions each.
The shipped space is also asked for the sample photos, by what `hybrid-mmsa demo` says they show and in two words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from hybrid_mmsa import Analyzer, Sample
from hybrid_mmsa.cli.commands.demo import PICTURES, SAMPLES
from hybrid_mmsa.model import open_model
from hybrid_mmsa.training.space.align import AlignConfig, train_align
from hybrid_mmsa.training.space.contrastive import ContrastConfig
from hybrid_mmsa.training.space.retrieval import ranks

CLIP = {
    "model": "ViT-L/14@336px, Flickr30k test",
    "words_to_picture": {"r@1": 0.687, "r@5": 0.906, "r@10": 0.952},
    "picture_to_words": {"r@1": 0.88, "r@5": 0.987, "r@10": 0.994},
}
WAYS = ("words_to_picture", "picture_to_words")
IN_SHORT = {
    "astronaut.jpg": "an astronaut",
    "bricks.jpg": "a brick wall",
    "cat.jpg": "a cat",
    "clock.jpg": "a clock",
    "espresso.jpg": "a cup of coffee",
    "galaxies.jpg": "stars",
    "photographer.jpg": "a photographer",
    "rocket.jpg": "a rocket",
}


def measure(data: Path, held_out: int) -> dict[str, Any]:
    """The record."""
    opened = open_model()
    shipped = opened.adapter.space
    recipe = dict(shipped.facts["recipe"]["contrast"]) if shipped is not None else {}
    contrast = ContrastConfig(**recipe)
    config = AlignConfig(
        contrast=contrast,
        shrinkages=(contrast.shrinkage,),
        widths=(contrast.width,),
        epochs=(contrast.epochs,),
        held_out=held_out,
    )
    space = train_align(data, opened.encoder, config=config)
    return {
        **circumstances(["numpy"], threads=1),
        "learned_from": {name: space.facts[name] for name in ("photos", "captions")},
        "held_out": space.facts["held_out"],
        "recipe": space.facts["recipe"],
        "recall": space.facts["recall"],
        "shipped": None if shipped is None else {k: shipped.facts[k] for k in ("photos", "held_out", "recall")},
        "samples_found": samples_found(),
        "clip_published": CLIP,
    }


def samples_found() -> dict[str, int]:
    """Of the sample photos, how many the shipped space finds first among all of them: by a sentence, and in short."""
    analyzer = Analyzer.from_pretrained()
    pictures = analyzer.embed([Sample(image=SAMPLES / name) for name in PICTURES])
    asked = {"as_demo_says": [*PICTURES.values()], "in_short": [IN_SHORT[name] for name in PICTURES]}
    found = {way: analyzer.embed([Sample(text=text) for text in texts]) for way, texts in asked.items()}
    return {"photos": len(PICTURES)} | {way: int((ranks(v, pictures) == 0).sum()) for way, v in found.items()}


def table(record: dict[str, Any]) -> Table:
    """Recall at 1, 5 and 10 both ways, a row per model."""
    shown = Table("", *[f"{way.replace('_', ' ')}, {k}" for way in WAYS for k in ("r@1", "r@5", "r@10")])
    cells = [f"{100 * value[0]:.1f}" for way in WAYS for value in record["recall"][way].values()]
    shown.add_row(f"hybrid_mmsa, {record['held_out']['photos']:,} photos", *cells)
    shown.add_row("chance", *[f"{100 * value:.1f}" for _ in WAYS for value in record["recall"]["chance"].values()])
    shown.add_row("CLIP, published", *[f"{100 * value:.1f}" for way in WAYS for value in CLIP[way].values()])  # type: ignore[attr-defined]
    return shown


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "retrieval")
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds photos/")
    parser.add_argument("--held-out", type=int, default=1000, help="photos to judge by")
    options = parser.parse_args()
    record = measure(options.data, options.held_out)
    tell("retrieval", record, table(record), options)


if __name__ == "__main__":
    main()
