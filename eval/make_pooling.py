"""Fit how verdicts of the preset `smol` join the bundled model's answers, and write it into the model's folder.

    python eval/make_pooling.py --data CORPORA [--model adapters/default] [--posts 1500] [--save]

Nothing is trained: two weights and a bias for each kind of post are fitted to posts that neither the towers nor the
LoRA were fitted to, and with them from which P(error) on asking helps: the dev parts of the corpora of the text tower's
mixture, and those of MVSA-Single and, towards targets, Twitter-2015, with their pictures. What the cascade then answers
is measured on test parts, which chose nothing, on memes, which nothing was fitted to, and, by themselves, on plain
words beside pictures that turn nothing. The labels of MVSA-Single call plain words positive beside pictures, and a
pooling fitted to them may do so where nobody would: if the cascade is wrong on more of those plain posts than the fast
tier, posts with a picture and no target keep their fast answer. `--save` keeps what was measured as
eval/bench/results/pooling-DATE.json.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from eval.bench.keeping import circumstances, keep
from eval.bench.protocol_posts import drawn_posts
from eval.bench.reasoner.asking import asked
from eval.make_smol_posts import posts_of
from hybrid_mmsa import Analysis, Analyzer, metrics
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.data import Record
from hybrid_mmsa.model import open_model
from hybrid_mmsa.pooling import Pooling
from hybrid_mmsa.reasoning import Reasoner, RecordedReasoner, open_reasoner
from hybrid_mmsa.training.common.provenance import made_now
from hybrid_mmsa.training.posts.mixture import load_mixture
from hybrid_mmsa.training.posts.rows import TextRow
from hybrid_mmsa.training.routing.posts import pool_on_posts
from hybrid_mmsa.types import LABELS, Sample, Verdict

PRESET = "smol"
PICTURED, MEMES, CROSSED = ("mvsa_single", "twitter2015"), "memotion", "crossed"
"""Protocols."""
MOST_PICTURED = 450


def drawn(parts: Mapping[str, Sequence[TextRow]], count: int, chance: random.Random) -> list[Record]:
    """Labelled posts of words, of each kind (a sentiment, one towards a target, irony) and corpus about as many."""
    kinds: dict[tuple[str, str], list[Record]] = {}
    for source, rows in sorted(parts.items()):
        for row in rows:
            for kind, post in posts_of(row):
                sample = Sample(text=post["text"], label=post["label"], target=post.get("target"))
                kinds.setdefault((kind, source), []).append(Record(sample))
    chosen: list[Record] = []
    left = count
    for n, ((kind, source), records) in enumerate(sorted(kinds.items(), key=lambda item: len(item[1]))):
        some = chance.sample(records, min(len(records), left // (len(kinds) - n)))
        left -= len(some)
        chosen += [
            replace(record, sample=replace(record.sample, id=f"{kind}/{source}/{i}")) for i, record in enumerate(some)
        ]
    return chosen


def posts_with_pictures(data: Path, part: str | None, names: Sequence[str]) -> list[Record]:
    """Posts with pictures of a part of some protocols' corpora; of the one that they measure on if `None`."""
    found = []
    for name in names:
        for sample in drawn_posts(name, data, MOST_PICTURED, part):
            kind = "picture, target" if sample.target else "picture"
            found.append(Record(replace(sample, id=f"{kind}/{name}/{sample.id}")))
    return found


def verdicts_of(reasoner: Reasoner, records: Sequence[Record], title: str) -> dict[str, Verdict]:
    """What the reasoner says, by id."""
    samples = [record.sample for record in records]
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=len(samples))
        verdicts = asked(reasoner, samples, rationale=False, advance=lambda n: bar.update(task, advance=n))
    return {str(sample.id): verdict for sample, verdict in zip(samples, verdicts, strict=True)}


def judged(adapter: Adapter, records: Sequence[Record], verdicts: Mapping[str, Verdict]) -> list[dict[str, Any]]:
    """What the cascade gains on posts that fitted nothing, by kind of post, by corpus, and on all."""
    opened = open_model()
    analyzer = Analyzer(opened.encoder, [adapter], reasoner=RecordedReasoner(dict(verdicts), PRESET))
    answers = analyzer.analyze_batch([record.sample for record in records], explain="none")
    rows = [(r.sample, a) for r, a in zip(records, answers, strict=True) if isinstance(a, Analysis)]
    groups: dict[str, list[tuple[Sample, Analysis]]] = {}
    for sample, answer in rows:
        kind, source, _ = str(sample.id).split("/", 2)
        for name in (f"corpus: {source}",) if source == CROSSED else (f"kind: {kind}", f"corpus: {source}", "all"):
            groups.setdefault(name, []).append((sample, answer))
    return [{"posts_of": name, **_figures(group)} for name, group in sorted(groups.items())]


def without_harm(pooling: Pooling, plain: Mapping[str, Any]) -> Pooling:
    """The pooling, asking about no post with a picture where that does harm to plain words beside pictures.

    Args:
        pooling: As it was fitted.
        plain: What the cascade makes of such posts, a row of `judged`.
    """
    if plain["cascade"] >= plain["fast"] or "picture" not in pooling.kinds:
        return pooling
    harm = {name: plain[name] for name in ("posts", "fast", "cascade")}
    weights = pooling.kinds["picture"]
    kept = replace(weights, gain_from=math.inf, fitted_on={**weights.fitted_on, "harm_beside_pictures": harm})
    return replace(pooling, kinds={**pooling.kinds, "picture": kept})


def _figures(rows: Sequence[tuple[Sample, Analysis]]) -> dict[str, Any]:
    gold = np.array([LABELS.index(sample.label) for sample, _ in rows if sample.label])
    fast = np.array([LABELS.index(answer.fast.label) for _, answer in rows])
    cascade = np.array([LABELS.index(answer.sentiment.label) for _, answer in rows])
    return {
        "posts": len(rows),
        "asked": sum(answer.verdict is not None for _, answer in rows) / len(rows),
        "fast": float((fast == gold).mean()),
        "cascade": float((cascade == gold).mean()),
        "gain": asdict(metrics.paired_difference(metrics.accuracy, gold, cascade, fast, len(LABELS))),
    }


def main() -> None:
    """Fit, judge, show, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the corpora")
    parser.add_argument("--model", type=Path, default=Path(__file__).parents[1] / "adapters" / "default")
    parser.add_argument("--reasoner", default=PRESET, help="the preset, or a configuration of it")
    parser.add_argument("--posts", type=int, default=1500, help="posts to fit to, and as many to judge")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="keep what was measured among the records")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    mixture = load_mixture(options.data, seed=options.seed)
    dev, test = (drawn(part, options.posts, chance) for part in (mixture.dev, mixture.test))
    dev += posts_with_pictures(options.data, "dev", PICTURED)
    test += posts_with_pictures(options.data, None, (*PICTURED, MEMES))
    opened, reasoner = open_model(options.model), open_reasoner(options.reasoner)
    known = verdicts_of(reasoner, dev, "posts to fit to")
    pooling = cast(Pooling, pool_on_posts(opened.adapter, opened.encoder, dev, known).pooling)
    facts: dict[str, Any] = {
        **made_now(),
        "data": "dev parts of the text tower's corpora, of MVSA-Single and of Twitter-2015",
    }
    kinds = {k: replace(weights, fitted_on={**facts, **weights.fitted_on}) for k, weights in pooling.kinds.items()}
    pooling = replace(pooling, kinds=kinds)
    plain = posts_with_pictures(options.data, None, (CROSSED,))
    verdicts = verdicts_of(reasoner, [*test, *plain], "posts to judge")
    (beside_pictures,) = judged(replace(opened.adapter, pooling=pooling), plain, verdicts)
    pooling = without_harm(pooling, beside_pictures)
    adapter = replace(opened.adapter, pooling=pooling)
    found = judged(adapter, [*test, *plain], verdicts)
    record = {
        **circumstances(["torch", "transformers"], threads=1),
        "reasoner": options.reasoner,
        "pooling": pooling.to_dict(),
        "judged": found,
    }
    shown = Table("posts of", "posts", "asked", "fast", "cascade", "gain")
    for row in found:
        gain = "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**row["gain"])
        shares = (f"{row[name]:.3f}" for name in ("asked", "fast", "cascade"))
        shown.add_row(row["posts_of"], str(row["posts"]), *shares, gain)
    Console().print(shown)
    adapter.save(options.model)
    if options.save:
        keep("pooling", record)


if __name__ == "__main__":
    main()
