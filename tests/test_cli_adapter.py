"""`adapter train | list | inspect`: from a file of labelled posts to a model that answers, and what is refused."""

import json
import subprocess
import sys

import pytest
import tiny_encoders

from hybrid_mmsa import Analyzer
from hybrid_mmsa.cli import run
from hybrid_mmsa.training.posts.labelled_file import part_posts, read_labelled_file


@pytest.fixture(scope="module")
def posts(tmp_path_factory):
    return tiny_encoders.write_posts(tmp_path_factory.mktemp("posts"), tiny_encoders.drawn_posts(100, seed=5))


@pytest.fixture(scope="module")
def trained(posts, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapters") / "mine"
    assert run(["adapter", "train", str(posts), "--fast", "--few-shot", "-o", str(out)]) == 0
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
    assert "20 to test on" in card
    assert "95 % paired interval" in card
    made = json.loads((trained / "adapter.json").read_text())["made_with"]
    assert made["parts"] == {"train": 80, "calibration": 0, "test": 20}
    assert made["start"]["name"] == "default"
    assert not trained.with_name("mine.features").exists()


def test_inspect_and_list_show_it(trained, capsys):
    assert run(["adapter", "inspect", str(trained), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["strategy"], facts["encoder"]) == ("mine", "gated", "compact")
    assert "text.emotion" in facts["heads"]
    assert run(["adapter", "inspect", str(trained)]) == 0
    assert "strategy: gated" in capsys.readouterr().out
    assert run(["adapter", "list", str(trained.parent), "--json"]) == 0
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert names == ["default", "memes", "mine"]


def rewritten(posts, folder, change):
    """The same file with some rows changed; pictures stay where they are."""
    rows = [json.loads(line) for line in posts.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["image"] = str(posts.parent / row["image"])
        change(number, row)
    file = folder / "posts.jsonl"
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


def test_options_that_make_no_sense_are_refused(posts, trained, tmp_path, capsys):
    for words, told in (
        (["-o", str(tmp_path / "x")], "--fast"),
        (["--fast", "-o", str(trained)], "is there already"),
        (["--fast", "-o", str(tmp_path / "default")], "name of the bundled adapter"),
        (["--fast", "--few-shot", "-o", str(tmp_path / "x"), "--encoder", "nonsense"], "no encoder 'nonsense'"),
        (["--fast", "-o", str(tmp_path / "x")], "--few-shot learns from 8"),
    ):
        assert run(["adapter", "train", str(posts), *words]) == 2, told
        assert told in capsys.readouterr().err


def test_twins_stay_on_one_side(posts, tmp_path):
    def twins(number, row):
        row["text"] = f"the very same words about post {number // 2}"

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
