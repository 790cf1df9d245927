"""`train fusion` from trained towers to a model that answers, on small towers and drawn posts."""

import json
import math
import shutil

import numpy as np
import pytest
import tiny
from PIL import Image
from safetensors.numpy import load_file, save_file

from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.training.heads.fusion import FusionConfig, TowerRuns, held_out_evidence, train_fusion
from hybrid_mmsa.types import LABELS, TASKS

POSTS = 220


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """`data` with one's own posts and labelled tweets, and run folders: `text`, and `image` with drawn logits."""
    from hybrid_mmsa.training.posts.rows import post_records

    root = tmp_path_factory.mktemp("runs")
    data = root / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    posts = []
    for number, picture in enumerate(tiny.pictures(POSTS, seed=12)):
        name = f"{number}.png"
        Image.fromarray(picture).save(data / name)
        text = " ".join(rng.choice(tiny.WORDS, 5))
        label, words = (LABELS[i] for i in rng.integers(0, 3, 2))
        posts.append({"id": str(number), "text": text, "image": name, "label": label, "text_label": words})
    (data / "posts.jsonl").write_text("\n".join(json.dumps(p) for p in posts))
    tweets = [
        {"id": str(i), "split": "dev", "text": " ".join(rng.choice(tiny.WORDS, 5)), "label": LABELS[i % 3]}
        for i in range(150)
    ]
    (data / "text").mkdir()
    for name, rows in (("semeval2017_4a", tweets), ("tweeteval_irony", []), ("tweeteval_emotion", [])):
        (data / "text" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny.text_tower(root / "start").save(root / "text" / "student", root / "start" / "tokenizer.json")
    tiny.image_tower().save(root / "image" / "final" / "tower.safetensors")
    records = [r for r in post_records(data) if r.split == "train"]
    gold = np.array([LABELS.index(r.sample.label) for r in records])
    logits = {h: rng.normal(size=(len(gold), 3)).astype(np.float32) for h in ("sentiment", "joint")}
    save_runs(
        root / "image",
        [r.sample.id for r in records],
        {h: v + np.eye(3, dtype=np.float32)[gold] for h, v in logits.items()},
    )
    return root


def save_runs(folder, ids, logits):
    save_file(logits, folder / "oof.safetensors")
    (folder / "oof.json").write_text(json.dumps({"ids": ids, "folds": [0] * len(ids)}))


@pytest.fixture(scope="module")
def fitted(drawn, tiny_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("fitted") / "mine"
    shutil.copytree(tiny_model / "towers", out / "towers")
    return train_fusion(drawn / "data", TowerRuns(drawn / "text", drawn / "image"), out), out


def test_the_fitted_folder_answers(fitted, drawn):
    adapter, out = fitted
    assert (adapter.name, adapter.encoder) == ("mine", "compact:towers")
    analyzer = Analyzer.from_pretrained(out)
    answer = analyzer.analyze("we love the sun", drawn / "data" / "0.png")
    assert answer.provenance.model == "mine"
    assert sum(answer.sentiment.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_what_was_fitted_says_on_what_and_what_it_reached(fitted):
    adapter, out = fitted
    router = Adapter.load(out).router
    facts = router.fitted_on
    # No post has a sarcasm label here, so that no threshold for it can be proved.
    assert adapter.router.thresholds.sarcasm == math.inf
    assert 1 - facts["coverage"]["value"] <= FusionConfig().router.budget + 1e-4
    for name in ("coverage", "error_rate", "error_rate_kept"):
        assert 0 <= facts[name]["low"] <= facts[name]["value"] <= facts[name]["high"] <= 1
    assert facts["encoder_hash"] == adapter.encoder_hash
    assert facts["p_error"].startswith(("plain confidence", "all signals"))
    assert {"all signals", "without novelty", "sarcasm alone"} <= {row["signals"] for row in facts["ablation"]}
    assert len(router.sample) == facts["posts"]
    n_train, n_joined = (adapter.made_with[name] for name in ("n_train", "n_joined"))
    assert n_train > POSTS / 2
    assert n_joined > 20
    # Posts, words beside their pictures, words alone, pictures alone.
    assert len(router.sample.order_score) == 2 * n_train + 2 * n_joined
    json.dumps(adapter.router.to_dict(), allow_nan=False)


def test_words_put_beside_pictures_keep_their_label(fitted, drawn):
    """The head saw words beside pictures that say nothing of them, so a picture counts less than without these."""
    adapter, out = fitted
    config = FusionConfig(words=0)
    towers = out / "towers"
    alone = train_fusion(
        drawn / "data", TowerRuns(drawn / "text", drawn / "image"), out.parent / "posts", towers=towers, config=config
    )
    assert alone.made_with["n_joined"] == 0
    rng = np.random.default_rng(4)
    words, pictures = (tuple(3 * rng.normal(size=(2, 300, 3)).astype(np.float32)) for _ in range(2))
    there, absent = np.ones(300, dtype=bool), np.zeros(300, dtype=bool)
    moved = []
    for head in (adapter.head, alone.head):
        both, text = (head.fuse(words, pictures, there, image).argmax(1) for image in (there, absent))
        moved.append((both != text).mean())
    assert moved[0] < moved[1]


def test_strategies_are_compared_on_posts_by_heads_that_did_not_see_them(fitted, drawn):
    adapter, out = fitted
    evidence, folds = held_out_evidence(drawn / "data", TowerRuns(drawn / "text", drawn / "image"), out)
    assert len(evidence.labels) == len(folds) == adapter.made_with["n_train"]
    assert not evidence.is_joined.any()


def test_each_task_is_calibrated_and_one_without_labels_left_as_it_is(fitted):
    temperatures = fitted[0].calibration.temperatures
    assert set(temperatures) == set(TASKS)
    assert [temperatures[t] for t in ("sarcasm", "emotion", "target_sentiment")] == [1, 1, 1]
    assert temperatures["text_sentiment"] != 1
    # The drawn logits state one unit of evidence too little for noise of one: near 1, and surely no bound.
    assert 0.5 < temperatures["sentiment"] < 3


def test_posts_are_matched_by_id_and_not_by_place(fitted, drawn, tmp_path):
    """The two towers may have read their posts in different orders, and either may lack some."""
    ids = json.loads((drawn / "image" / "oof.json").read_text())["ids"]
    order = np.random.default_rng(1).permutation(len(ids))
    logits = load_file(drawn / "image" / "oof.safetensors")
    shutil.copytree(drawn / "image", tmp_path / "image")
    save_runs(tmp_path / "image", [ids[i] for i in order], {k: v[order] for k, v in logits.items()})
    towers = fitted[1] / "towers"
    again = train_fusion(
        drawn / "data", TowerRuns(drawn / "text", tmp_path / "image"), tmp_path / "again", towers=towers
    )
    for name, values in fitted[0].head.arrays.items():
        assert np.allclose(values, again.head.arrays[name], atol=1e-5), name
    assert again.calibration.temperatures == pytest.approx(fitted[0].calibration.temperatures, rel=1e-3)
    fewer = order[: len(ids) - 20]
    save_runs(tmp_path / "image", [ids[i] for i in fewer], {k: v[fewer] for k, v in logits.items()})
    part = train_fusion(drawn / "data", TowerRuns(drawn / "text", tmp_path / "image"), tmp_path / "part", towers=towers)
    assert part.made_with["n_train"] == len(ids) - 20


def test_towers_kept_elsewhere_are_found_again(fitted, drawn, tmp_path):
    shutil.copytree(fitted[1] / "towers", tmp_path / "shared" / "towers")
    out = tmp_path / "models" / "mine"
    train_fusion(drawn / "data", TowerRuns(drawn / "text", drawn / "image"), out, towers=tmp_path / "shared" / "towers")
    assert Analyzer.from_pretrained(out).analyze("great sun").provenance.model == "mine"
