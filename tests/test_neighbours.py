"""Vectors of what posts feel, and the nearest of many: alike posts are near, whatever they are about."""

import json

import numpy as np
import pyarrow.parquet
import pytest
from safetensors import safe_open

from hybrid_mmsa import ArtefactError, InputError, Sample
from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.commands.demo import SAMPLES
from hybrid_mmsa.fusion import AFFECT
from hybrid_mmsa.search.neighbours import EXACT, Neighbours


def test_alike_feelings_are_near_whatever_posts_are_about(analyzer):
    posts = ["I lost my dog, so sad 😢", "She left and I cry every night", "The dog show was wonderful, so happy 😍"]
    vectors = analyzer.affect(posts)
    assert vectors.shape == (3, len(AFFECT))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[1] > 0.8 > vectors[0] @ vectors[2]


def test_the_numbers_are_what_they_are_named(analyzer):
    post = Sample(text="What a day 😍", image=SAMPLES / "cat.jpg")
    (vector,) = analyzer.affect([post])
    (answer,) = analyzer.analyze_batch([post])
    squares = dict(zip(AFFECT, (vector**2).tolist(), strict=True))
    sentiment = {label: squares[f"sentiment.{label}"] for label in answer.sentiment.probabilities}
    total = sum(sentiment.values())
    assert {k: v / total for k, v in sentiment.items()} == pytest.approx(dict(answer.fast.probabilities), abs=1e-3)
    opposed = squares["conflict.yes"] / (squares["conflict.yes"] + squares["conflict.no"])
    assert opposed == pytest.approx(answer.conflict, abs=1e-3)
    (words,) = analyzer.affect(["What a day 😍"])
    assert all(
        value == 0 for name, value in zip(AFFECT, words, strict=True) if name.startswith(("picture", "conflict"))
    )


@pytest.mark.parametrize("n", [50, EXACT + 500])
def test_the_nearest_are_found_and_kept_in_a_file(tmp_path, n):
    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(n, 8)).astype(np.float32)
    index = Neighbours(8)
    assert index.nearest(vectors[0]) == []
    index.add([f"p{i}" for i in range(n - 1)], vectors[:-1])
    index.add([f"p{n - 1}"], vectors[-1:])
    index.save(tmp_path / "posts.index")
    again = Neighbours.load(tmp_path / "posts.index")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = [again.nearest(vectors[i], 3) for i in range(20)]
    assert [nearest[0][0] for nearest in found] == [f"p{i}" for i in range(20)]
    assert [nearest[0][1] for nearest in found] == pytest.approx([1] * 20, abs=1e-3)
    second = [set(np.argsort(-(unit @ unit[i]))[:3]) for i in range(20)]
    hits = sum(int(id_[1:]) in wanted for nearest, wanted in zip(found, second, strict=True) for id_, _ in nearest)
    assert hits >= 57  # of 60: above EXACT the search is approximate
    assert len(again) == n


def test_what_cannot_be_indexed_is_said(tmp_path):
    index = Neighbours(2)
    index.add(["a"], np.ones((1, 2), np.float32))
    for ids, vectors, told in (
        (["a"], np.ones((1, 2)), "twice"),
        (["b", "b"], np.ones((2, 2)), "twice"),
        (["b"], np.ones((1, 3)), r"wanted \[1, 2\]"),
        (["b"], np.zeros((1, 2)), "zero"),
        (["b"], np.full((1, 2), np.nan), "not finite"),
    ):
        with pytest.raises(InputError, match=told):
            index.add(ids, vectors.astype(np.float32))
    (tmp_path / "x").write_text("no index")
    with pytest.raises(ArtefactError, match="no index"):
        Neighbours.load(tmp_path / "x")


def test_embed_writes_both_vectors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": "a", "text": "What a day 😍"}, {"id": "b", "text": "So sad"}]
    (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert run(["embed", "posts.jsonl", "-o", "v.safetensors"]) == 0
    with safe_open("v.safetensors", "numpy") as file:
        affect, vectors, facts = file.get_tensor("affect"), file.get_tensor("vectors"), file.metadata()
    assert affect.shape == (2, len(AFFECT))
    assert json.loads(facts["affect"]) == list(AFFECT)
    assert json.loads(facts["ids"]) == ["a", "b"]
    assert run(["embed", "posts.jsonl", "-o", "v.parquet"]) == 0
    table = pyarrow.parquet.read_table("v.parquet")
    assert np.array(table["affect"].to_pylist(), np.float32) == pytest.approx(affect)
    assert np.array(table["vector"].to_pylist(), np.float32) == pytest.approx(vectors)
