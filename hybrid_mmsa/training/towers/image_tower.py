"""The image tower in torch: EfficientNet-Lite0 with folded batch norms, and one linear head per task.

Its leading layers are frozen, so what they make of each picture, in several random views, is computed once
(`ImageViews`). Knows nothing of corpora. EfficientNet: Tan and Le 2019, arXiv 1905.11946; the Lite ones have neither
squeeze-and-excite nor swish. Start weights are TensorFlow's ImageNet model (Apache-2.0), so padding is TensorFlow's
'SAME' (the odd pixel goes right and below).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from ...errors import InputError
from ...fusion.head import IMAGE_HEADS
from ..common.loop import claim
from ..posts.pictures import PictureRow, augment

__all__ = [
    "BLOCKS",
    "ConvSpec",
    "ImageTower",
    "ImageViews",
    "conv_specs",
    "load_tower",
    "read_start",
    "read_views",
    "same_padding",
    "start_names",
]

# Expansion, kernel, output channels, repeats, stride of the first: table 1 of the paper.
BLOCKS = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
WIDTH = 1280
NORM_EPSILON = 1e-3
"""Of the start weights' batch norms."""
PARTS = {"weight": "weights", "bias": "biases"}
CENTRE, SCALE = 127.0, 128.0
"""Pixels are read as (value - CENTRE) / SCALE."""
BATCH = 32


class ConvSpec:
    """One convolution: its layer number, stride, groups, whether ReLU6 follows, and the residual it adds or opens."""

    def __init__(self, number: int, *, stride: int = 1, depthwise: bool = False, clipped: bool = True) -> None:
        self.number = number
        self.stride = stride
        self.depthwise = depthwise
        self.clipped = clipped
        self.opens_residual = False
        self.adds_residual = False


def conv_specs() -> list[ConvSpec]:
    """All 49 convolutions in order."""
    specs, channels = [ConvSpec(0, stride=2)], 32
    for expansion, _, out, repeats, first_stride in BLOCKS:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            block = [ConvSpec(len(specs))] if expansion > 1 else []
            block.append(ConvSpec(len(specs) + len(block), stride=stride, depthwise=True))
            block.append(ConvSpec(len(specs) + len(block), clipped=False))
            block[0].opens_residual = block[-1].adds_residual = stride == 1 and channels == out
            specs, channels = specs + block, out
    return [*specs, ConvSpec(len(specs))]


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and after one axis of `size` in TensorFlow's 'SAME' padding."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def read_start(path: Path) -> dict[str, Tensor]:
    """Weights of the folded network, named `<number>.weight|bias`, from the published `.pth` file.

    Raises:
        InputError: The file is of another kind or of another network.
    """
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        weights = {}
        for number, (conv, norm) in enumerate(start_names()):
            scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + NORM_EPSILON).sqrt()
            weights[f"{number}.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
            weights[f"{number}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    except (UnpicklingError, RuntimeError, TypeError, KeyError) as error:
        raise InputError(f"{path} does not hold EfficientNet-Lite0's weights: {error}", field="start") from error
    return weights


def start_names() -> Iterator[tuple[str, str]]:
    """Names of each convolution and its batch norm in the published file."""
    yield "_conv_stem", "_bn0"
    block = 0
    for expansion, _, _, repeats, _ in BLOCKS:
        for _ in range(repeats):
            prefix = f"_blocks.{block}"
            if expansion > 1:
                yield f"{prefix}._expand_conv", f"{prefix}._bn0"
            yield f"{prefix}._depthwise_conv", f"{prefix}._bn1"
            yield f"{prefix}._project_conv", f"{prefix}._bn2"
            block += 1
    yield "_conv_head", "_bn1"


def _ends_block(specs: Sequence[ConvSpec], count: int) -> bool:
    """Whether a block ends after so many layers; its last one is not clipped, and the stem is clipped."""
    return not specs[count - 1].clipped


def load_tower(path: Path) -> ImageTower:
    """A trained tower from a file that `ImageTower.save` wrote."""
    weights = {k: v.float() for k, v in load_file(path).items()}
    start = {f"{s.number}.{part}": weights[f"{name}.{s.number}"] for s in conv_specs() for part, name in PARTS.items()}
    tower = ImageTower(start)
    tower.load_state_dict(weights)
    return tower.eval()


class ImageTower(nn.Module):
    """Pixels → float32 `[n, 1280]` features and logits per head.

    Args:
        start: Weights of the folded network, such as the ImageNet start weights; see `read_start`.
        frozen: How many leading convolutions stay as they are; the trunk ends with them, where a block ends.
        dropout: On the features, before the heads.
    """

    def __init__(self, start: Mapping[str, Tensor], frozen: int = 0, dropout: float = 0.4) -> None:
        super().__init__()
        self.specs = conv_specs()
        if frozen and not _ends_block(self.specs, frozen):
            ends = [n for n in range(1, len(self.specs)) if _ends_block(self.specs, n)]
            raise InputError(f"found {frozen} frozen layers; a block ends after {ends}", field="frozen")
        self.frozen = frozen
        self.weights = nn.ParameterList([start[f"{s.number}.weight"].clone() for s in self.specs])
        self.biases = nn.ParameterList([start[f"{s.number}.bias"].clone() for s in self.specs])
        for number in range(frozen):
            self.weights[number].requires_grad_(False)
            self.biases[number].requires_grad_(False)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, n) for name, n in IMAGE_HEADS.items()})

    def trunk(self, pixels: Tensor) -> Tensor:
        """The map `[n, channels, rows, columns]` after the frozen layers of pixels `[n, 3, side, side]` in 0..255."""
        x = (pixels.float() - CENTRE) / SCALE
        return self._through(self.specs[: self.frozen], x.contiguous(memory_format=torch.channels_last))

    def top(self, maps: Tensor) -> Tensor:
        """Features `[n, 1280]` from the trunk's maps."""
        return self._through(self.specs[self.frozen :], maps).float().mean((2, 3))

    def features(self, pixels: Tensor) -> Tensor:
        """Pooled last feature map of uint8 or float pixels `[n, 3, side, side]` in 0..255."""
        return self.top(self.trunk(pixels))

    def logits(self, maps: Tensor) -> dict[str, Tensor]:
        """Logits `[n, classes]` per head from the trunk's maps."""
        features = self.dropout(self.top(maps))
        return {name: head(features) for name, head in self.heads.items()}

    def _through(self, specs: Sequence[ConvSpec], x: Tensor) -> Tensor:
        residual = x
        for spec in specs:
            weight, bias = self.weights[spec.number], self.biases[spec.number]
            if spec.opens_residual:
                residual = x
            before, after = same_padding(x.shape[-1], weight.shape[-1], spec.stride)
            groups = x.shape[1] if spec.depthwise else 1
            x = conv2d(pad(x, (before, after, before, after)), weight, bias, spec.stride, groups=groups)
            x = x.clamp(0, 6) if spec.clipped else x
            x = x + residual if spec.adds_residual else x
        return x

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Logits `[n, classes]` per head."""
        return self.logits(self.trunk(pixels))

    def save(self, path: Path) -> None:
        """Write all weights as fp16 safetensors."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.half().contiguous() for k, v in self.state_dict().items()}, path)

    def load(self, path: Path) -> ImageTower:
        """Read weights written by `save`, in place; they must all be there."""
        self.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        return self


@dataclass(frozen=True, slots=True, eq=False)
class ImageViews:
    """Pictures, and for each the trunk's maps of its views, float16 `[views, n, channels, rows, columns]`."""

    rows: Sequence[PictureRow]
    maps: Sequence[NDArray[np.float16]]

    def view(self, number: int, rows: NDArray[np.int64]) -> Tensor:
        """One view of some pictures, float32 `[rows, channels, rows, columns]`."""
        maps = torch.from_numpy(self.maps[number % len(self.maps)][rows]).float()
        return maps.contiguous(memory_format=torch.channels_last)


def read_views(tower: ImageTower, rows: Sequence[PictureRow], folder: Path, *, views: int, side: int) -> ImageViews:
    """Maps of randomly changed pictures; each view is a file in `folder`, and is kept when it is there.

    Args:
        tower: Its trunk is used.
        rows: The pictures.
        folder: Where the views go.
        views: How many of each picture.
        side: What they are cropped to, in pixels.
    """
    claim(folder, {"frozen": tower.frozen, "pictures": [row.id for row in rows], "side": side})
    maps = []
    for number in range(views):
        path = folder / f"{number}.safetensors"
        if not path.exists():
            save_arrays({"maps": _maps(tower, rows, side, number)}, path.with_suffix(".partial"))
            path.with_suffix(".partial").replace(path)
        maps.append(load_arrays(path)["maps"])
    return ImageViews(rows, maps)


def _maps(tower: ImageTower, rows: Sequence[PictureRow], side: int, number: int) -> NDArray[np.float16]:
    parts = []
    starts = range(0, len(rows), BATCH)
    with torch.inference_mode():
        for start in track(starts, f"view {number}", console=Console(stderr=True), transient=True):
            pixels = np.stack([row.pixels for row in rows[start : start + BATCH]])
            seed = 1_000_003 * number + start
            parts.append(tower.trunk(augment(torch.from_numpy(pixels), side, seed)).half().contiguous().numpy())
    return np.concatenate(parts)
