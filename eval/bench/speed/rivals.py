"""What a user would pick instead of the fast tier: functions that judge posts on one thread. It times nothing.

Weights are random where speed does not depend on them, which is everywhere but in the bundled model: nobody's weights
are fetched. Those that read words alone are marked so. Heavy packages are imported where a rival is opened, so that no
process carries another's.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hybrid_mmsa.encoders.compact import WEIGHTS
from hybrid_mmsa.encoders.wordpieces import WordPieces

__all__ = ["OURS", "RIVALS", "Judge", "Post", "Rival"]

Post: TypeAlias = tuple[str, bytes]
Judge: TypeAlias = Callable[[Sequence[Post]], object]
CLIP = "ViT-B-32"
SIDE = 224
VOCABULARY = 30522


@dataclass(frozen=True, slots=True)
class Rival:
    """One of those compared.

    Attributes:
        title: For people.
        opened: Opens it.
        words_alone: It reads no pictures.
        exported: It is made by torch in the same process, whose memory says nothing of it.
        cold: A program that answers one post (its words and its picture's path as arguments) and imports nothing else.
        distribution: What pip installs for it.
    """

    title: str
    opened: Callable[[], Judge]
    words_alone: bool = False
    exported: bool = False
    cold: str | None = None
    distribution: str | None = None


def fast_tier() -> Judge:
    """The bundled model."""
    from hybrid_mmsa import Analyzer, Sample

    analyzer = Analyzer.from_pretrained(threads=1)
    return lambda batch: analyzer.analyze_batch([Sample(text=text, image=picture) for text, picture in batch])


def fast_tier_words() -> Judge:
    """The bundled model on words alone."""
    from hybrid_mmsa import Analyzer, Sample

    analyzer = Analyzer.from_pretrained(threads=1)
    return lambda batch: analyzer.analyze_batch([Sample(text=text) for text, _ in batch])


def clip() -> Judge:
    """Both towers of a CLIP in torch."""
    import open_clip
    import torch

    torch.set_num_threads(1)
    model, _, prepare = open_clip.create_model_and_transforms(CLIP, pretrained=None)
    tokenize = open_clip.get_tokenizer(CLIP)
    model.eval()

    def judge(batch: Sequence[Post]) -> object:
        pictures = [prepare(Image.open(BytesIO(picture)).convert("RGB")) for _, picture in batch]
        with torch.inference_mode():
            text_features = model.encode_text(tokenize([text for text, _ in batch]), normalize=True)
            image_features = model.encode_image(torch.stack(pictures), normalize=True)
        return text_features, image_features

    return judge


def clip_onnx() -> Judge:
    """Both towers of the same CLIP in ONNX Runtime, float32."""
    import open_clip
    import torch

    model, _, prepare = open_clip.create_model_and_transforms(CLIP, pretrained=None)
    tokenize = open_clip.get_tokenizer(CLIP)
    model.eval()
    words = _in_onnx_runtime(_as_module(model.encode_text, model), torch.zeros(1, 77, dtype=torch.long))
    pictures = _in_onnx_runtime(model.visual, torch.zeros(1, 3, SIDE, SIDE))

    def judge(batch: Sequence[Post]) -> object:
        pixels = [prepare(Image.open(BytesIO(picture)).convert("RGB")).numpy() for _, picture in batch]
        return words(tokenize([text for text, _ in batch]).numpy()), pictures(np.stack(pixels))

    return judge


def roberta_and_vit() -> Judge:
    """A RoBERTa-base and a ViT-base in torch with transformers: the pipeline of two models that tutorials build."""
    import torch
    from transformers import RobertaConfig, RobertaForSequenceClassification, ViTConfig, ViTForImageClassification

    torch.set_num_threads(1)
    words = RobertaForSequenceClassification(
        RobertaConfig(vocab_size=50265, max_position_embeddings=514, num_labels=3)
    ).eval()
    pictures = ViTForImageClassification(ViTConfig(num_labels=3)).eval()

    def judge(batch: Sequence[Post]) -> object:
        ids, mask = _token_ids(batch)
        with torch.inference_mode():
            said = words(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits
            return said, pictures(pixel_values=torch.from_numpy(_pixels(batch))).logits

    return judge


def distilbert_onnx() -> Judge:
    """A model of DistilBERT's shape in ONNX Runtime, float32: the usual sentiment model, words alone."""
    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(vocab_size=VOCABULARY, num_labels=2, attn_implementation="eager")
    model = DistilBertForSequenceClassification(config).eval()
    ids = torch.ones(2, 16, dtype=torch.long)
    words = _in_onnx_runtime(_as_module(lambda i, m: model(input_ids=i, attention_mask=m).logits, model), ids, ids)
    return lambda batch: words(*_token_ids(batch))


def tfidf() -> Judge:
    """TF-IDF and logistic regression of scikit-learn, words alone, fitted to the texts made by rule."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from hybrid_mmsa.training.posts.made_texts import make_texts

    made = [(each.text, each.labels["sentiment"]) for each in make_texts(0) if "sentiment" in each.labels]
    hard = [(text, label) for text, label in made if isinstance(label, int)]
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=200))
    model.fit([text for text, _ in hard], [label for _, label in hard])
    return lambda batch: model.predict_proba([text for text, _ in batch])


def vader() -> Judge:
    """VADER's word list, words alone."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return lambda batch: [analyzer.polarity_scores(text) for text, _ in batch]


OURS = "hybrid_mmsa"
RIVALS: Mapping[str, Rival] = {
    OURS: Rival(
        "this fast tier",
        fast_tier,
        cold="import sys, hybrid_mmsa; hybrid_mmsa.analyze(sys.argv[1], sys.argv[2])",
        distribution="hybrid-mmsa",
    ),
    "clip": Rival(
        "CLIP ViT-B/32, torch",
        clip,
        cold=f"""
import sys, open_clip, torch
from PIL import Image
model, _, prepare = open_clip.create_model_and_transforms({CLIP!r}, pretrained=None)
model.eval()
with torch.inference_mode():
    model.encode_text(open_clip.get_tokenizer({CLIP!r})([sys.argv[1]]))
    model.encode_image(prepare(Image.open(sys.argv[2]).convert("RGB"))[None])
""",
        distribution="open-clip-torch",
    ),
    "clip_onnx": Rival("CLIP ViT-B/32, ONNX Runtime", clip_onnx, exported=True),
    "roberta_vit": Rival("RoBERTa-base and ViT-base, torch", roberta_and_vit),
    "hybrid_mmsa_words": Rival("this fast tier, words alone", fast_tier_words, words_alone=True),
    "distilbert_onnx": Rival("DistilBERT's shape, ONNX Runtime", distilbert_onnx, words_alone=True, exported=True),
    "tfidf": Rival("TF-IDF, logistic regression", tfidf, words_alone=True),
    "vader": Rival("VADER", vader, words_alone=True),
}


def _as_module(function: Callable[..., Any], held: Any) -> Any:
    """A function of tensors as a torch module that holds another one, for export."""
    import torch

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = held

        def forward(self, *tensors: torch.Tensor) -> Any:
            return function(*tensors)

    return Module()


def _in_onnx_runtime(module: Any, *example: Any) -> Callable[..., NDArray[Any]]:
    """A torch module as a function of arrays, run by ONNX Runtime on one thread; all dimensions of ids are free."""
    import onnxruntime
    import torch

    names = [f"input{number}" for number in range(len(example))]
    free = {
        name: {0: "n", 1: "length"} if value.dim() == 2 else {0: "n"}
        for name, value in zip(names, example, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            module, example, str(path), input_names=names, output_names=["out"], dynamic_axes=free, dynamo=False
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    def run(*arrays: NDArray[Any]) -> NDArray[Any]:
        out: NDArray[Any] = session.run(None, dict(zip(names, arrays, strict=True)))[0]
        return out

    return run


@cache
def _pieces() -> WordPieces:
    return WordPieces(WEIGHTS / "tokenizer.json", 128)


def _token_ids(batch: Sequence[Post]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and mask of the bundled tokenizer: rivals of random weights read texts of the same length."""
    tokens = _pieces().encode([text for text, _ in batch], [None] * len(batch))
    return tokens.ids.astype(np.int64), tokens.mask.astype(np.int64)


def _pixels(batch: Sequence[Post]) -> NDArray[np.float32]:
    """Pictures as ViT reads them, `[n, 3, 224, 224]`."""
    read = [
        np.asarray(Image.open(BytesIO(picture)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        for _, picture in batch
    ]
    return (np.stack(read).transpose(0, 3, 1, 2) / np.float32(127.5) - 1).astype(np.float32)
