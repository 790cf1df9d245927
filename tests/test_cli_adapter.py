"""`adapter train | list | inspect`: from a file of labelled posts to a model that answers, and what is refused."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny_encoders

from hybrid_mmsa import Analyzer
from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.commands.demo import SAMPLES
from hybrid_mmsa.metrics import Interval
from hybrid_mmsa.training.heads.adapting import plan_adapter
from hybrid_mmsa.training.heads.figures import AdapterFigures, Comparison
from hybrid_mmsa.training.posts.labelled_file import part_posts, read_labelled_file


@pytest.fixture(scope="module")
def posts(tmp_path_factory):
    return tiny_encoders.write_posts(tmp_path_factory.mktemp("posts"), tiny_encoders.drawn_posts(100, seed=5))


@pytest.fixture(scope="module")
def trained(posts, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapters") / "mine"
    assert run(["adapter", "train", str(posts), "--fast", "-o", str(out)]) == 0
    return out


def test_the_adapter_answers_under_its_name(trained):
    analyzer = Analyzer.from_pretrained("default", adapters=[trained])
    answer = analyzer.analyze("an awful day", adapter="mine")
    assert answer.provenance.model == "mine"
    assert answer.sentiment.label == "negative"
    assert answer.emotion is not None, "tasks without labels keep the bundled heads"


def test_it_beats_the_default_on_its_own_kind_of_posts(trained):
    unseen = tiny_encoders.drawn_posts(60, seed=6)
    analyzer = Analyzer.from_pretrained(trained)
    default = Analyzer.from_pretrained()

    def right(model):
        return sum(a.sentiment.label == p.label for a, p in zip(model.analyze_batch(unseen), unseen, strict=True))

    assert right(analyzer) > right(default)


def test_the_card_says_what_was_done_and_reached(trained):
    card = (trained / "card.md").read_text(encoding="utf-8")
    assert "each tested by heads that were fitted to the other 4 of 5 parts" in card
    assert all(part in card for part in ("## Confusion", "## Worst mistakes", "Twice the labels would buy about"))
    assert "95 % paired interval" in card
    made = json.loads((trained / "adapter.json").read_text())["made_with"]
    assert made["parts"] == {"train": 100, "calibration": 0, "test": 100}
    assert made["start"]["name"] == "default"
    assert not trained.with_name("mine.features").exists()


def test_inspect_and_list_show_it(trained, capsys):
    assert run(["adapter", "inspect", str(trained), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["strategy"], facts["encoder"]) == ("mine", "gated", "compact")
    assert "text.emotion" in facts["heads"]
    assert run(["adapter", "inspect", str(trained)]) == 0
    shown = capsys.readouterr().out
    for part in ("sides joined by gated", "fitted to  100 posts", "as installed here", "against default: accuracy"):
        assert part in shown
    assert "## Worst mistakes" not in shown
    assert run(["adapter", "inspect", str(trained), "--verbose"]) == 0
    assert "## Worst mistakes" in capsys.readouterr().out
    assert run(["adapter", "list", str(trained.parent), "--json"]) == 0
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert names == ["default", "memes", "smol", "mine"]


def described_anew(folder, change):
    """An adapter whose `adapter.json` says something else."""
    made = json.loads((folder / "adapter.json").read_text())
    change(made)
    (folder / "adapter.json").write_text(json.dumps(made))
    return str(folder)


def test_inspect_says_that_towers_do_not_fit(trained, tmp_path, capsys):
    other = shutil.copytree(trained, tmp_path / "other")
    assert run(["adapter", "inspect", described_anew(other, lambda made: made.update(encoder_hash="0" * 64))]) == 1
    assert "do not fit: adapter 'mine' was fitted to encoder compact 000000000000" in capsys.readouterr().out
    odd = described_anew(other, lambda made: made["made_with"].update(figures={"default": {"n": "many"}}))
    assert run(["adapter", "inspect", odd]) == 2
    assert "what adapter.json says cannot be shown" in capsys.readouterr().err


def test_an_adapter_keeps_scores_for_checks_budgets_and_sets(posts, trained, tmp_path, capsys):
    """Those of its own posts, answered by heads that were not fitted to them."""
    assert run(["route", "check", str(posts), "--model", str(trained)]) == 0
    assert "no shift found" in capsys.readouterr().out
    analyzer = Analyzer.from_pretrained(trained, policy="budget:0.1")
    answers = analyzer.analyze_batch(tiny_encoders.drawn_posts(60, seed=6))
    assert np.mean([answer.route.decision == "defer" for answer in answers]) <= 0.3
    assert all(answer.sentiment.label in answer.prediction_set for answer in answers)


def rewritten(posts, folder, change):
    """The same file with some rows changed, beside its pictures."""
    rows = [json.loads(line) for line in posts.read_text().splitlines()]
    for number, row in enumerate(rows):
        change(number, row)
    file = posts.parent / f"{folder.name}.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def no_picture(number, row):
    if number in (3, 7):
        row["image"] = "nowhere.png"


def no_label(number, row):
    if number == 4:
        del row["label"]


def one_label(number, row):
    row["label"] = "positive"


def one_rare(number, row):
    row["label"] = "negative" if number < 5 else "positive"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (no_picture, "2 of 100 rows cannot be used: line 4: "),
        (no_label, "line 5: label: a post to train on needs one"),
        (one_label, "0 negative, 0 neutral, 100 positive; posts of two labels"),
        (one_rare, "a label needs 8 posts, and negative has fewer"),
    ],
)
def test_files_that_cannot_teach_are_refused(posts, tmp_path, capsys, change, told):
    file = rewritten(posts, tmp_path, change)
    code = run(["adapter", "train", str(file), "--fast", "--few-shot", "-o", str(tmp_path / "out")])
    assert code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


CALM = ["The box is here", "It has a lid", "Sent on Monday", "The colour is grey", "It weighs a pound"]
GLAD = ["I love it so much", "Wonderful and quick", "The best I ever had", "So happy with this", "Great, thank you"]
SAD = ["I hate it so much", "Awful and slow", "The worst I ever had", "So sad about this", "Terrible, no thanks"]


def texts_file(folder, per_label, **columns):
    """A file of words alone, in which the labels are what the words say; no two posts are twins."""
    rows = [
        {"text": f"{word} {n} {n * 7 % 11} {'abcdefgh'[n % 8] * 3}", "label": label}
        for label, words in (("neutral", CALM), ("positive", GLAD), ("negative", SAD))
        for n, word in zip(range(per_label), words * per_label, strict=False)
    ]
    for name, values in columns.items():
        rows = [row | {name: values(number)} for number, row in enumerate(rows)]
    file = folder / "texts.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_a_small_file_is_fitted_as_one_and_never_ready_without_a_gain(tmp_path, capsys):
    file = texts_file(tmp_path, 10)
    assert run(["adapter", "train", str(file), "--fast", "-o", str(tmp_path / "small")]) == 0
    shown = capsys.readouterr()
    assert "few posts: the heads stay close to where they start" in shown.err
    made = json.loads((tmp_path / "small" / "adapter.json").read_text())["made_with"]
    gain = float(
        next(line for line in shown.out.splitlines() if line.startswith("| accuracy")).split("(")[1].split()[0]
    )
    assert made["few_shot"] is True
    assert made.get("ready", True) is ("better than 'default' by more than chance" in shown.out)
    assert gain > 0 or made["ready"] is False


def test_heads_that_change_nothing_are_said_to_have_learnt_nothing():
    same = Interval(0.0, 0.0, 0.0)
    figures = AdapterFigures(
        gold=np.zeros(4, np.int64),
        posteriors=np.eye(3, dtype=np.float32)[[0, 0, 1, 2]],
        default=Comparison(
            other="default",
            n=4,
            adapter={"accuracy": 0.5},
            others={"accuracy": 0.5},
            accuracy_gain=same,
            macro_f1_gain=same,
        ),
        learnt=False,
    )
    assert not figures.ready
    assert "Nothing was learnt" in figures.lines()[-1]


def test_a_shared_picture_makes_no_twins(tmp_path):
    for name in ("cat", "clock"):
        shutil.copy(SAMPLES / f"{name}.jpg", tmp_path)
    file = texts_file(tmp_path, 12, image=lambda number: ("cat.jpg", "clock.jpg")[number % 2])
    own = read_labelled_file(file, least=8)
    assert len(set(own.keys)) == len(own.keys) == 36
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    same = [row | {"text": rows[number // 3 * 3]["text"]} for number, row in enumerate(rows)]
    file.write_text("\n".join(json.dumps(row) for row in same))
    own = read_labelled_file(file, least=8)
    assert len(set(own.keys)) == 24, "of three posts of the same words, the two with the same picture are twins"


def test_the_files_own_parts_are_kept(tmp_path):
    file = texts_file(tmp_path, 12, split=lambda number: "Test" if number % 4 == 0 else "train")
    own = read_labelled_file(file, least=8)
    plan = plan_adapter(own, tmp_path / "mine")
    assert plan.parts.test.tolist() == [number for number in range(36) if number % 4 == 0]
    assert (len(plan.parts.train), plan.crossed) == (27, False)
    assert "9 to test on, as the file says" in "\n".join(plan.lines())


def test_options_that_make_no_sense_are_refused(posts, trained, tmp_path, capsys):
    for words, told in (
        (["-o", str(tmp_path / "x")], "--fast"),
        (["--fast", "-o", str(trained)], "is there already; name another folder, or replace it: --force"),
        (["--fast", "-o", str(tmp_path / "default")], "name of the bundled adapter"),
        (["--fast", "--few-shot", "-o", str(tmp_path / "x"), "--encoder", "nonsense"], "no encoder 'nonsense'"),
        (["--fast", "--no-few-shot", "-o", str(tmp_path / "x")], "a label needs 30 posts"),
    ):
        assert run(["adapter", "train", str(posts), *words]) == 2, told
        assert told in capsys.readouterr().err


def test_twins_stay_on_one_side(posts, tmp_path):
    def twins(number, row):
        row["text"] = f"the very same words about post {number // 2}"
        if number % 2:
            row["image"], row["label"] = before
        before[:] = row["image"], row["label"]

    before = ["", ""]
    parts = part_posts(own := read_labelled_file(rewritten(posts, tmp_path, twins), least=8), calibration=True)
    held = [set(rows.tolist()) for rows in (parts.train, parts.calibration, parts.test)]
    assert sum(map(len, held)) == 100
    for number in range(0, 100, 2):
        assert own.keys[number] == own.keys[number + 1]
        assert sum({number, number + 1} <= side for side in held) == 1
    assert set(parts.folds[parts.train]) == set(range(5))
    assert (parts.folds[parts.test] == -1).all()


WITHOUT_SCIPY = """
import sys
sys.modules["scipy.optimize"] = None
from hybrid_mmsa.cli import run
sys.exit(run(["adapter", "train", sys.argv[1], "--fast", "-o", sys.argv[1] + "x"]))
"""


def test_a_missing_extra_is_named(posts):
    done = subprocess.run([sys.executable, "-c", WITHOUT_SCIPY, str(posts)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        "error: training an adapter needs the extra 'tune': pip install 'hybrid-mmsa[tune]'\n",
    )
