"""Fits what an encoder estimates of words that are left out (`encoders.left_out`): texts → the small network.

Every word of a text is left out in earnest and the text read without it; the network learns by how much the features
changed. It knows nothing of corpora or heads; texts come from the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ...encoders import CompactEncoder
from ...encoders.left_out import LeftOut, gone_from, parts_of
from ...explain.words import hide, word_spans
from ...inputs import reword
from ...types import FloatArray, Sample

__all__ = ["LeftOutConfig", "Words", "fit_left_out", "observe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutConfig:
    """How the network is fitted.

    Attributes:
        hidden: Width of its one hidden layer.
        epochs: Times that each word is seen.
        batch: Words per step.
        rate: Largest learning rate of AdamW; it rises and falls once (Smith & Topin 2019, arXiv 1708.07120).
        dropout: Share of its inputs and of its hidden values that each step does without.
        seed: Of the first weights and the order.
    """

    hidden: int = 96
    epochs: int = 14
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


def observe(encoder: CompactEncoder, samples: Iterable[Sample]) -> Iterator[Words]:
    """Leave out each word of each read text, one after the other; texts of a single word are passed over."""
    for sample in samples:
        text = sample.text or ""
        versions = [hide(text, [span]) for span in word_spans(text)]
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
