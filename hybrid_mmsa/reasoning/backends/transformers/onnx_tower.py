"""A picture tower that is one ONNX file, as a vision model of transformers. Knows no words and no labels.

The file's bytes stand among the model's weights, so that a folder is whole by itself and its hashes hold for them too.
The file takes `pixels`, uint8 `[n, side, side, 3]`, and gives `map`, float32 `[n, width, rows, columns]`: each place of
the map is a token, from left to right and from top to bottom.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.image_utils import make_flat_list_of_images
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ....errors import ArtefactError
from ....inputs import to_pixels
from ....onnx import Session, open_session

__all__ = ["OnnxTower", "OnnxTowerConfig", "SquashedImageProcessor", "know_onnx_towers", "onnx_tower"]

_library: Any = transformers  # its classes are annotated only in part
_Config: Any = _library.PreTrainedConfig
_Model: Any = _library.PreTrainedModel
_ImageProcessor: Any = _library.BaseImageProcessor
AT_A_TIME = 8
"""Pictures that are read together: more would take as long and need more memory."""


class OnnxTowerConfig(_Config):  # type: ignore[misc]
    """What a tower's file takes and gives.

    Attributes:
        hidden_size: Width of a token.
        image_size: Side of the square that is read, in pixels.
        patch_size: Side of the part that a token stands for, in pixels.
        file_bytes: Length of the file.
    """

    model_type = "hybrid_mmsa_onnx_tower"

    hidden_size: int = 1280
    image_size: int = 160
    patch_size: int = 32
    file_bytes: int = 0


class OnnxTower(_Model):  # type: ignore[misc]
    """The tower. Nothing is learnt through it.

    Args:
        config: Its sizes.

    Attributes:
        file: The ONNX file, uint8 `[file_bytes]`.
    """

    config_class = OnnxTowerConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: OnnxTowerConfig) -> None:
        super().__init__(config)
        self.register_buffer("file", torch.zeros(config.file_bytes, dtype=torch.uint8))
        self._session: Session | None = None
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **options: Any) -> BaseModelOutputWithPooling:
        """Tokens `[n, rows · columns, hidden_size]` of pictures, uint8 `[n, side, side, 3]`; `options` change nothing.

        Raises:
            ArtefactError: The bytes are no such model.
        """
        if self._session is None:
            self._session = open_session(self.file.cpu().numpy().tobytes(), 1)
        pixels = pixel_values.cpu().numpy()
        places: dict[bytes, int] = {}  # versions of a post share a picture, which is read once
        rows = [places.setdefault(picture.tobytes(), len(places)) for picture in pixels]
        first = pixels[[rows.index(place) for place in range(len(places))]]
        parts = [
            self._session.run(["map"], {"pixels": first[start : start + AT_A_TIME]})[0]
            for start in range(0, len(first), AT_A_TIME)
        ]
        tokens = torch.from_numpy(np.concatenate(parts)[rows]).flatten(2).transpose(1, 2)
        tokens = tokens.to(pixel_values.device, self.config.dtype or torch.float32)
        return BaseModelOutputWithPooling(last_hidden_state=tokens, hidden_states=(tokens,))


class SquashedImageProcessor(_ImageProcessor):  # type: ignore[misc]
    """Pictures → the pixels that the bundled encoder reads as well: the whole picture squashed to a square.

    Args:
        side: Of the square, in pixels.
        **options: What transformers keeps with an image processor.
    """

    model_input_names = ("pixel_values",)

    def __init__(self, side: int = 160, **options: Any) -> None:
        super().__init__(**options)
        self.side = side

    def __call__(self, images: Any, *args: Any, return_tensors: str | None = None, **options: Any) -> Any:
        """`pixel_values`, uint8 `[n, side, side, 3]`, of pictures (PIL), perhaps in lists; `options` change nothing."""
        pictures = [picture.convert("RGB") for picture in make_flat_list_of_images(images)]
        pixels = np.stack([to_pixels(picture, self.side) for picture in pictures])
        return _library.BatchFeature({"pixel_values": pixels}, tensor_type=return_tensors)


def know_onnx_towers() -> None:
    """Let transformers open folders that hold such a tower."""
    _library.AutoConfig.register(OnnxTowerConfig.model_type, OnnxTowerConfig, exist_ok=True)
    _library.AutoModel.register(OnnxTowerConfig, OnnxTower, exist_ok=True)
    both = {"pil": SquashedImageProcessor, "torchvision": SquashedImageProcessor}
    _library.AutoImageProcessor.register(OnnxTowerConfig, image_processor_classes=both, exist_ok=True)


def onnx_tower(path: Path) -> tuple[OnnxTower, SquashedImageProcessor]:
    """The tower in an ONNX file, and what reads pictures for it.

    Raises:
        ArtefactError: The file is no such tower.
    """
    know_onnx_towers()
    content = path.read_bytes()
    session = open_session(content, 1)
    side = session.inputs.get("pixels", ())[1:2]
    if "map" not in session.outputs or not side or not isinstance(side[0], int):
        raise ArtefactError(f"{path} is no picture tower: it takes no `pixels` of a fixed size, or gives no `map`")
    blank = np.zeros((1, side[0], side[0], 3), np.uint8)
    width, rows = session.run(["map"], {"pixels": blank})[0].shape[1:3]
    config = OnnxTowerConfig(hidden_size=width, image_size=side[0], patch_size=side[0] // rows, file_bytes=len(content))
    tower = OnnxTower(config)
    tower.file.copy_(torch.from_numpy(np.frombuffer(content, np.uint8).copy()))
    return tower.eval(), SquashedImageProcessor(side[0])
