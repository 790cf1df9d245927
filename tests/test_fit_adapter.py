"""`fit_adapter`: adapters from code, from files or posts in memory; replaced, and compared with the one before."""

import json
from dataclasses import replace

import pytest
import tiny_encoders
from test_cli_adapter import texts_file

from hybrid_mmsa import AdapterFigures, Analyzer, ArtefactError, InputError, fit_adapter
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.cli import run
from hybrid_mmsa.metrics import Interval
from hybrid_mmsa.training.heads.adapting import plan_adapter
from hybrid_mmsa.training.heads.figures import Comparison
from hybrid_mmsa.training.posts.labelled_file import read_labelled_file
from hybrid_mmsa.types import LABELS


def drawn_evenly(seed, per_label=20):
    """Drawn posts, so many of each label; half of them are enough to be fitted to."""
    posts = tiny_encoders.drawn_posts(9 * per_label, seed=seed)
    return [post for label in LABELS for post in [p for p in posts if p.label == label][:per_label]]


@pytest.fixture(scope="module")
def drawn():
    return drawn_evenly(5)


@pytest.fixture(scope="module")
def fitted(drawn, tmp_path_factory):
    """An adapter's folder and its figures, fitted to posts in memory."""
    out = tmp_path_factory.mktemp("fitted") / "mine"
    return out, fit_adapter(drawn, out)


def test_posts_in_memory_become_an_adapter(fitted, drawn):
    out, figures = fitted
    assert isinstance(figures, AdapterFigures)
    assert figures.n == len(drawn)
    assert figures.default.accuracy_gain.low > 0
    assert figures.ready
    assert Analyzer.from_pretrained(out).analyze("an awful day").sentiment.label == "negative"


def test_a_file_and_its_rows_in_memory_give_the_same_adapter(tmp_path):
    file = texts_file(tmp_path, 10)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    figures = [fit_adapter(posts, tmp_path / name) for name, posts in (("of_file", str(file)), ("of_rows", rows))]
    assert figures[0].default == figures[1].default
    made = [json.loads((tmp_path / name / "adapter.json").read_text()) for name in ("of_file", "of_rows")]
    assert made[0]["files"]["fast.safetensors"] == made[1]["files"]["fast.safetensors"]


def test_the_curve_rises_with_the_posts(fitted):
    _, figures = fitted
    posts = [point.posts for point in figures.curve]
    assert posts == sorted(posts)
    assert posts[-1] == 60
    assert figures.curve[-1].accuracy == pytest.approx(figures.default.adapter["accuracy"])
    assert figures.doubling.value == pytest.approx(figures.curve[-1].accuracy - figures.curve[-2].accuracy)
    assert "Twice the labels would buy about" in figures.lines()[-1]


def test_an_adapter_is_replaced_by_force_and_compared_with_the_one_before(fitted, tmp_path):
    """Posts that the version before was fitted to are left out: it knows them."""
    out, _ = fitted
    first = Adapter.load(out)
    known, new = drawn_evenly(5), [replace(post, id=f"new{post.id}") for post in drawn_evenly(6)]
    with pytest.raises(InputError, match="--force"):
        fit_adapter(new, out)
    figures = fit_adapter([*known, *new], tmp_path / "second", before=out)
    assert figures.before.n == 60
    assert "60 posts that the version before was fitted to are left out" in figures.note
    assert any(line.startswith("Did it help? ") for line in figures.lines())
    again = fit_adapter(known, out, force=True)
    assert again.before is None
    assert "Too few others" in again.note
    assert Adapter.load(out).head.arrays.keys() == first.head.arrays.keys()
    assert [path.name for path in out.parent.iterdir()] == ["mine"], "nothing is left beside it"


def test_worse_than_before_is_not_ready():
    figures = {"accuracy": 0.5, "macro F1": 0.5}
    better, worse = Interval(0.1, 0.05, 0.2), Interval(-0.1, -0.2, -0.05)
    default, before = (
        Comparison(other=name, n=9, adapter=figures, others=figures, accuracy_gain=gain, macro_f1_gain=gain)
        for name, gain in (("default", better), ("version before", worse))
    )
    reached = AdapterFigures(gold=None, posteriors=None, default=default)
    assert reached.ready
    assert not replace(reached, before=before).ready
    assert "No: it is worse" in "\n".join(replace(reached, before=before).lines())


def chosen_by(posts, chosen):
    """The posts as rows that say what chose them."""
    return [{"id": p.id, "text": p.text, "image": p.image, "label": p.label, "chosen": chosen} for p in posts]


def test_posts_that_doubts_chose_are_trained_on_and_not_tested_on(tmp_path):
    """On them the model that doubted looks worse than it is."""
    doubted = chosen_by(drawn_evenly(5), "doubt")
    drawn = chosen_by([replace(post, id=f"r{post.id}") for post in drawn_evenly(6, per_label=10)], "random")
    figures = fit_adapter([*doubted, *drawn], tmp_path / "both")
    assert figures.n == 30
    assert figures.curve[-1].posts == 90
    assert "60 posts were chosen by a model's doubts: trained on" in (tmp_path / "both" / "card.md").read_text()
    alone = fit_adapter(doubted, tmp_path / "alone", before=tmp_path / "both")
    assert (alone.n, alone.unfair, alone.ready) == (60, True, False)
    assert "do not show whether it is better" in alone.verdict


def test_a_larger_file_with_doubted_posts_is_tested_whole(tmp_path):
    """Parted, hardly any of the posts that a version before can be judged by would be left to test on."""
    file = texts_file(tmp_path, 140, chosen=lambda number: ("doubt", "random")[number % 4 == 0])
    plan = plan_adapter(read_labelled_file(file, least=8), tmp_path / "mine")
    assert plan.crossed
    assert plan.parts.test.tolist() == [number for number in range(420) if number % 4 == 0]


def contradicted(per_label, share):
    """Rows of which a share stands there twice, with another label."""
    rows = [
        {"text": f"{word} {n} times round the block", "label": label}
        for word, label in (("glad", "positive"), ("sad", "negative"))
        for n in range(per_label)
    ]
    other = {"positive": "negative", "negative": "positive"}
    return rows + [row | {"label": other[row["label"]]} for row in rows[: int(share * len(rows))]]


def test_contradictions_are_counted_and_half_of_them_refused(tmp_path):
    figures = fit_adapter(contradicted(12, 0.2), tmp_path / "some")
    assert figures.contradictions == 8
    assert "8 posts contradict others of the same words and picture: lines 1 (positive), 25 (negative)" in (
        (tmp_path / "some" / "card.md").read_text()
    )
    with pytest.raises(InputError, match=r"^label: 48 of 48 posts contradict one another.* lines 1 \(positive\)"):
        fit_adapter(contradicted(12, 1), tmp_path / "all")


@pytest.mark.parametrize(
    ("posts", "options", "error", "told"),
    [
        (["a text without a label"], {}, InputError, "line 1: label: a post to train on needs one"),
        ("one text is read as a path", {}, InputError, "no file"),
        ([{"text": "no", "label": 1}] * 9, {}, InputError, "posts of two labels"),
        ({"text": "one row"}, {}, InputError, "wanted an iterable of posts"),
        (7, {}, InputError, "cannot be iterated"),
        (None, {"before": "nowhere"}, ArtefactError, "no adapter 'nowhere'"),
        (None, {"encoder": "nonsense"}, (InputError, ArtefactError), "no encoder 'nonsense'"),
    ],
)
def test_what_cannot_be_fitted_is_a_typed_error(drawn, tmp_path, posts, options, error, told):
    with pytest.raises(error, match=told):
        fit_adapter(drawn if posts is None else posts, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["other/notes.txt", "mine/notes.txt"])
def test_force_deletes_nothing_of_the_user(fitted, drawn, name, tmp_path):
    folder, _, file = (tmp_path / name).parent, *(tmp_path / name).parts[-2:]
    if folder.name == "mine":
        Adapter.load(fitted[0]).save(folder)
    folder.mkdir(exist_ok=True)
    (folder / file).write_text("mine")
    with pytest.raises(InputError, match=r"not an adapter|also holds notes\.txt"):
        fit_adapter(drawn, folder, force=True)
    assert (folder / file).read_text() == "mine"


def test_the_command_line_replaces_and_compares(fitted, tmp_path, capsys):
    out, _ = fitted
    posts = tiny_encoders.write_posts(tmp_path, drawn_evenly(8))
    assert run(["adapter", "train", str(posts), "--fast", "-o", str(out)]) == 2
    assert "-o: " in capsys.readouterr().err
    assert run(["adapter", "train", str(posts), "--fast", "-o", str(out), "--force"]) == 0
    shown = capsys.readouterr().out
    assert "| on 60 posts | adapter | version before |" in shown
    assert "Did it help? " in shown
