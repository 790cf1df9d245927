"""Splits: manifests are what their hash says, near-duplicates are found, and folds keep twins together."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.data import Record, SplitManifest, load_manifest
from hybrid_mmsa.data.duplicates import groups, picture_hash, picture_pairs, text_key, text_pairs
from hybrid_mmsa.data.splits import leaked_ids, make_folds
from hybrid_mmsa.errors import ArtefactError, InputError
from hybrid_mmsa.types import Sample

MANIFESTS = sorted(path.stem for path in bundled_path("eval", "splits").glob("*.json"))


@pytest.mark.parametrize("name", MANIFESTS)
def test_bundled_manifests_match_their_hash_and_do_not_overlap(name):
    manifest = load_manifest(name)
    assert manifest.name == name
    ids = [id_ for part in manifest.parts.values() for id_ in part]
    assert len(ids) == len(set(ids))


def test_the_clmlf_split_has_the_sizes_its_name_says():
    manifest = load_manifest("mvsa_single_clmlf_3311")
    assert {part: len(ids) for part, ids in manifest.parts.items()} == {"train": 3311, "dev": 450, "test": 450}
    assert Counter(manifest.split_of.values()) == {"train": 3311, "dev": 450, "test": 450}
    assert manifest.leaked <= set(manifest.parts["dev"]) | set(manifest.parts["test"])


def test_the_whole_clmlf_split_takes_all_the_rest_as_train():
    manifest = load_manifest("mvsa_single_clmlf")
    held_out = manifest.parts["test"][0]
    records = [Record(Sample(text="x", id=id_)) for id_ in (held_out, "99999")]
    assert [record.split for record in manifest.apply(records)] == ["test", "train"]


def test_a_changed_manifest_is_refused(tmp_path):
    path = tmp_path / "m.json"
    SplitManifest("m", "mvsa_single", "here", {"train": ("1",), "test": ("2",)}, {}).save(path)
    assert load_manifest(path).split_of == {"1": "train", "2": "test"}
    path.write_text(path.read_text().replace('"2"', '"3"'))
    with pytest.raises(ArtefactError, match="was changed"):
        load_manifest(path)
    path.write_text(json.dumps({"name": "m"}))
    with pytest.raises(ArtefactError, match="no readable split manifest"):
        load_manifest(path)


def test_folds_test_each_post_once_and_leave_others_out():
    parts = {f"fold_{k}": (str(k), str(k + 10)) for k in range(3)}
    manifest = SplitManifest("m", "mvsa_single", "here", parts, {})
    records = [Record(Sample(text="x", id=str(n))) for n in (0, 1, 2, 10, 11, 12, 77)]
    tested = []
    for fold in range(manifest.folds):
        split = {r.sample.id: r.split for r in manifest.apply(records, fold)}
        assert Counter(split.values()) == {"train": 2, "dev": 2, "test": 2}
        tested += [id_ for id_, part in split.items() if part == "test"]
    assert sorted(tested) == sorted(["0", "1", "2", "10", "11", "12"])
    with pytest.raises(InputError, match=r"folds 0..2, not 3"):
        list(manifest.apply(records, 3))


def test_the_corpus_own_split_passes_through():
    records = [Record(Sample(text="x", id="a"), "dev")]
    assert list(SplitManifest("m", "mmsd2", "here", {}, {}).apply(records)) == records


def test_text_key_keeps_the_words_alone():
    assert text_key("RT @user: So HAPPY!! http://t.co/x #win") == "so happy win"
    assert text_key("@a http://t.co/y !!") == ""


def test_text_twins_are_found_and_others_are_not():
    long = "the quick brown fox jumps over the lazy dog and runs far away into the green dark wood"
    texts = {
        "a": "So happy today http://t.co/1",
        "b": "so happy TODAY!!! http://t.co/2",
        "c": long,
        "d": long + " today",
        "e": "the quick brown cat sleeps under the busy dog and stays at home all day long",
        "f": "@x",
        "g": "@y",
    }
    assert set(text_pairs(texts)) == {("a", "b"), ("c", "d")}


def drawing(seed, size=64):
    image = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(image)
    for x, y, w, shade in np.random.default_rng(seed).integers(0, 64, (40, 4)).tolist():
        pen.rectangle(
            [x * size / 64, y * size / 64, (x + w / 3) * size / 64, (y + w / 4) * size / 64], fill=(shade * 4,) * 3
        )
    return image


def test_picture_twins_survive_rescaling_and_brightness_and_flat_ones_are_none():
    twin = drawing(1).resize((97, 80)).point(lambda v: v * 0.8)
    pictures = {
        "a": drawing(1),
        "b": twin,
        "c": drawing(2),
        "flat": Image.new("L", (9, 9)),
        "flat too": Image.new("L", (5, 5)),
    }
    assert list(picture_pairs({name: picture_hash(image) for name, image in pictures.items()})) == [("a", "b")]
    assert list(picture_pairs({})) == []


def test_leaks_follow_chains_of_twins():
    joined = groups("abcd", [("a", "b"), ("b", "c")])
    assert joined == [["a", "b", "c"], ["d"]]
    assert leaked_ids(joined, {"a": "test", "b": "dev", "c": "train", "d": "test"}) == ["a", "b"]
    assert leaked_ids(joined, {"a": "test", "b": "dev", "c": "dev", "d": "test"}) == []


@given(st.lists(st.sampled_from("pnu"), min_size=20, max_size=80), st.integers(2, 5), st.integers(0, 9))
def test_folds_keep_groups_whole_and_labels_level(labels, folds, seed):
    label_of = {str(i): label for i, label in enumerate(labels)}
    twins = groups(label_of, [("0", "1"), ("2", "3"), ("3", "4")])
    fold_of = make_folds(twins, label_of, folds, seed)
    assert set(fold_of) == set(label_of)
    assert fold_of["0"] == fold_of["1"]
    assert fold_of["2"] == fold_of["3"] == fold_of["4"]
    assert make_folds(twins, label_of, folds, seed) == fold_of
    for label in set(labels):
        share = Counter(fold_of[i] for i, found in label_of.items() if found == label)
        assert max(share.values()) - min(share.get(k, 0) for k in range(folds)) <= 3
