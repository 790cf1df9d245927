"""What a reasoner answers on everyday posts and MVSA-Single, how fast, and what asking it adds. It trains nothing.

    python eval/bench/reasoner/reasoner.py REASONER [--data CORPORA] [--fast default] [--posts 450] [--json] [--save]

Everyday posts (`eval/everyday`): the reasoner alone, the fast tier, and both pooled by weights that are fitted out of
fold; what it writes of some of them, and how long that takes. A configuration (`.toml`) may name a LoRA to answer with.
With the corpora, MVSA-Single: its labels, with a post's own text and picture, with another post's, and with one of them
alone; what it says of each side of some; and the cascade, whose pooling is fitted to dev posts. Rationales are held
against the fields they stand with. Sentences of two more corpora say what it makes of targets and of sarcasm.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from eval.bench.keeping import program, tell, today
from eval.bench.reasoner.asking import AT_A_TIME, asked, patient
from eval.bench.reasoner.everyday import everyday, written
from eval.bench.reasoner.figures import label_accuracy, rationales, shuffled, side_accuracy, spread
from eval.bench.reasoner.sentences import on_sentences
from eval.bench.reasoner.table import table
from hybrid_mmsa import __version__
from hybrid_mmsa.data import load_corpus, load_manifest
from hybrid_mmsa.errors import ReasonerError
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.model import open_model
from hybrid_mmsa.reasoning import Reasoner, open_reasoner
from hybrid_mmsa.reasoning.backends.llama_cpp import LlamaCppReasoner
from hybrid_mmsa.reasoning.backends.transformers import TransformersReasoner
from hybrid_mmsa.reasoning.prompt.answer import read_answer
from hybrid_mmsa.training.lora.measure import figures_of, fit_pooled
from hybrid_mmsa.training.posts.rows import CORPUS_FOLDERS, MVSA_SPLIT
from hybrid_mmsa.types import Sample, Verdict

PACKAGES = ("onnxruntime", "torch", "transformers")
THREADS = 2
WARM_UP = 3
WEIGHTS = "*.safetensors"
EXPLAINED = 50
"""Test posts, evenly taken, that are asked for reasons: each may cost dozens of questions."""
FRESH = Path(__file__).with_name("fresh.py")


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "reasoner")
    parser.add_argument("reasoner", help="a reasoner's name, folder or configuration")
    parser.add_argument("--data", type=Path, help="folder holding the corpora; without it, everyday posts alone")
    parser.add_argument("--fast", default="default", help="the fast tier it is asked by")
    parser.add_argument("--posts", type=int, help="so many test posts, and as many dev posts; all if not given")
    options = parser.parse_args()
    result = record(options.data, options.reasoner, options.fast, options.posts)
    tell(f"reasoner-{Path(result['reasoner']).name}", result, table(result), options)


def record(data: Path | None, model: str, fast: str, most: int | None = None) -> dict[str, Any]:
    """The run as numbers, with what is needed to read them."""
    reasoner = patient(open_reasoner(model))
    torch.set_num_threads(THREADS)
    found = {
        "date": today(),
        "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {"hybrid-mmsa": __version__, **{name: metadata.version(name) for name in PACKAGES}},
        "threads": THREADS,
        "reasoner": reasoner.id,
        "weights": weights_of(reasoner),
        "fast": fast,
        "everyday": everyday(reasoner, fast, most),
        "written": written(reasoner, most),
    }
    if data is None:
        return found
    return found | {"sentences": on_sentences(reasoner, data, most)} | on_mvsa(data, reasoner, model, fast, most)


def on_mvsa(data: Path, reasoner: Reasoner, model: str, fast: str, most: int | None) -> dict[str, Any]:
    """What it answers on MVSA-Single's posts."""
    dev, test = (part[:most] for part in posts(data))
    explained = test[:: math.ceil(len(test) / EXPLAINED)]
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("posts asked about", total=len(dev) + 5 * len(test) + 4 * len(explained))

        def advance(n: int = 1) -> None:
            bar.update(task, advance=n)

        times, verdicts, refused = one_by_one(reasoner, explained, advance)
        answered = [explained[n] for n in verdicts]
        said = list(verdicts.values())
        known = [label_of(reasoner, part, advance) for part in (dev, test)]
        parted = alone(reasoner, test, advance) if getattr(reasoner, "reads_pictures", True) else {}
        texts, pictures = (other_side(reasoner, explained, side, advance) for side in ("text", "image"))
        freely = written_freely(reasoner, explained, advance)
    return {
        "prompt": said[0].prompt,
        "split": MVSA_SPLIT,
        "posts": {"dev": len(dev), "test": len(test), "explained": len(explained)},
        "valid_as_asked": 1 - refused / len(explained),
        "valid_written_freely": freely,
        "label": label_accuracy([s.label for s in test], known[1]),
        "label_of_dev_and_test": label_accuracy([s.label for s in [*dev, *test]], [*known[0], *known[1]]),
        **parted,
        "text_says": side_accuracy(answered, said, "text"),
        "text_says_of_another_text": texts,
        "picture_says": side_accuracy(answered, said, "image"),
        "picture_says_of_another_picture": pictures,
        "rationales": rationales(answered, said),
        "seconds": times,
        "fresh_process": fresh_process(model, test),
        "cascade": cascade(fast, (dev, test), known),
    }


def posts(data: Path) -> tuple[list[Sample], list[Sample]]:
    """Dev and test posts of the split that have words and a picture; pictures are not decoded yet."""
    records = load_manifest(MVSA_SPLIT).apply(load_corpus("mvsa_single", data / CORPUS_FOLDERS["mvsa_single"]))
    found: dict[str, list[Sample]] = {"dev": [], "test": []}
    for each in records:
        if each.split in found and each.sample.text and each.sample.image is not None:
            found[each.split].append(each.sample)
    return found["dev"], found["test"]


def one_by_one(
    reasoner: Reasoner, samples: Sequence[Sample], advance: Callable[[], None]
) -> tuple[dict[str, Any], dict[int, Verdict], int]:
    """A post at a time, its picture decoded before.

    Returns:
        Seconds of a label alone and of a whole answer; whole verdicts by their posts' places; how many posts got none.
    """
    taken: dict[str, list[float]] = {"label": [], "rationale": []}
    found: dict[int, Verdict] = {}
    for _ in range(WARM_UP):
        reasoner.reason([read_sample(samples[0])], rationale=True)
    for number, sample in enumerate(map(read_sample, samples)):
        start = time.perf_counter()
        reasoner.reason([sample])
        taken["label"].append(time.perf_counter() - start)
        start = time.perf_counter()
        with suppress(ReasonerError):  # what is missing is counted
            (found[number],) = reasoner.reason([sample], rationale=True)
        taken["rationale"].append(time.perf_counter() - start)
        advance()
    return {name: spread(seconds) for name, seconds in taken.items()}, found, len(samples) - len(found)


def label_of(reasoner: Reasoner, samples: Sequence[Sample], advance: Callable[[int], None]) -> list[Verdict]:
    """Verdicts without a rationale."""
    return asked(reasoner, samples, rationale=False, advance=advance)


def alone(reasoner: Reasoner, samples: Sequence[Sample], advance: Callable[[int], None]) -> dict[str, Any]:
    """Labels of posts with another post's picture or words, and of one side alone: what a model that looks follows."""
    shown, gold = shuffled(samples), [s.label for s in samples]
    found: dict[str, Any] = {}
    for hidden, other, seen, field in (
        ("image", "picture", "words", "text_label"),
        ("text", "words", "picture", "image_label"),
    ):
        mixed = [_replaced(s, hidden, getattr(samples[n], hidden)) for s, n in zip(samples, shown, strict=True)]
        found[f"label_with_another_{other}"] = label_accuracy(gold, label_of(reasoner, mixed, advance))
        bare = label_of(reasoner, [_replaced(s, hidden, None) for s in samples], advance)
        found[f"label_from_{seen}_alone"] = label_accuracy(gold, bare)
        known = [(getattr(s, field), v) for s, v in zip(samples, bare, strict=True) if getattr(s, field)]
        found[f"{field}_from_{seen}_alone"] = label_accuracy([label for label, _ in known], [v for _, v in known])
    return found


def other_side(
    reasoner: Reasoner, samples: Sequence[Sample], side: Any, advance: Callable[[int], None]
) -> dict[str, float]:
    """What is said of a side when each post has another post's text, or picture."""
    shown = shuffled(samples)
    field = "text" if side == "text" else "image"
    mixed = [replace(s, **{field: getattr(samples[n], field)}) for s, n in zip(samples, shown, strict=True)]
    return side_accuracy(samples, asked(reasoner, mixed, rationale=True, advance=advance), side, shown)


def written_freely(reasoner: Reasoner, samples: Sequence[Sample], advance: Callable[[int], None]) -> float | None:
    """Share of answers that can be read, written with no prefix and no schema; `None` where none is written so."""
    if not isinstance(reasoner, TransformersReasoner) or reasoner._prompts.configured.brief:
        return None
    prompt, vlm = reasoner._prompts.configured, reasoner._vlm
    valid = 0
    for start in range(0, len(samples), AT_A_TIME):
        some = [read_sample(sample) for sample in samples[start : start + AT_A_TIME]]
        chats = [prompt.messages(sample, pictures=vlm.sees) for sample in some]
        texts = vlm.processor.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
        images = [[sample.image] for sample in some] if vlm.sees else None
        inputs = vlm.processor(text=texts, images=images, padding=True, return_tensors="pt")
        most = min(reasoner.config.max_rationale_tokens, vlm.context - inputs["input_ids"].shape[1])
        with torch.inference_mode():
            ids = vlm.model.generate(**inputs, max_new_tokens=most)[:, inputs["input_ids"].shape[1] :]
        for text, sample in zip(vlm.processor.batch_decode(ids, skip_special_tokens=True), some, strict=True):
            with suppress(ReasonerError):
                read_answer(text, prompt, sample)
                valid += 1
        advance(len(some))
    return valid / len(samples)


def fresh_process(model: str, samples: Sequence[Sample], threads: int = THREADS) -> dict[str, float]:
    """Seconds and peak memory of a process of its own that opens the model and answers one post."""
    post = samples[0]
    picture = [] if post.image is None else [str(post.image)]
    command = [sys.executable, str(FRESH), model, str(post.text), *picture]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"a measured process failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def cascade(fast: str, parts: Sequence[Sequence[Sample]], known: Sequence[Sequence[Verdict]]) -> dict[str, Any]:
    """Fast tier, mode auto and mode deep on test, the pooling fitted on dev; and the reasoner alone."""
    model = open_model(fast)
    fitted = fit_pooled(model.adapter, model.encoder, parts[0], known[0])
    found = figures_of(fitted, model.encoder, parts[1], known[1], known[1]).to_dict()
    for name in ("accuracy", "macro_f1", "log_loss", "gains"):
        found[name] = {k.replace("adapter", "reasoner"): v for k, v in found[name].items() if "base" not in k}
    return found | {"fast": fast, "pooling": fitted.pooling and fitted.pooling.to_dict()}


def weights_of(reasoner: Reasoner) -> dict[str, Any] | None:
    """Size in MB and SHA-256 of the weights' files, where there are any, and the LoRA that the configuration names."""
    if not isinstance(reasoner, TransformersReasoner | LlamaCppReasoner):
        return None
    model = Path(reasoner.config.model)
    folder = model if model.is_dir() else model.parent
    content = b"".join(path.read_bytes() for path in ([model] if model.is_file() else sorted(model.glob(WEIGHTS))))
    whole = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    sha256, lora = hashlib.sha256(content).hexdigest(), reasoner.config.lora
    return {"mb": len(content) / 1e6, "folder_mb": whole / 1e6, "sha256": sha256, "lora": lora}


def _replaced(sample: Sample, side: str, value: Any) -> Sample:
    changes: Any = {side: value}
    return replace(sample, **changes)


if __name__ == "__main__":
    main()
