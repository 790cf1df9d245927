"""Small real models for tests: towers with random weights that went through the real exports, and what is fitted on
them. Torch and onnx are imported only by what needs them.
"""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.calibration import Calibration
from hybrid_mmsa.encoders.compact import CompactEncoder, CompactManifest
from hybrid_mmsa.fusion import STRATEGIES, FusionHead
from hybrid_mmsa.fusion.head import IMAGE_HEADS, TEXT_HEADS
from hybrid_mmsa.routing import SIGNALS, CalibrationSample, ErrorModel, Router, Thresholds
from hybrid_mmsa.types import TASKS

MAX_TOKENS = 32
SIDE = 32
WIDTH = 64
TEXT_WIDTH = WIDTH
IMAGE_WIDTH = 1280
WORDS = re.findall(
    r"\w+",
    "the a i we you it is was are so very not and but with in on of to my your this that day train sun rain sea city "
    "food queue match team happy sad angry great awful wonderful terrible fine grey love hate lost won late user http "
    "march madness good bad never always monday red heart",
)
SPECIAL = ["<s>", "<pad>", "</s>", "[UNK]"]


def vocabulary():
    """Common words, and every letter, digit and mark of ASCII, alone and inside a word."""
    signs = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    pieces = [*SPECIAL, *WORDS, *signs, *(f"##{s}" for s in signs)]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


def write_tokenizer(path):
    """`tokenizer.json` of a WordPiece tokenizer over `vocabulary`."""
    tokenizer = Tokenizer(WordPiece(vocabulary(), unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    return path


def write_start(folder):
    """An MPNet of two layers, 64 wide, with its tokenizer: what training starts from; the same at every call."""
    import torch
    from transformers import MPNetConfig, MPNetModel

    torch.manual_seed(0)
    config = MPNetConfig(
        vocab_size=len(vocabulary()),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=MAX_TOKENS + 2,
        initializer_range=0.1,
        pad_token_id=1,
    )
    MPNetModel(config, add_pooling_layer=False).save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json")
    return folder


def text_tower(folder):
    """The product's text tower on `write_start`, with its heads; the same weights at every call."""
    import torch

    from hybrid_mmsa.training.towers.text_tower import TextTower

    write_start(folder)
    torch.manual_seed(0)
    return TextTower.begin(folder).eval()


def start_weights():
    """Random weights in the names and shapes of the folded image tower, scaled so that signals neither die nor grow."""
    import torch

    from hybrid_mmsa.training.towers.image_tower import BLOCKS

    shapes, channels = [(32, 3, 3, 3)], 32
    for expansion, kernel, out, repeats, _ in BLOCKS:
        for _ in range(repeats):
            wide = expansion * channels
            shapes += [(wide, channels, 1, 1)] if expansion > 1 else []
            shapes += [(wide, 1, kernel, kernel), (out, wide, 1, 1)]
            channels = out
    shapes.append((IMAGE_WIDTH, channels, 1, 1))
    chance = torch.Generator().manual_seed(1)
    weights = {}
    for number, shape in enumerate(shapes):
        scale = (2 / np.prod(shape[1:])) ** 0.5
        weights[f"{number}.weight"] = scale * torch.randn(shape, generator=chance)
        weights[f"{number}.bias"] = 0.1 * torch.randn(shape[0], generator=chance)
    return weights


def image_tower():
    """The product's image tower with random weights; the same ones at every call."""
    import torch

    from hybrid_mmsa.training.towers.image_tower import ImageTower

    torch.manual_seed(2)
    return ImageTower(start_weights()).eval()


def pictures(n, side=SIDE, seed=0):
    """uint8 `[n, side, side, 3]`: soft gradients and noise, each picture with its own colours."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 255, (n, 2, 2, 3))
    steps = np.linspace(0, 1, side)
    across = corners[:, :, :1] * (1 - steps[:, None]) + corners[:, :, 1:] * steps[:, None]
    field = across[:, :1] * (1 - steps[:, None, None]) + across[:, 1:] * steps[:, None, None]
    return np.clip(field + rng.normal(0, 20, field.shape), 0, 255).astype(np.uint8)


def write_towers(folder):
    """The compact encoder's folder: both towers exported to int8 as the product exports its own."""
    from hybrid_mmsa.training.towers.export import export_compact

    folder.parent.mkdir(parents=True, exist_ok=True)
    start = folder.parent / "start"
    export_compact(text_tower(start), start / "tokenizer.json", image_tower(), folder, max_tokens=MAX_TOKENS, side=SIDE)
    return folder


def write_manifest(folder):
    """`compact.json` for the tower files that stand in a folder."""
    names = ("text.onnx", "image.onnx", "tokenizer.json")
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    manifest = CompactManifest(
        max_tokens=MAX_TOKENS, image_size=SIDE, text_width=TEXT_WIDTH, image_width=IMAGE_WIDTH, files=files
    )
    (folder / "compact.json").write_text(json.dumps(asdict(manifest)), encoding="utf-8")


def fusion_arrays(text_width=TEXT_WIDTH, image_width=IMAGE_WIDTH, seed=3, strategy="gated"):
    """Drawn arrays of a fusion head whose opinions differ from post to post."""
    rng = np.random.default_rng(seed)
    arrays = {name: 0.3 * rng.normal(size=shape) for name, shape in STRATEGIES[strategy].shapes.items()}
    if strategy == "gated":
        arrays["fusion.text"][:, 3:] += np.eye(3)
        arrays["fusion.image"][:, 3:] += np.eye(3)
    for side, width, heads in (("text", text_width, TEXT_HEADS), ("image", image_width, IMAGE_HEADS)):
        for task, classes in heads.items():
            arrays[f"{side}.{task}.weight"] = rng.normal(size=(classes, width)) / width**0.5
            arrays[f"{side}.{task}.bias"] = 0.2 * rng.normal(size=classes)
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def router(**thresholds):
    """A router whose P(error) grows with every signal, calibrated on drawn scores."""
    model = ErrorModel([name for name in SIGNALS if name not in ("doubt", "novelty")])
    model.weights_ = np.linspace(0.5, 1.5, len(model.signals))
    model.bias_ = -2.5
    limits = Thresholds(**{"p_error": 0.5, "sarcasm": 0.9, "conflict": 0.8, **thresholds})
    return Router(
        error_model=model, thresholds=limits, fitted_on={"posts": 0}, sample=calibration_sample(), set_threshold=0.2
    )


def calibration_sample(n=200, seed=5):
    """Scores of drawn posts that are wrong as often as their P(error) says."""
    rng = np.random.default_rng(seed)
    p_error, before = rng.uniform(0.01, 0.6, n), rng.uniform(0.01, 0.6, 5 * n)
    return CalibrationSample(
        p_error=p_error,
        sarcasm=np.where(np.arange(n) % 3 == 1, np.nan, rng.beta(1, 4, n)),
        conflict=np.where(np.arange(n) % 3 == 0, np.nan, rng.beta(1, 4, n)),
        novel=np.full(n, np.nan),
        label=rng.integers(0, 3, n),
        wrong=rng.random(n) < p_error,
        order_score=np.log(before / (1 - before)),
        order_wrong=rng.random(5 * n) < before,
    )


def adapter(encoder="compact:towers", encoder_hash="0" * 64, name="tiny", *, seed=3):
    """Everything that is fitted on top of an encoder, drawn."""
    temperatures = {task: 1 + 0.1 * number for number, task in enumerate(TASKS)}
    head = FusionHead(fusion_arrays(seed=seed))
    made_with = {"corpora": ["drawn"], "seed": seed}
    return Adapter(
        name=name,
        encoder=encoder,
        encoder_hash=encoder_hash,
        head=head,
        calibration=Calibration(temperatures),
        router=router(),
        made_with=made_with,
        card="# Tiny\n\nDrawn.\n",
    )


def build(root: Path) -> Path:
    """An adapter folder `tiny` that `Analyzer.from_pretrained` loads, its towers inside."""
    folder = root / "tiny"
    write_towers(folder / "towers")
    adapter(encoder_hash=CompactEncoder(folder / "towers").hash).save(folder)
    return folder
