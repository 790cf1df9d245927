"""Posts a second and memory of long runs, beside a plain transformers pipeline, all in one run on the same machine.

    python eval/bench/scale/scale.py [--texts 200000] [--pictures 20000] [--reference 400] [--workers 2] [--save]

Texts are drawn from a vocabulary by a hash, in lengths like those of posts (log-normal, median 13 words), none twice;
pictures are the sample photographs, each cut a little differently. The pipeline is `transformers.pipeline` with a
classifier of RoBERTa's size and random weights, on as many threads as we have workers, one text at a time (its default)
and in batches of 32. Ours and the pipeline take turns over slices of the run, so that a busy machine slows both: the
ratio stays comparable where posts a second do not. A file with reposts shows what a cache is worth.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.speed.memory import peak_memory_mb, resident_mb
from hybrid_mmsa import Analysis, Analyzer, CachedEncoder, Sample
from hybrid_mmsa.engines import Call, LocalEngine
from hybrid_mmsa.inputs import NumberedRow

ROOT = Path(__file__).resolve().parents[3]
RATES = (0.0, 0.3, 0.6)
"""Shares of reposts."""
VOCABULARY = (
    "the a we you they i love hate like this that phone battery screen coffee rain service staff price train bus happy "
    "sad angry great terrible awful nice good bad best worst never always again really very so not but and because "
    "today tomorrow monday shop store team game music film book food pizza hotel room bed view friend family dog cat"
)


def text(number: int) -> str:
    """The words of one post, always the same."""
    chance = np.random.default_rng(number)
    length = int(np.clip(chance.lognormal(2.6, 0.5), 3, 60))
    return f"{' '.join(chance.choice(VOCABULARY.split(), length))} {number}"


def photographs() -> list[Image.Image]:
    """The sample photographs."""
    files = sorted((ROOT / "hybrid_mmsa" / "samples").rglob("*.jpg"))
    return [Image.open(file).convert("RGB") for file in files]


def picture(number: int, photos: list[Image.Image]) -> bytes:
    """One encoded picture, always the same and unlike the others."""
    photo = photos[number % len(photos)]
    chance = np.random.default_rng(number)
    left, top = (int(chance.integers(0, side // 10)) for side in photo.size)
    buffer = io.BytesIO()
    photo.crop((left, top, photo.width, photo.height)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def timed(engine: LocalEngine, posts: Iterator[NumberedRow]) -> float:
    """Seconds to answer posts, which are drawn beforehand."""
    began = time.perf_counter()
    for answer in engine.answers(posts):
        if not isinstance(answer, Analysis):
            raise RuntimeError(answer.error)
    return time.perf_counter() - began


def pipeline(threads: int) -> Callable[[list[str], int], float]:
    """Seconds that a plain pipeline takes over texts, by batch size."""
    import torch
    from transformers import (
        PreTrainedTokenizerFast,
        RobertaConfig,
        RobertaForSequenceClassification,
        TextClassificationPipeline,
    )

    torch.set_num_threads(threads)
    # The size of roberta-base, random weights: speed does not depend on them. Our own tokeniser cuts as many pieces.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(ROOT / "hybrid_mmsa/encoders/weights/compact/tokenizer.json"),
        pad_token="<pad>",
        model_max_length=512,
    )
    model = RobertaForSequenceClassification(
        RobertaConfig(vocab_size=50_265, max_position_embeddings=514, num_labels=3)
    )
    pipe = TextClassificationPipeline(model=model.eval(), tokenizer=tokenizer, device="cpu")

    def run(texts: list[str], batch: int) -> float:
        began = time.perf_counter()
        pipe(texts, batch_size=batch, truncation=True)
        return time.perf_counter() - began

    return run


def of_texts(options: argparse.Namespace, engine: LocalEngine) -> dict[str, Any]:
    """Ours and the pipeline in turns, slice by slice, with our memory."""
    run = pipeline(options.workers)
    each, asked = options.texts // options.slices, options.reference // options.slices
    seconds: dict[str, float] = {"ours": 0.0, "pipeline, one by one": 0.0, "pipeline, batches of 32": 0.0}
    course = []
    run([text(0)], 1)
    for number in range(options.slices):
        drawn = [text(number * each + n) for n in range(each)]
        posts = ((n + 1, Sample(text=t, id=str(n))) for n, t in enumerate(drawn))
        seconds["ours"] += timed(engine, posts)
        seconds["pipeline, one by one"] += run(drawn[:asked], 1)
        seconds["pipeline, batches of 32"] += run(drawn[:asked], 32)
        course.append({"posts": (number + 1) * each, "memory_mb": round(resident_mb(), 1)})
    rates = {name: (options.texts if name == "ours" else options.slices * asked) / s for name, s in seconds.items()}
    return {
        "posts": options.texts,
        "posts_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "ratio": {name: round(rates["ours"] / rate, 2) for name, rate in rates.items() if name != "ours"},
        "course": course,
    }


def of_pictures(options: argparse.Namespace, engine: LocalEngine) -> dict[str, Any]:
    """Posts of words and a picture."""
    photos, seconds, course = photographs(), 0.0, []
    each = options.pictures // options.slices
    for number in range(options.slices):
        drawn = [Sample(text=text(n), image=picture(n, photos)) for n in range(number * each, (number + 1) * each)]
        seconds += timed(engine, iter(enumerate(drawn, 1)))
        course.append({"posts": (number + 1) * each, "memory_mb": round(resident_mb(), 1)})
    return {
        "posts": options.slices * each,
        "posts_per_second": round(options.slices * each / seconds, 2),
        "course": course,
    }


def of_reposts(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What a cache is worth by the share of reposts: in turns with a run without one."""
    count = max(options.texts // 40, 200)
    found = []
    for share in RATES:
        chance = np.random.default_rng(int(100 * share))
        distinct = max(int(count * (1 - share)), 1)
        numbers = [*range(distinct), *chance.integers(0, distinct, count - distinct)]
        chance.shuffle(numbers)
        drawn = [Sample(text=text(int(n))) for n in numbers]
        row: dict[str, Any] = {"reposts": share, "posts": count}
        for name, cache in (("without", None), ("with", 20_000)):
            analyzer = Analyzer.from_pretrained(cache=cache)
            engine = LocalEngine(analyzer, Call(explain="none"), options.workers)
            row[name] = round(count / timed(engine, iter(enumerate(drawn, 1))), 2)
            if isinstance(analyzer.encoder, CachedEncoder):
                row["seen_before"] = round(analyzer.encoder.hits / count, 4)
        found.append({**row, "ratio": round(row["with"] / row["without"], 2)})
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The record."""
    engine = LocalEngine(Analyzer.from_pretrained(), Call(explain="none"), options.workers)
    return {
        **circumstances(["onnxruntime", "torch", "transformers"], threads=options.workers),
        "texts": of_texts(options, engine),
        "pictures": of_pictures(options, engine),
        "reposts": of_reposts(options),
        "peak_memory_mb_with_the_pipeline": round(peak_memory_mb(), 1),
    }


def table(record: dict[str, Any]) -> Table:
    """What the record says."""
    shown = Table("", "found", title=f"{record['threads']} workers, load {record['machine']['load']:.1f}")
    for name, rate in record["texts"]["posts_per_second"].items():
        shown.add_row(f"texts a second, {name}", f"{rate:,.1f}")
    for name, ratio in record["texts"]["ratio"].items():
        shown.add_row(f"times faster than the {name}", f"{ratio:.1f}")
    shown.add_row("posts of both sides a second", f"{record['pictures']['posts_per_second']:,.1f}")
    for row in record["reposts"]:
        shown.add_row(f"cache, {row['reposts']:.0%} reposts, times faster", f"{row['ratio']:.2f}")
    for kind in ("texts", "pictures"):
        course = [f"{point['memory_mb']:,.0f}" for point in record[kind]["course"]]
        shown.add_row(f"memory over the run of {kind}, MB", ", ".join(course))
    return shown


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "scale")
    parser.add_argument("--texts", type=int, default=200_000, help="posts of words alone")
    parser.add_argument("--pictures", type=int, default=20_000, help="posts of words and a picture")
    parser.add_argument("--reference", type=int, default=400, help="texts that the pipeline answers, each way")
    parser.add_argument("--slices", type=int, default=10, help="turns that ours and the pipeline take")
    parser.add_argument("--workers", type=int, default=2, help="our threads, and the pipeline's")
    options = parser.parse_args()
    record = measure(options)
    tell("scale", record, table(record), options)


if __name__ == "__main__":
    main()
