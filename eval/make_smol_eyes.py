"""Writes `adapters/smol/projector.safetensors`: what `smol` sees by, trained by the product's own `train vlm`.

    python eval/make_smol_eyes.py posts --data DATA -o posts.jsonl
    python eval/make_smol_eyes.py words -o smol-words
    hybrid-mmsa train vlm posts.jsonl --image-root DATA --base smol-words --data DATA --lora smol --runs RUNS -o FOLDER
    python eval/make_smol_eyes.py ship RUNS

`posts` writes training posts with pictures: MVSA-Single with what each side says, Twitter-2015 towards its targets,
Twitter1269's pictures alone, and some memes; no post of a dev or test part is among them, and none that reads like one.
`words` makes the language model's folder of the GGUF file that `models pull smol` keeps. What `train vlm` holds back
judges it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from eval.bench.keeping import keep
from hybrid_mmsa.adapters import CARD, MANIFEST, describe_adapter
from hybrid_mmsa.artefacts import PROJECTOR
from hybrid_mmsa.data import Record, load_corpus, load_manifest
from hybrid_mmsa.reasoning import presets
from hybrid_mmsa.reasoning.models.converting import convert
from hybrid_mmsa.reasoning.models.store import model_folder
from hybrid_mmsa.training.posts.rows import CORPUS_FOLDERS, post_records, text_key

ROOT = Path(__file__).resolve().parents[1]
PRESET = "smol"
MEMES = 900
"""Their labels are noisy; they are few."""
HEADING = "\n## What it sees by"
SEES = """
## What it sees by

A picture is 25 tokens of the bundled picture tower, each through a projector of two layers (1280 to 576 to 576). It was
trained for {steps} steps of {batch_size} rows; language model, LoRA and tower were left as they are. It learned from
{rows:,} labels of posts with pictures and of pictures alone (training parts of MVSA-Single, Twitter-2015, Twitter1269
and Memotion 7k) and from {photos:,} captioned photos. Of posts of the same parts that were held out, right in %, by the
picture that is shown:

| posts with | posts | their own | another post's | none |
|---|---|---|---|---|
{table}

The log-loss of a token of a held-out caption is {own:.2f} with its own photo and {another:.2f} with another. The tower
itself learned from most of these posts' pictures, so the first column flatters.
"""
CARRIED = ("text", "target", "label", "text_label", "image_label")


def main() -> None:
    """One of three steps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    posts = steps.add_parser("posts", help="write what is learnt from")
    posts.add_argument("--data", type=Path, required=True, help="the folder of all corpora")
    posts.add_argument("-o", "--out", type=Path, required=True, help="a .jsonl file to write")
    words = steps.add_parser("words", help="make the language model's folder")
    words.add_argument("-o", "--out", type=Path, required=True, help="the folder")
    ship = steps.add_parser("ship", help="take what was trained into the package")
    ship.add_argument("runs", type=Path, help="the --runs of `train vlm`")
    options = parser.parse_args()
    if options.step == "posts":
        write_posts(options.data, options.out)
    elif options.step == "words":
        write_words(options.out)
    else:
        take(options.runs, ROOT / "adapters" / "smol")


def write_posts(data: Path, out: Path) -> None:
    """Training posts with pictures, as a file that `train vlm` reads; picture paths start from the data folder."""
    rows = [row_of(record, data) for record in records(data)]
    random.Random(0).shuffle(rows)
    with out.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            file.write(json.dumps({"id": str(number), **row}, ensure_ascii=False) + "\n")
    counts = Counter((row["image"].split("/")[0], row["label"]) for row in rows)
    for (corpus, label), n in sorted(counts.items()):
        Console().print(f"{n:6} {label} of {corpus}")


def records(data: Path) -> Iterator[Record]:
    """Labelled records of training parts that have a picture."""
    posts = post_records(data)
    judged = {text_key(record.sample.text or "") for record in posts if record.split != "train"}
    parts = [[record for record in posts if record.split == "train"]]
    for name in ("twitter2015", "twitter1269"):
        corpus = load_corpus(name, data / CORPUS_FOLDERS[name])
        parts.append([record for record in corpus if record.split == "train"])
    memes = load_manifest("memotion_grouped").apply(load_corpus("memotion", data / CORPUS_FOLDERS["memotion"]))
    train = [record for record in memes if record.split == "train" and record.sample.image is not None]
    parts.append(random.Random(0).sample(train, MEMES))
    for record in (each for part in parts for each in part):
        sample = record.sample
        if sample.image is not None and sample.label and (not sample.text or text_key(sample.text) not in judged):
            yield record


def row_of(record: Record, data: Path) -> dict[str, Any]:
    """A record as a row."""
    sample = record.sample
    known = {name: value for name in CARRIED if (value := getattr(sample, name))}
    return {**known, "image": Path(str(sample.image)).relative_to(data).as_posix()}


def write_words(out: Path) -> None:
    """The language model of the pulled preset by itself, opened as the preset is."""
    preset, pulled = presets()[PRESET], model_folder(PRESET)
    if preset.package is None:
        raise SystemExit(f"{PRESET} comes in no package")
    out.mkdir(parents=True)
    convert(pulled / Path(preset.package.file).name, out)
    lines = (pulled / "reasoner.toml").read_text(encoding="utf-8").splitlines()
    opened = [line for line in lines if not line.startswith(("#", "lora"))]
    (out / "reasoner.toml").write_text("\n".join(opened) + "\n", encoding="utf-8")


def take(runs: Path, adapter: Path) -> None:
    """The projector and what was measured, beside the LoRA, and the record among the benchmarks'."""
    shutil.copyfile(runs / PROJECTOR, adapter / PROJECTOR)
    record = json.loads((runs / "record.json").read_text(encoding="utf-8"))
    card = (adapter / CARD).read_text(encoding="utf-8")
    before, _, after = card.partition("\n## Learning curve")
    (adapter / CARD).write_text(
        f"{before.partition(HEADING)[0]}{told(record)}\n## Learning curve{after}", encoding="utf-8"
    )
    described = json.loads((adapter / MANIFEST).read_text(encoding="utf-8"))
    describe_adapter(adapter, name=described["name"], made_with={**described["made_with"], "projector": record})
    keep("smol-eyes", record)


def told(record: dict[str, Any]) -> str:
    """The card's section on the projector."""
    rows = []
    for kind in ("words and picture", "picture alone"):
        figures = record["held_out"][kind]
        shares = [figures.get(name, {}).get("accuracy") for name in ("own", "another", "none")]
        cells = ["–" if share is None else f"{100 * share:.1f}" for share in shares]
        rows.append("| " + " | ".join([kind, str(figures["posts"]), *cells]) + " |")
    captions, recipe = record["held_out"]["captions"], record["recipe"]
    return SEES.format(
        **{name: recipe[name] for name in ("steps", "batch_size")},
        rows=record["rows"],
        photos=record["photos"],
        table="\n".join(rows),
        own=captions["own"],
        another=captions["another"],
    )


if __name__ == "__main__":
    main()
