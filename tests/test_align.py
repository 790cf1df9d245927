"""One space of words and pictures: fitted on drawn photos, measured on others, stored, refused where it is no good."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tiny_photos
from safetensors.numpy import load_file

from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.cli import run
from hybrid_mmsa.data import LoadReport, Photo, load_photos
from hybrid_mmsa.errors import ArtefactError, InputError
from hybrid_mmsa.fusion import Space
from hybrid_mmsa.training.space.contrastive import ContrastConfig, Pairs, contrast, fit_maps
from hybrid_mmsa.training.space.photos import apart, find_twins, held_out, ids_hash
from hybrid_mmsa.training.space.retrieval import ranks, summary
from hybrid_mmsa.types import Sample

QUICK = ("held_out=120", "views=1", "draws=1", "contrast.batch=64")


@pytest.fixture(scope="session")
def aligned(tiny_model, tmp_path_factory):
    """The folder of a tiny model that got a space by the command."""
    root = tmp_path_factory.mktemp("aligned")
    tiny_photos.write_photos(root / "corpora", 400)
    tiny_photos.write_named(root / "corpora", {"sun": 6, "sea": 3})
    shutil.copytree(tiny_model, root / "tiny")
    settings = [word for setting in QUICK for word in ("--set", setting)]
    assert run(["train", "align", "--data", str(root / "corpora"), "-o", str(root / "tiny"), *settings]) == 0
    return root / "tiny"


@pytest.fixture(scope="session")
def seeing(aligned):
    return Analyzer.from_pretrained(aligned)


def test_held_out_photos_are_found_by_their_words_and_the_other_way_round(aligned):
    facts = json.loads((aligned / "align.json").read_text())
    assert facts["found"]["chance"] == pytest.approx(10 / 120)
    for way in ("words_to_picture", "picture_to_words"):
        first, low, high = facts["recall"][way]["r@10"]
        assert first == facts["found"][way]
        assert low > 5 * 10 / 120, "far above chance, the whole interval"
        assert low < first < high
    assert facts["held_out"]["photos"] == 120
    assert len(facts["chosen_on"]["mean_recall"]) == 16
    learned = facts["photos"] + facts["left_out_as_twins"]
    assert learned == 400 - 120 + 4 + 3, "captioned photos, and at most four that share a name"
    assert facts["encoder_hash"] == Adapter.load(aligned).encoder_hash


def test_photos_drawn_anew_are_found_too(seeing):
    """What the record says holds for pictures and sentences that no part of the run has read."""
    rng = np.random.default_rng(9)
    pairs = [(p, g) for p in tiny_photos.COLOURS for g in tiny_photos.COLOURS if p != g]
    words = seeing.embed([Sample(text=tiny_photos.tell(p, g, rng)) for p, g in pairs])
    pictures = seeing.embed([Sample(image=tiny_photos.draw(p, g, rng)) for p, g in pairs])
    assert (ranks(words, pictures) < 10).mean() > 2.5 * 10 / len(pairs)


def test_a_post_of_both_sides_lies_between_them(seeing):
    rng = np.random.default_rng(1)
    picture = tiny_photos.draw("red", "sea", rng)
    both, words, shown = seeing.embed(
        [Sample(text="the red in my sea", image=picture), Sample(text="the red in my sea"), Sample(image=picture)]
    )
    assert np.allclose(both, (words + shown) / np.linalg.norm(words + shown), atol=1e-5)
    vectors = seeing.embed([Sample(text="good", target="sea"), Sample(text="good")])
    assert np.array_equal(vectors[0], vectors[1]), "targets are not read"


def test_a_vector_is_the_same_alone_and_in_any_batch(seeing):
    rng = np.random.default_rng(2)
    names = list(tiny_photos.COLOURS)
    posts = [
        Sample(text=f"the {rng.choice(names)} " * (1 + i % 9), image=tiny_photos.draw("red", "sun", rng))
        for i in range(64)
    ]
    together = seeing.embed(posts)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for i in (0, 8, 63):
        assert np.allclose(seeing.embed([posts[i]])[0], together[i], atol=1e-4)
    assert seeing.embed([]).shape == (0, together.shape[1])


def test_a_bad_post_is_named_before_any_work(seeing):
    with pytest.raises(InputError) as caught:
        seeing.embed([Sample(text="good"), Sample(text=" ")])
    assert caught.value.index == 1


def test_a_model_without_a_space_says_how_to_get_one(tiny_model):
    with pytest.raises(ArtefactError, match="train align"):
        Analyzer.from_pretrained(tiny_model).embed([Sample(text="good")])


def changed(folder, to, **facts):
    """A model whose space says something else of itself, described anew."""
    adapter = Adapter.load(folder)
    shutil.copytree(folder, to)
    dataclasses.replace(adapter, space=Space(adapter.space.arrays, {**adapter.space.facts, **facts})).save(to)
    return to


def test_a_space_that_hardly_beats_chance_is_refused(aligned, tmp_path):
    weak = {"chance": 0.05, "words_to_picture": 0.6, "picture_to_words": 0.249}
    with pytest.raises(ArtefactError, match=r"24\.9% are among the first ten, and 25\.0% \(5 times chance\)"):
        Analyzer.from_pretrained(changed(aligned, tmp_path / "weak", found=weak)).embed([Sample(text="good")])
    enough = {**weak, "picture_to_words": 0.25}
    assert (
        Analyzer.from_pretrained(changed(aligned, tmp_path / "enough", found=enough)).embed([Sample(text="good")]).any()
    )
    unknown = {**weak, "picture_to_words": float("nan")}
    with pytest.raises(ArtefactError, match="not to be used"):
        Analyzer.from_pretrained(changed(aligned, tmp_path / "unknown", found=unknown)).embed([Sample(text="good")])


def test_a_space_of_another_encoder_is_refused(aligned, tmp_path):
    with pytest.raises(ArtefactError, match="was fitted to encoder 000"):
        Analyzer.from_pretrained(changed(aligned, tmp_path / "other", encoder_hash="0" * 64)).embed([Sample(text="x")])


def test_a_touched_space_is_refused_and_a_model_fitted_anew_has_none(aligned, tmp_path):
    folder = shutil.copytree(aligned, tmp_path / "mine")
    adapter = Adapter.load(folder)
    dataclasses.replace(adapter, space=None).save(folder)
    assert Adapter.load(folder).space is None
    assert not (folder / "align.json").exists()
    adapter.save(folder)
    assert Adapter.load(folder).hash == adapter.hash
    (folder / "align.json").write_text("{}")
    with pytest.raises(ArtefactError, match=r"align\.json is missing or not the file"):
        Adapter.load(folder)


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ({"text.weight": (4, 6), "image.weight": (5, 6), "text.bias": (4,), "image.bias": (5,)}, "has weights"),
        ({"text.weight": (4, 6), "text.bias": (4,), "image.bias": (4,)}, "has weights"),
    ],
)
def test_maps_that_make_no_space_are_refused(shapes, told):
    with pytest.raises(ArtefactError, match=told):
        Space({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, {"found": {}})


def test_the_space_is_small(aligned):
    arrays = load_file(aligned / "align.safetensors")
    assert {str(a.dtype) for a in arrays.values()} == {"float16"}
    assert (aligned / "align.safetensors").stat().st_size < 600_000


def test_the_command_writes_vectors_with_their_ids(aligned, tmp_path, capsys):
    rows = [{"id": "a", "text": "the red"}, {"text": " "}, {"text": "the sea"}]
    posts = tmp_path / "posts.jsonl"
    posts.write_text("\n".join(map(json.dumps, rows)))
    assert run(["embed", str(posts), "-o", str(tmp_path / "v.safetensors"), "--model", str(aligned)]) == 1
    assert "line 2" in capsys.readouterr().err
    from safetensors import safe_open

    with safe_open(tmp_path / "v.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["ids"]) == ["a", "3"]
        vectors = file.get_tensor("vectors")
    assert np.allclose(
        vectors, Analyzer.from_pretrained(aligned).embed([Sample(text="the red"), Sample(text="the sea")]), atol=1e-4
    )
    posts.write_text(json.dumps(rows[0]))
    assert run(["embed", str(posts), "-o", str(tmp_path / "v.parquet"), "--model", str(aligned)]) == 0
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(tmp_path / "v.parquet").to_pylist()
    assert (table[0]["id"], np.allclose(table[0]["vector"], vectors[0], atol=1e-4)) == ("a", True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["embed", "posts.jsonl", "-o", "v.txt"], "ends in .safetensors or .parquet"),
        (["train", "align", "--data", "nowhere"], "there is no folder nowhere"),
        (["train", "align", "--data", "."], "holds no captioned photos"),
        (["train", "align", "--data", ".", "--set", "held_outs=1"], "no setting 'held_outs'"),
    ],
)
def test_bad_usage_is_one_line(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_another_encoder_than_the_model_s_is_refused(aligned, tmp_path, capsys):
    tiny_photos.write_photos(tmp_path, 3)
    command = ["train", "align", "--data", str(tmp_path), "-o", str(aligned), "--encoder", "compact"]
    assert run(command) == 2
    assert "not compact" in capsys.readouterr().err


def test_twins_of_held_out_photos_are_not_learned_from(tmp_path):
    folder = tiny_photos.write_photos(tmp_path, 40)
    photos = list(load_photos(tmp_path / "photos"))
    judged = held_out(photos, 10)
    assert held_out(photos[::-1], 10) == judged, "ids alone decide"
    copy = tmp_path / "photos" / "copy"
    copy.mkdir()
    shutil.copyfile(judged[0].image, copy / "same.png")
    tiny_photos.draw("red", "sun", np.random.default_rng(5)).rotate(90).save(copy / "new.png")
    rows = [
        {"image": "same.png", "label": "twin"},
        {"image": "new.png", "captions": [judged[1].captions[0].upper() + "!", "something else entirely"]},
    ]
    (copy / "labels.jsonl").write_text(json.dumps(rows[0]))
    (copy / "captions.jsonl").write_text(json.dumps(rows[1]))
    more = list(load_photos(tmp_path / "photos"))
    learned = {p.id: p for p in apart(more, judged, find_twins(more))}
    assert not {p.id for p in judged} & set(learned)
    assert "copy/same.png" not in learned
    assert learned["copy/new.png"].captions == ("something else entirely",)
    assert len(learned) > 20
    assert ids_hash(judged) == ids_hash(judged[::-1]) != ids_hash(judged[1:])
    assert folder.is_dir()


def test_too_few_photos_are_counted():
    photos = [Photo(str(i), "x.png", ("x",)) for i in range(14)] + [
        Photo("n", "x.png", ("a photo of a x",), named=True)
    ]
    with pytest.raises(InputError, match="found 14 captioned photos; wanted 15"):
        held_out(photos, 10)


def test_photos_are_read_and_what_is_wrong_with_them_is_counted(tmp_path):
    folder = tiny_photos.write_photos(tmp_path, 2)
    more = [{"image": "0.png", "captions": ["again"]}, {"image": "9.png", "captions": ["gone"]}, {"image": "1.png"}]
    with (folder / "captions.jsonl").open("a") as file:
        file.write("\n" + "\n".join(map(json.dumps, more)) + "\nnonsense\n")
    named = tmp_path / "photos" / "named"
    named.mkdir()
    shutil.copyfile(folder / "0.png", named / "1.png")
    (named / "labels.jsonl").write_text(json.dumps({"image": "1.png", "label": "Golden_Retriever"}))
    report = LoadReport()
    photos = list(load_photos(tmp_path / "photos", report))
    assert [p.id for p in photos] == ["drawn/0.png", "drawn/1.png", "named/1.png"]
    assert photos[2].captions == ("a photo of a golden retriever",)
    assert [p.named for p in photos] == [False, False, True]
    assert report.counts == {"duplicate id": 1, "missing picture": 1, "missing text": 1, "broken line": 1}
    assert report.records == 3


def drawn_pairs(n, seed, hidden=12, noise=0.5):
    """Features of two sides that share `hidden` causes under noise."""
    rng = np.random.default_rng(seed)
    axes = np.random.default_rng(0)
    left, right = axes.normal(size=(hidden, 40)), axes.normal(size=(hidden, 30))
    causes = rng.normal(size=(n, hidden))
    pictures = (causes @ left)[:, None] + noise * rng.normal(size=(n, 2, 40)) * 5
    words = np.repeat(causes @ right, 2, axis=0) + noise * rng.normal(size=(2 * n, 30)) * 5
    return Pairs(pictures.astype(np.float32), words.astype(np.float32), np.repeat(np.arange(n), 2), np.arange(n))


def found(arrays, pairs):
    features = [pairs.words[::2], pairs.pictures[:, 0]]
    sides = [
        x @ arrays[f"{s}.weight"].T + arrays[f"{s}.bias"] for s, x in zip(("text", "image"), features, strict=True)
    ]
    words, pictures = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    return (ranks(words, pictures) == 0).mean()


def test_the_contrastive_loss_improves_on_the_solved_start():
    learned, unseen = drawn_pairs(300, 1), drawn_pairs(100, 2)
    poor = ContrastConfig(width=12, shrinkage=300, epochs=0, batch=64)
    trained = dataclasses.replace(poor, epochs=30, learning_rate=0.01, dropout=0.0)
    before, after = fit_maps(learned, [poor, trained])
    assert found(after, unseen) > found(before, unseen) + 0.1
    assert found(before, unseen) > 0.1, "chance is 0.01"
    again = fit_maps(learned, [trained])[0]
    assert all(np.array_equal(again[name], after[name]) for name in after), "equal seeds, equal maps"


def test_the_loss_counts_no_right_answer_as_wrong():
    import torch

    near = torch.nn.functional.normalize(torch.eye(4, 6), dim=1)
    sharp = torch.tensor(np.log(50.0))
    alone = contrast(near, near, torch.arange(4), sharp)
    assert float(alone) < 1e-6
    shared = near[[0, 0, 1, 2]]
    assert float(contrast(shared, shared, torch.tensor([0, 0, 1, 2]), sharp)) == pytest.approx(np.log(2) / 2, abs=1e-4)
    assert float(contrast(shared, shared.roll(1, 0), torch.tensor([0, 0, 1, 2]), sharp)) > 10


def test_ranks_give_ties_no_credit():
    same = np.ones((5, 1), np.float32)
    assert ranks(same, same).tolist() == [4] * 5
    told = summary(np.eye(20, dtype=np.float32), np.eye(20, dtype=np.float32))
    assert told["words_to_picture"]["r@1"][0] == 1.0
    assert told["chance"] == {"r@1": 0.05, "r@5": 0.25, "r@10": 0.5}
