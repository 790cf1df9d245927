"""Making the towers: runs that survive a kill, pictures that vary by their seed, and rows that leak nothing."""

import json
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tiny
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from hybrid_mmsa.errors import InputError
from hybrid_mmsa.inputs import normalise, reword
from hybrid_mmsa.training.common import device
from hybrid_mmsa.training.common.loop import LoopConfig, claim, train
from hybrid_mmsa.training.posts import mixture
from hybrid_mmsa.training.posts.made_texts import make_texts, read_rules
from hybrid_mmsa.training.posts.mixture import dev_rows, load_mixture
from hybrid_mmsa.training.posts.pictures import PictureRow, augment, read_pictures
from hybrid_mmsa.training.posts.rows import fold_of, post_records, text_key
from hybrid_mmsa.training.towers.image import ImageConfig, picture_logits, train_top
from hybrid_mmsa.training.towers.image_tower import (
    ImageTower,
    conv_specs,
    load_tower,
    read_start,
    read_views,
    same_padding,
)
from hybrid_mmsa.types import EMOTIONS

CONFIG = LoopConfig(epochs=2, learning_rate=1e-2, checkpoint_every=3, averaging=0.9, seed=5)


class Net(nn.Module):
    """A small network with dropout, and a head that no batch has labels for."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 2))
        self.unused = nn.Linear(4, 2)


def batches():
    """Two epochs of five batches whose label is the sign of the first number."""
    chance = torch.Generator().manual_seed(1)
    drawn = [torch.randn(16, 4, generator=chance) for _ in range(5)]
    return [[(x, (x[:, 0] > 0).long()) for x in drawn]] * 2


def loss(model, batch):
    return nn.functional.cross_entropy(model.body(batch[0]), batch[1])


def run(folder, fails_after=math.inf, config=CONFIG):
    """Train a fresh net; after `fails_after` steps the loss raises, as a killed run would stop."""
    net, steps = Net(), []

    def counted(model, batch):
        if len(steps) >= fails_after:
            raise KeyboardInterrupt
        steps.append(1)
        return loss(model, batch)

    train(net, batches(), counted, config, folder, record={"corpus": "drawn"})
    return net, len(steps)


@pytest.mark.parametrize("fails_after", [1, 4, 8, 9])
def test_a_killed_run_ends_as_one_that_was_never_killed(tmp_path, fails_after):
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", fails_after)
    checkpoint = fails_after // CONFIG.checkpoint_every * CONFIG.checkpoint_every
    resumed, steps = run(tmp_path / "killed")
    assert steps == 10 - checkpoint, "it goes on at its last checkpoint"
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    record = json.loads((tmp_path / "killed" / "record.json").read_text())
    assert (record["resumed_at"], record["steps"], record["corpus"]) == (checkpoint, 10, "drawn")
    assert record["loop"]["seed"] == CONFIG.seed
    assert not (tmp_path / "killed" / "checkpoint.safetensors").exists()


def test_a_parameter_without_a_gradient_stays_and_does_not_break_checkpoints(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, fails_after=7)
    net, _ = run(tmp_path)
    assert torch.equal(net.unused.weight, Net().unused.weight)


def test_training_learns_and_repeats_itself(tmp_path):
    held = torch.randn(200, 4, generator=torch.Generator().manual_seed(2))
    right = (held[:, 0] > 0).long()
    config = LoopConfig(epochs=2, learning_rate=5e-2)
    one, other = (run(tmp_path / name, config=config)[0] for name in ("one", "other"))
    assert not one.training
    assert loss(one, (held, right)) < loss(Net().eval(), (held, right)) - 0.1
    assert torch.equal(one.body[0].weight, other.body[0].weight)


def test_frozen_weights_stay(tmp_path):
    net = Net()
    net.body[0].weight.requires_grad_(False)
    before = net.body[0].weight.clone()
    train(net, batches(), loss, CONFIG, tmp_path, record={})
    assert torch.equal(net.body[0].weight, before)
    assert not torch.equal(net.body[3].weight, Net().body[3].weight)


def test_the_average_of_the_weights_is_kept(tmp_path):
    last, _ = run(tmp_path / "last", config=LoopConfig(epochs=2, learning_rate=1e-2))
    mean, _ = run(tmp_path / "mean", config=LoopConfig(epochs=2, learning_rate=1e-2, averaging=0.9))
    start = Net().body[0].weight
    assert (mean.body[0].weight - start).norm() < (last.body[0].weight - start).norm()


@pytest.fixture(scope="module")
def tower():
    return tiny.image_tower()


def test_an_image_tower_survives_its_file(tower, tmp_path):
    pixels = torch.from_numpy(tiny.pictures(2)).permute(0, 3, 1, 2)
    tower.save(tmp_path / "tower.safetensors")
    loaded = load_tower(tmp_path / "tower.safetensors")
    with torch.inference_mode():
        before, after = tower(pixels), loaded(pixels)
    for head, logits in before.items():
        assert torch.allclose(after[head], logits, atol=0.05), head
    again = ImageTower(tiny.start_weights()).load(tmp_path / "tower.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), loaded.parameters(), strict=True))


def published(weights):
    """The published file's tensors of folded weights: norms that change nothing but for a known scale and shift."""
    from hybrid_mmsa.training.towers.image_tower import NORM_EPSILON, start_names

    state = {}
    for number, (conv, norm) in enumerate(start_names()):
        width = len(weights[f"{number}.bias"])
        state[f"{conv}.weight"] = weights[f"{number}.weight"] / 2
        state[f"{norm}.weight"] = torch.full((width,), 4.0)
        state[f"{norm}.running_var"] = torch.full((width,), 4.0 - NORM_EPSILON)
        state[f"{norm}.running_mean"] = torch.full((width,), 0.5)
        state[f"{norm}.bias"] = weights[f"{number}.bias"] + 1.0
    return state


def test_start_weights_are_read_folded_and_checked(tmp_path):
    weights = tiny.start_weights()
    state = published(weights)
    torch.save(state, tmp_path / "start.pth")
    folded = read_start(tmp_path / "start.pth")
    assert folded.keys() == weights.keys()
    assert all(torch.allclose(folded[name], weights[name], atol=1e-5) for name in weights)
    del state["_blocks.2._expand_conv.weight"]
    torch.save(state, tmp_path / "lacking.pth")
    with pytest.raises(InputError, match=r"does not hold .*_blocks\.2\._expand_conv\.weight"):
        read_start(tmp_path / "lacking.pth")
    (tmp_path / "start.bin").write_bytes(b"no weights")
    with pytest.raises(InputError, match="does not hold"):
        read_start(tmp_path / "start.bin")


def test_the_tower_is_efficientnet_lite0():
    specs = conv_specs()
    assert len(specs) == 49
    assert sum(s.adds_residual for s in specs) == sum(s.opens_residual for s in specs) == 9
    assert sum(s.depthwise for s in specs) == 16
    assert math.prod(s.stride for s in specs) == 32


@given(st.integers(1, 300), st.sampled_from([1, 3, 5]), st.sampled_from([1, 2]))
def test_same_padding_gives_tensorflows_size(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    assert 0 <= after - before <= 1
    if kernel >= stride:
        assert (size + before + after - kernel) // stride + 1 == -(-size // stride)


def test_the_top_of_an_image_tower_goes_on_where_its_trunk_ended(tmp_path):
    whole, split = ImageTower(tiny.start_weights()).eval(), ImageTower(tiny.start_weights(), frozen=39).eval()
    pixels = torch.from_numpy(tiny.pictures(2, side=64)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert torch.allclose(whole.features(pixels), split.top(split.trunk(pixels)), rtol=1e-3, atol=1e-3)
    with pytest.raises(InputError, match="a block ends after"):
        ImageTower(tiny.start_weights(), frozen=40)


def test_views_of_pictures_are_made_once_and_tune_the_top_alone(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        label = number % 2
        pixels = np.clip(rng.normal(200 if label else 40, 10, (40, 40, 3)), 0, 255).astype(np.uint8)
        rows.append(PictureRow(str(number), pixels, {"joint": 2 * label, "sentiment": 2 * label}))
    config = ImageConfig(
        loop=LoopConfig(epochs=4, learning_rate=1e-3), side=32, decoded_side=40, views=2, batch_size=8, frozen=48
    )
    start = tiny.start_weights()
    tower = ImageTower(start, config.frozen)
    views = read_views(tower, rows, tmp_path / "views", views=2, side=32)
    again = read_views(tower, rows, tmp_path / "views", views=2, side=32)
    assert all(np.array_equal(a, b) for a, b in zip(views.maps, again.maps, strict=True))
    assert not np.array_equal(views.maps[0], views.maps[1]), "each view is cropped anew"
    tuned = train_top(start, views, np.arange(24), config, tmp_path / "final")
    trunk = tuned.state_dict()["weights.10"]
    assert torch.allclose(trunk, start["10.weight"], atol=1e-2), "only rounded to fp16"
    said = picture_logits(tuned, np.stack([row.pixels[:32, :32] for row in rows]))["joint"]
    assert (said.argmax(1) == [row.labels["joint"] for row in rows]).all()
    with pytest.raises(InputError, match="another frozen"):
        read_views(ImageTower(start, 39), rows, tmp_path / "views", views=2, side=32)


def test_a_picture_varies_by_its_seed_alone():
    pixels = torch.from_numpy(tiny.pictures(3, side=40))
    one, again, other = augment(pixels, 32, 1), augment(pixels, 32, 1), augment(pixels, 32, 2)
    assert one.shape == (3, 3, 32, 32)
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)
    assert 0 <= one.min() <= one.max() <= 255


def test_pictures_that_cannot_be_read_are_told_apart(tmp_path):
    Image.fromarray(tiny.pictures(1)[0]).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    rows = [
        ("a", tmp_path / "good.png", {"joint": 1}),
        ("b", tmp_path / "bad.png", {}),
        ("c", tmp_path / "none.png", {}),
    ]
    good, bad = read_pictures(rows, 24)
    assert [(r.id, r.pixels.shape, r.labels) for r in good] == [("a", (24, 24, 3), {"joint": 1})]
    assert [line[:2] for line in bad] == ["b:", "c:"]


@given(st.text(max_size=40))
@example("@Bob LOVES #MarchMadness!!! http://t.co/x ❤")
@example("#a@b")
def test_the_key_of_a_text_is_that_of_its_cleaned_form(text):
    assert text_key(reword(normalise(text))) == text_key(text)


def test_equal_posts_share_a_key_and_a_fold():
    same = ["@ann So happy!!! http://t.co/1", "so HAPPY @bob", "So happy. www.example.org/x", "&quot;so happy&quot;"]
    assert {text_key(t) for t in same} == {"so happy"}
    assert text_key("so sad") != text_key("so happy")
    assert len({fold_of(text_key(t), 4) for t in same}) == 1


def test_folds_are_of_like_size_and_stay_what_they_are():
    folds = Counter(fold_of(f"post {i}", 4) for i in range(2000))
    assert sorted(folds) == [0, 1, 2, 3]
    assert max(folds.values()) < 1.2 * min(folds.values())
    assert [fold_of("so happy", n) for n in (1, 4, 10)] == [0, 0, 8]


# Ids of MVSA-Single in the parts of its split.
TRAIN, DEV, TEST = "1", "16", "17"


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")


RULES = """
[words]
good = ["fine", "great", "lovely"]
[topics.food]
thing = ["soup", "bread"]
[[rules]]
kind = "praise"
label = "positive"
rows = 20
templates = ["the {thing} is {good}", "what a {good} {thing}"]
"""


@pytest.fixture
def corpora(tmp_path, monkeypatch):
    """A data folder with small corpora, some of whose training texts stand in another corpus's dev or test split."""
    book = read_rules(RULES)
    monkeypatch.setattr(mixture, "make_texts", lambda seed, held_out: make_texts(seed, held_out=held_out, book=book))
    tweets = [
        ("t1", "train", "plain good day"),
        ("t2", "train", "SEEN in mvsa test @x"),
        ("t3", "train", "seen in irony dev"),
    ]
    tweets += [("t4", "dev", "a dev tweet"), ("t5", "test", "a test tweet")]
    lines(
        tmp_path / "text" / "semeval2017_4a.jsonl",
        [{"id": i, "split": s, "text": t, "label": "positive"} for i, s, t in tweets],
    )
    lines(
        tmp_path / "text" / "tweeteval_irony.jsonl",
        [
            {"id": "i1", "split": "train", "text": "oh great, rain", "sarcastic": 1},
            {"id": "i2", "split": "dev", "text": "Seen in irony dev!", "sarcastic": 0},
            {"id": "i3", "split": "train", "text": "a test tweet http://t.co/z", "sarcastic": 0},
        ],
    )
    lines(
        tmp_path / "text" / "tweeteval_emotion.jsonl",
        [{"id": "e1", "split": "train", "text": "so angry", "emotion": "anger", "label": "negative"}],
    )
    heading = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String\n"
    folder = tmp_path / "Twitter2015"
    folder.mkdir()
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text(heading + f"1\t2\t10.jpg\t$T$ wins in {split}\tChuck Bass\n")
    (folder / "test.tsv").write_text("index\t#1 ImageID\t#2 String\t#2 String\n1\t0\t11.jpg\tpoor $T$ !\tLydia\n")
    mvsa = tmp_path / "MVSA_Single"
    (mvsa / "data").mkdir(parents=True)
    texts = {TRAIN: "my happy post", DEV: "seen in mvsa dev", TEST: "Seen in MVSA test", "999999": "in no part"}
    for id_, words in texts.items():
        (mvsa / "data" / f"{id_}.txt").write_text(words)
        Image.new("RGB", (8, 8)).save(mvsa / "data" / f"{id_}.jpg")
    rows = "".join(f"{id_}\tpositive,neutral\n" for id_ in texts)
    (mvsa / "labelResultAll.txt").write_text("ID\ttext,image\n" + rows)
    return tmp_path


def test_no_training_text_stands_in_a_dev_or_test_split(corpora):
    lines(corpora / "sentences" / "barnes_challenge.jsonl", [{"id": "b", "text": "only measured on"}])
    loaded = load_mixture(corpora, held_out=["held out by the caller!"])
    texts = Counter(r.text for r in loaded.train if not r.made)
    assert "plain good day" in texts
    leaking = {
        "SEEN in mvsa test @user",
        "seen in irony dev",
        "a test tweet",
        "only measured on",
        "held out by the caller",
    }
    assert not leaking & set(texts)
    assert "held out by the caller" not in " ".join(texts)
    assert all(r.split == "train" for r in loaded.train)
    assert [r.text for r in loaded.dev["semeval2017"]] == ["a dev tweet"]
    assert [r.text for r in loaded.test["semeval2017"]] == ["a test tweet"]
    assert "mmsd2" not in loaded.dev, "a corpus that is not there is left out"
    assert dev_rows(corpora).keys() == loaded.dev.keys()


def test_a_corpus_gives_its_share_even_or_repeated(corpora):
    reviews = [
        {"id": f"{i}", "text": f"review number {i}", "label": "positive", "split": "train", "stars": 5}
        for i in range(40)
    ]
    reviews += [
        {"id": f"n{i}", "text": f"bad one {i}", "label": "negative", "split": "train", "stars": 1} for i in range(9)
    ]
    reviews += [{"id": "middling", "text": "so so", "label": "neutral", "split": "train", "stars": 3}]
    lines(corpora / "sentences" / "star_reviews_short.jsonl", reviews)
    train = load_mixture(corpora).train
    labels = Counter(r.labels.get("sentiment") for r in train if not r.made)
    assert labels[0] == 9, "a rare label is not repeated"
    assert labels[1] == 0, "three stars say nothing"
    assert all(r.labels["sarcasm"] == 0 for r in train if r.text.startswith("review number")), "praise is sincere"
    ironic = [r for r in train if r.text.startswith("oh great")]
    assert len(ironic) > 1000, "a share larger than the corpus repeats it"


def test_rules_add_texts_that_nobody_holds_out(corpora):
    made = [r for r in load_mixture(corpora).train if r.made]
    assert 5 < len(made) <= 20
    assert all(r.labels == {"sentiment": 2} for r in made)
    sentence = made[0].sample.text
    assert sentence not in {r.sample.text for r in load_mixture(corpora, held_out=[sentence]).train}


def test_a_post_without_words_is_no_row_to_train_on(corpora):
    picture = corpora / "MMSD2.0" / "dataset_image" / "5.jpg"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(picture)
    rows = [{"image_id": 5, "text": "", "label": 1}, {"image_id": 6, "text": "words", "label": 0}]
    for name in ("train", "valid", "test"):
        (corpora / "MMSD2.0" / f"{name}.json").write_text(json.dumps(rows if name == "train" else []))
    texts = [r.text for r in load_mixture(corpora).train]
    assert any("words" in text for text in texts)
    assert all(texts)


def test_rows_carry_the_labels_their_corpus_gives(corpora):
    feelings = [
        {"id": "a", "text": "what a lovely day", "label": "positive", "labels": ["joy", "love"], "split": "train"},
        {"id": "b", "text": "the shop opens at nine", "label": "neutral", "split": "train"},
        {"id": "c", "text": "joyful and grieving", "label": "positive", "labels": ["joy", "grief"], "split": "train"},
    ]
    lines(corpora / "sentences" / "goemotions_sample.jsonl", feelings)
    rows = {r.sample.text: r for r in load_mixture(corpora).train}
    assert rows["plain good day"].labels == {"sentiment": 2}
    assert rows["oh great, rain"].labels == {"sarcasm": 1}
    assert rows["so angry"].labels == {"emotion": 0}, "a sentiment derived from the emotion is no label"
    about = rows["Chuck Bass wins in train"]
    assert (about.labels, about.target) == ({"target": 2}, "Chuck Bass")
    assert rows["what a lovely day"].labels == {"sentiment": 2, "emotion": EMOTIONS.index("joy")}
    assert rows["the shop opens at nine"].labels == {"sentiment": 1, "emotion": EMOTIONS.index("none")}
    assert rows["joyful and grieving"].labels == {"sentiment": 2}, "two emotions are none"


def test_posts_come_with_their_split(corpora):
    records = post_records(corpora)
    assert {r.sample.id: r.split for r in records} == {TRAIN: "train", DEV: "dev", TEST: "test"}


def test_ones_own_posts_are_split_by_their_text(corpora):
    own = [{"id": f"o{i}", "text": f"own post {i // 2}", "label": "negative"} for i in range(80)]
    lines(corpora / "posts.jsonl", own)
    mine = {r.sample.id: r for r in post_records(corpora) if r.sample.id.startswith("posts.jsonl")}
    assert len(mine) == 80
    assert {r.split for r in mine.values()} == {"train", "dev", "test"}
    for i in range(0, 80, 2):
        twins = [mine[f"posts.jsonl:o{k}"].split for k in (i, i + 1)]
        assert twins[0] == twins[1], "equal texts stand in one part"
    held = next(r.sample.text for r in mine.values() if r.split != "train")
    lines(corpora / "text" / "semeval2017_4a.jsonl", [{"id": "x", "split": "train", "text": held, "label": "positive"}])
    assert held not in {r.text for r in load_mixture(corpora).train}


@pytest.mark.parametrize(
    ("row", "what"),
    [({"text": "no label"}, "needs a label"), ({"text": "x", "label": "cross"}, "label"), ({}, "line 1")],
)
def test_a_post_that_cannot_be_trained_on_is_named(tmp_path, row, what):
    lines(tmp_path / "posts.jsonl", [row])
    with pytest.raises(InputError, match=what):
        post_records(tmp_path)


def test_a_data_folder_without_posts_is_refused(tmp_path):
    with pytest.raises(InputError, match="no posts to train on"):
        post_records(tmp_path)


def test_evidence_rows_stay_together():
    from hybrid_mmsa.training.heads.strategies import Evidence

    numbers = np.arange(12, dtype=np.float32).reshape(4, 3)
    taken = Evidence(numbers, numbers + 1, numbers + 2, numbers + 3, np.arange(4)).take(np.array([2, 0]))
    assert taken.labels.tolist() == [2, 0]
    assert (taken.image_joint - taken.text == 3).all()


def test_a_run_of_another_recipe_is_not_gone_on_with(tmp_path):
    facts = {"stage": "final", "recipe": {"rate": 0.1, "sizes": (1, 2)}, "rows": 10}
    claim(tmp_path / "run", facts)
    claim(tmp_path / "run", facts)
    with pytest.raises(InputError, match="another recipe and rows; name another folder"):
        claim(tmp_path / "run", {**facts, "recipe": {"rate": 0.2, "sizes": (1, 2)}, "rows": 11})


@pytest.mark.parametrize(
    ("capabilities", "bf16_takes", "chosen"),
    [
        ({}, 0.1, False),
        ({"avx512_bf16": True}, 2.0, False),
        ({"avx512_bf16": True}, 0.5, True),
        ({"amx_bf16": True}, 0.2, True),
    ],
)
def test_bf16_is_chosen_where_the_processor_is_seen_to_be_faster_with_it(monkeypatch, capabilities, bf16_takes, chosen):
    monkeypatch.setattr(device, "BF16_UNITS", ("amx_bf16", "avx512_bf16"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(device, "_product_seconds", lambda dtype: bf16_takes if dtype == torch.bfloat16 else 1.0)
    assert device.multiplies_bf16.__wrapped__() is chosen


FREED = """
import sys
from pathlib import Path
import numpy as np
from hybrid_mmsa.training.common.freed import give_back_freed
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096 if sys.platform == "linux" else 0
np.ones(4_000_000)  # 32 MB: once it is freed, glibc keeps smaller blocks in its heap by default
begun = resident()
large = [np.ones(500_000) for _ in range(20)]
last = np.ones(100_000)  # what stays behind them keeps them all in the heap
large.clear()
give_back_freed()
print(resident() - begun < 20_000_000)
"""


def test_a_long_run_gives_freed_memory_back():
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True)
    assert done.stdout.split() == ["True"], done.stderr
