"""Fits what an encoder estimates of words that are left out (`encoders.left_out`): texts → the small network.

Some words of each text are left out in earnest and the text read without them; the network learns by how much the
features changed. The texts are what the text tower and its heads learn from: rows of the mixture, and posts; a run that
was interrupted goes on where it stopped. It knows nothing of labels or heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...encoders import CompactEncoder
from ...encoders.compact import FILES, LEFT_OUT
from ...encoders.left_out import LeftOut, gone_from, parts_of
from ...explain.words import hide, word_spans
from ...inputs import read_sample, reword
from ...types import FloatArray, Sample
from ..posts.mixture import load_mixture
from ..posts.rows import has_posts, post_records

__all__ = ["LeftOutConfig", "Words", "fit_left_out", "observe", "readable", "train_left_out"]

TEXTS = 600
"""So many are observed and kept at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutConfig:
    """How the network is fitted.

    Attributes:
        texts: That words are left out of.
        words: Drawn of each text. More texts teach more than more words of each.
        longest: Words of a text; longer texts are passed over.
        hidden: Width of its one hidden layer.
        epochs: Times that each word is seen.
        batch: Words per step.
        rate: Largest learning rate of AdamW; it rises and falls once (Smith & Topin 2019, arXiv 1708.07120).
        dropout: Share of its inputs and of its hidden values that each step does without.
        seed: Of the first weights and the order.
    """

    texts: int = 6_000
    words: int = 6
    longest: int = 60
    hidden: int = 128
    epochs: int = 12
    batch: int = 256
    rate: float = 1e-3
    dropout: float = 0.2
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The words of one text or more: what the network reads of each, and what leaving it out did.

    Attributes:
        parts: float32 `[n, 2 * layers * d]`, see `left_out.parts_of`.
        changes: float32 `[n, d]`, features without the word minus features of the whole text.
    """

    parts: FloatArray
    changes: FloatArray

    @classmethod
    def joined(cls, parts: Iterable[Words]) -> Words:
        """The words of many texts as one."""
        found = list(parts)
        return cls(np.concatenate([each.parts for each in found]), np.concatenate([each.changes for each in found]))


def train_left_out(
    data: Path,
    towers: Path,
    runs: Path,
    config: LeftOutConfig | None = None,
    advance: Callable[[], None] = lambda: None,
) -> LeftOut:
    """Fit the network to the text tower of a folder, and write it there, in place of one that is there.

    Args:
        data: Folder holding the corpora.
        towers: The folder of the towers.
        runs: Keeps what was observed, so that an interrupted run goes on.
        config: The recipe.
        advance: Called for every text that was observed, many at a time.
    """
    config = config or LeftOutConfig()
    (towers / LEFT_OUT).unlink(missing_ok=True)  # one of another tower would be refused
    encoder = CompactEncoder(towers)
    tower = encoder.manifest.files[FILES[0]]
    kept = runs / f"{tower[:12]}-{config.words}"
    texts = list(islice(readable(learned_texts(data), config.longest), config.texts))
    parts = []
    for start in range(0, len(texts), TEXTS):
        some = texts[start : start + TEXTS]
        parts.append(_observed(encoder, some, kept / f"{start}.npz", config.words))
        for _ in some:
            advance()
    words = Words.joined(parts)
    network = fit_left_out(words, config)
    facts = {**asdict(config), "texts": len(texts), "observed": len(words.parts)}
    network.save(towers / LEFT_OUT, tower, facts)
    return network


def learned_texts(data: Path) -> Iterator[Sample]:
    """Texts to train on: posts, then rows of the text tower's mixture, each once; none that a rule wrote."""
    if has_posts(data):
        yield from (Sample(text=r.sample.text) for r in post_records(data) if r.split == "train" and r.sample.text)
    seen: set[str] = set()
    for row in load_mixture(data).train:
        if not row.made and row.text not in seen:
            seen.add(row.text)
            yield row.sample


def readable(samples: Iterable[Sample], longest: int) -> Iterator[Sample]:
    """Texts as they are read, without those of fewer than two words and those of too many."""
    for sample in map(read_sample, samples):
        if sample.text and reword(sample.text) and 1 < len(word_spans(sample.text)) <= longest:
            yield sample


def _observed(encoder: CompactEncoder, samples: Sequence[Sample], path: Path, most: int) -> Words:
    """What leaving words out does, kept in `path` as float16; read from there where it stands there."""
    if not path.exists():
        words = Words.joined(observe(encoder, samples, most))
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part.npz")
        np.savez(draft, parts=words.parts.astype(np.float16), changes=words.changes.astype(np.float16))
        draft.replace(path)
    with np.load(path) as kept:
        return Words(kept["parts"].astype(np.float32), kept["changes"].astype(np.float32))


def observe(
    encoder: CompactEncoder, samples: Iterable[Sample], most: int | None = None, seed: int = 0
) -> Iterator[Words]:
    """Leave out words of read texts, one after the other; texts of a single word are passed over.

    Args:
        encoder: Reads them.
        samples: The texts, each with its target.
        most: Words that are drawn of each text; all by default.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    for sample in samples:
        text = sample.text or ""
        versions = [hide(text, [span]) for span in word_spans(text)]
        if most is not None and len(versions) > most:
            versions = [versions[place] for place in sorted(rng.choice(len(versions), most, replace=False))]
        versions = [version for version in versions if reword(version)]
        (states,) = encoder.token_states([Sample(text=text, target=sample.target)])
        if states is None or not versions:
            continue
        gone = gone_from(states, [encoder.token_numbers(version) for version in versions])
        changed = np.flatnonzero(gone.any(1))
        if len(changed):
            read = encoder.encode([Sample(text=versions[row], target=sample.target) for row in changed])
            whole = states.states[:, -1].mean(0)
            yield Words(parts_of(states.states, gone[changed]), read.text_features - whole)


def fit_left_out(words: Words, config: LeftOutConfig) -> LeftOut:
    """The network, fitted to what was observed.

    Args:
        words: All of them, in any order.
        config: How.
    """
    torch.manual_seed(config.seed)
    middle, spread = words.parts.mean(0), words.parts.std(0) + 1e-3
    parts, changes = torch.from_numpy((words.parts - middle) / spread), torch.from_numpy(words.changes)
    first, last = nn.Linear(parts.shape[1], config.hidden), nn.Linear(config.hidden, changes.shape[1])
    nn.init.zeros_(last.weight)  # at first no word does anything
    nn.init.zeros_(last.bias)
    net = nn.Sequential(nn.Dropout(config.dropout), first, nn.SiLU(), nn.Dropout(config.dropout), last)
    size = changes.square().mean()
    steps = config.epochs * -(-len(parts) // config.batch)
    optimiser = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, steps)
    for _ in range(config.epochs):
        for rows in torch.randperm(len(parts)).split(config.batch):
            loss = nn.functional.mse_loss(net(parts[rows]), changes[rows]) / size
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    values = {
        f"{name}.{kind}": getattr(layer, kind).detach().numpy()
        for name, layer in (("in", first), ("out", last))
        for kind in ("weight", "bias")
    }
    weight = values["in.weight"] / spread  # what the parts are scaled with becomes part of the weights
    return LeftOut(values | {"in.weight": weight, "in.bias": values["in.bias"] - weight @ middle})
