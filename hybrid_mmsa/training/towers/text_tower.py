"""The text tower in torch: an MPNet, mean pooling, and a linear head per task. Knows nothing of corpora.

The teacher is the whole MPNet. The student, which ships, has some of its layers, and every head reads the same features
(`distillation` says what it learns from).

MPNet: Song et al. 2020, arXiv 2004.09297; start weights sentence-transformers/all-mpnet-base-v2 (Apache-2.0).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import logging

from ...encoders.wordpieces import TokenBatch, WordPieces
from ...fusion.head import TEXT_HEADS
from ...types import FloatArray
from ..common.batches import by_length
from ..common.device import training_precision
from ..posts.rows import TextRow

__all__ = ["HEADS", "WEIGHTS", "TextTower", "head_scores", "input_reach", "pooled", "read_logits"]

HEADS = {task: classes for task, classes in TEXT_HEADS.items() if task != "joint"}
"""Classes per head of the tower; what words make of a whole post is fitted on frozen features."""
BATCH = 64
WEIGHTS = "tower.safetensors"


class TextTower(nn.Module):
    """An encoder of the MPNet family → features float32 `[n, width]`, and logits per head.

    Args:
        encoder: A transformers model without its pooler; see `begin` and `load`.
    """

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        # Words that training texts lack would stay behind those that they have.
        encoder.get_input_embeddings().weight.requires_grad_(False)
        self.dropout = nn.Dropout(0.1)
        width = encoder.config.hidden_size
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, classes in HEADS.items()})

    @classmethod
    def begin(cls, start: Path, layers: Sequence[int] | None = None) -> TextTower:
        """A tower with new heads on a transformers model.

        Args:
            start: The model's folder.
            layers: Which of its layers to keep, by number; all of them if not given.
        """
        logging.set_verbosity_error()  # a pooler that is not wanted is reported as missing
        encoder = AutoModel.from_pretrained(start, add_pooling_layer=False)
        if layers is not None:
            encoder.encoder.layer = nn.ModuleList(encoder.encoder.layer[number] for number in layers)
            encoder.config.num_hidden_layers = len(layers)
        return cls(encoder)

    @classmethod
    def load(cls, folder: Path) -> TextTower:
        """A tower that `save` wrote.

        Raises:
            ValueError: The weights are not those of the tower that `config.json` describes.
        """
        tower = cls(AutoModel.from_config(AutoConfig.from_pretrained(folder), add_pooling_layer=False))
        weights = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
        missing, unexpected = tower.load_state_dict(weights, strict=False)
        wrong = [name for name in missing if name.split(".")[-1] in {"weight", "bias"}] + unexpected
        if wrong:
            raise ValueError(f"{folder} does not fit the text tower: {wrong[:5]}")
        return tower.eval()

    def save(self, folder: Path, tokenizer: Path) -> None:
        """Write `config.json`, the tokenizer, and, last, all weights as fp16 safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.config.save_pretrained(folder)
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
        weights = {k: v.half().contiguous() for k, v in self.state_dict().items() if v.is_floating_point()}
        save_file(weights, folder / f"{WEIGHTS}.partial")
        (folder / f"{WEIGHTS}.partial").replace(folder / WEIGHTS)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.encoder.device
        return device

    def hidden(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Last hidden states `[m, length, width]` of the windows, and the mask `[m, length]` of real tokens."""
        ids, mask = (torch.from_numpy(array).to(self.device) for array in (batch.ids, batch.mask))
        return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask

    def features(self, batch: TokenBatch) -> Tensor:
        """Mean hidden states `[n, width]`: over the tokens of a window, then over a text's windows."""
        return pooled(*self.hidden(batch), batch)

    def logits(self, features: Tensor) -> dict[str, Tensor]:
        """Logits `[n, classes]` per head from features."""
        return {name: head(features) for name, head in self.heads.items()}

    def forward(self, batch: TokenBatch) -> dict[str, Tensor]:
        """Logits `[n, classes]` per head."""
        return self.logits(self.dropout(self.features(batch)))


def input_reach(tower: TextTower, batch: TokenBatch) -> dict[str, FloatArray]:
    """The largest absolute value of each input channel of every linear layer, float32 `[in]`, by the layer's name."""
    reach: dict[str, FloatArray] = {}

    def see(name: str, inputs: Tensor) -> None:
        seen = inputs.abs().flatten(0, -2)[batch.mask.ravel() > 0].amax(0).float().cpu().numpy()
        reach[name] = np.maximum(reach.get(name, seen), seen)

    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: see(name, inputs[0]))
        for name, module in tower.encoder.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.inference_mode():
            tower.hidden(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return reach


def pooled(hidden: Tensor, mask: Tensor, batch: TokenBatch) -> Tensor:
    """Features float32 `[n, width]` from hidden states `[m, length, width]` of windows and their mask."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    windows = ((hidden * weights).sum(1) / weights.sum(1)).float()
    shares, text = (torch.from_numpy(array).to(hidden.device) for array in (batch.shares, batch.text))
    features = torch.zeros(len(batch.n_tokens), windows.shape[1], device=hidden.device)
    return features.index_add(0, text, windows * shares[:, None])


def read_logits(tower: TextTower, pieces: WordPieces, rows: Sequence[TextRow]) -> dict[str, FloatArray]:
    """Logits float32 `[n, classes]` per head, in the rows' order."""
    tower.eval()
    logits = {name: np.zeros((len(rows), classes), np.float32) for name, classes in HEADS.items()}
    with torch.inference_mode():
        for part in by_length([len(row.text) for row in rows], BATCH):
            batch = pieces.encode([rows[i].text for i in part], [rows[i].target for i in part])
            with training_precision():
                values = tower(batch)
            for name, value in values.items():
                logits[name][part] = value.float().cpu().numpy()
    return logits


def head_scores(logits: dict[str, FloatArray], rows: Sequence[TextRow]) -> dict[str, float]:
    """Accuracy and macro recall of each head on the rows that have a hard label for it."""
    scores: dict[str, float] = {}
    for head, values in logits.items():
        labels = [row.labels.get(head, -1) for row in rows]
        gold = np.array([label if isinstance(label, int) else -1 for label in labels])
        if (known := gold >= 0).any():
            right = values[known].argmax(1) == gold[known]
            recall = [float(right[gold[known] == c].mean()) for c in sorted(set(gold[known]))]
            scores |= {f"{head}/accuracy": float(right.mean()), f"{head}/macro_recall": float(np.mean(recall))}
    return scores
