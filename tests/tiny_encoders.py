"""Randomly initialised models of other families as local folders, and posts whose label depends on both sides."""

import json
from colorsys import hsv_to_rgb

import numpy as np
import tiny
from PIL import Image

from hybrid_mmsa.types import LABELS, Sample

SIDE = 32
SAID = {"negative": "awful", "neutral": "day", "positive": "wonderful"}
SHOWN = {"negative": (200, 40, 40), "neutral": (128, 128, 128), "positive": (40, 180, 60)}


def write_open_clip(folder):
    """A CLIP of two small towers in the layout of open_clip's local folders."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    model = {
        "embed_dim": 48,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    settings = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": settings}))
    torch.manual_seed(0)
    save_file(open_clip.model.CLIP(**model).state_dict(), folder / "open_clip_model.safetensors")
    return folder


def write_bert(folder):
    """A BERT of one layer with the vocabulary of `tiny`."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tiny.vocabulary()),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=24,
        initializer_range=0.2,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    file = tiny.write_tokenizer(folder / "plain.json")
    marks = {"unk_token": "[UNK]", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_file=str(file), **marks).save_pretrained(folder)
    file.unlink()
    return folder


def write_timm(folder, name):
    """A timm model of a known name, small, in the layout of timm's local folders."""
    import timm
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    sizes = {
        "vit_tiny_patch16_224": {"img_size": SIDE, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2},
        "resnet10t": {"channels": (8, 8, 16, 16)},
    }[name]
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, **sizes)
    save_file(model.state_dict(), folder / "model.safetensors")
    prepare = {"input_size": [3, SIDE, SIDE], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0, "num_classes": 0}
    config = {"architecture": name, "num_classes": 0, "model_args": sizes, "pretrained_cfg": prepare}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def drawn_posts(n, seed=0):
    """Posts whose words and picture each say something; a neutral side leaves the label to the other.

    Sides of opposed feelings are not drawn. So either side alone knows about two thirds of the labels.
    """
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for a in LABELS for b in LABELS if {a, b} != {"negative", "positive"}]
    posts = []
    for number in range(n):
        said, shown = pairs[rng.integers(len(pairs))]
        noise = rng.normal(0, 12, (SIDE, SIDE, 3)) + SHOWN[shown]
        words = [*rng.choice(["the", "sea", "train", "we", "red", "city", "food", "team", "sun"], 4), SAID[said]]
        posts.append(
            Sample(
                id=str(number),
                text=" ".join(rng.permutation(words)) + f" {number}",
                image=Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)),
                label=shown if said == "neutral" else said,
                text_label=said,
                image_label=shown,
            )
        )
    return posts


def write_posts(folder, posts):
    """The posts as `posts.jsonl` with their pictures beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for post in posts:
        post.image.save(folder / f"{post.id}.png")
        rows.append(
            {
                "id": post.id,
                "text": post.text,
                "image": f"{post.id}.png",
                "label": post.label,
                "text_label": post.text_label,
                "image_label": post.image_label,
            }
        )
    (folder / "posts.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return folder / "posts.jsonl"


def check_encoder(encoder, posts):
    """What every encoder must keep: the same features alone, together and among longer texts; honest counts."""
    together = encoder.encode(posts)
    for i in (0, len(posts) // 2, len(posts) - 1):
        alone = encoder.encode([posts[i]])
        assert np.allclose(alone.text_features[0], together.text_features[i], atol=1e-4)
        assert np.allclose(alone.image_features[0], together.image_features[i], atol=1e-4)
    again = encoder.encode(posts)
    assert np.array_equal(again.text_features, together.text_features)
    assert np.array_equal(again.image_features, together.image_features)
    return together


def check_family(name, models, tmp_path, monkeypatch):
    """Train on drawn posts, save, load, analyse: the fused answer beats what either side can know."""
    from hybrid_mmsa import Analyzer
    from hybrid_mmsa.training.heads.frozen_posts import train_frozen

    data = tmp_path / "data"
    write_posts(data, drawn_posts(220, seed=3))
    monkeypatch.chdir(models)
    out = tmp_path / "mine"
    train_frozen(data, name, out)
    analyzer = Analyzer.from_pretrained(out)
    unseen = drawn_posts(80, seed=4)
    gold = np.array([LABELS.index(post.label) for post in unseen])
    found = analyzer.posteriors(unseen)
    share = {task: (found[task].argmax(1) == gold).mean() for task in ("sentiment", "text_alone", "image_alone")}
    assert share["sentiment"] > max(share["text_alone"], share["image_alone"]) + 0.1, share
    answer = analyzer.analyze(unseen[0].text, unseen[0].image, target="sea")
    assert answer.sentiment.label == LABELS[found["sentiment"][0].argmax()]
    assert (answer.sarcasm, answer.emotion) == (None, None)
    assert any("no head for targets" in warning for warning in answer.warnings)
    alone = analyzer.analyze(unseen[0].text)
    assert alone.sentiment == alone.text_sentiment
    return analyzer


def tangled_posts(n, seed=0):
    """Posts whose sides say more than the sum of their parts: "not" turns the word, halves of like hues are glad.

    Sides of opposed feelings make a neutral post.
    """
    rng = np.random.default_rng(seed)
    posts = []
    for number in range(n):
        word, turned = rng.choice(["great", "awful"]), bool(rng.integers(2))
        upper, lower = rng.integers(24, size=2) / 24
        said = "positive" if (word == "great") != turned else "negative"
        shown = "positive" if (upper < 0.5) == (lower < 0.5) else "negative"
        pixels = np.empty((SIDE, SIDE, 3))
        pixels[: SIDE // 2], pixels[SIDE // 2 :] = (255 * np.array(hsv_to_rgb(h, 0.9, 0.9)) for h in (upper, lower))
        posts.append(
            Sample(
                id=str(number),
                text=" ".join([*rng.choice(tiny.WORDS[:6], 2), "not" if turned else "very", word, str(number)]),
                image=Image.fromarray(np.clip(pixels + rng.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)),
                label=said if said == shown else "neutral",
                text_label=said,
                image_label=shown,
            )
        )
    return posts
