"""Evaluation's parts by themselves: scoring, floors, protocols, result files and the pages made of them."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.data import CORPORA
from hybrid_mmsa.errors import ArtefactError, InputError, MissingExtraError
from hybrid_mmsa.evaluation import (
    Result,
    load_protocol,
    load_result,
    load_results,
    render_report,
    render_results,
    save_result,
    summary,
)
from hybrid_mmsa.evaluation.charts import forest_chart
from hybrid_mmsa.evaluation.floors import (
    floor_probabilities,
    needs_eval_extra,
    out_of_fold_probabilities,
    tfidf,
    vader,
    words,
)
from hybrid_mmsa.evaluation.measure import compare, measure, mistakes, score, sides
from hybrid_mmsa.evaluation.predictions import PredictionRow, Predictions, PredictionTable
from hybrid_mmsa.evaluation.protocol import published_figures
from hybrid_mmsa.evaluation.result import Figure
from hybrid_mmsa.types import Sample

PROTOCOLS = sorted(path.stem for path in bundled_path("eval", "protocols").glob("*.toml"))


def drawn_answers(n=60, seed=0, sure=4.0):
    """Predictions whose fused system is right more often than the picture; every fifth post has no picture."""
    random = np.random.default_rng(seed)
    answers = []
    for i in range(n):
        gold = int(random.integers(0, 3))
        pull = np.eye(3)[gold]
        fused, text, image = (random.dirichlet(1 + k * pull) for k in (sure, 2.0, 0.5))
        sides_known = {"text_gold": gold, "image_gold": gold if i % 2 else (gold + 1) % 3}
        systems = {"fused": tuple(fused), "text alone": tuple(text)}
        if i % 5:
            systems["image alone"] = tuple(image)
        answers.append(
            PredictionRow(id=f"p{i}", gold=gold, has_text=True, has_image=bool(i % 5), probabilities=systems,
                   deferred=i % 4 == 0, answered_by="fast", ms=float(i), **sides_known)
        )  # fmt: skip
    return answers


def drawn_result(**changes):
    measured = measure(drawn_answers(), "sentiment", {"majority class": np.tile([0.2, 0.3, 0.5], (60, 1))}, seconds=3.0)
    values = {"protocol": "mvsa_single", "title": "Drawn <posts>", "date": "2026-01-02", "metric": "accuracy"}
    return Result(**values, **measured.fields()).model_copy(update=changes)


def test_score_covers_the_posts_a_system_answered():
    answers = PredictionTable.of(drawn_answers(), "sentiment")
    image = score("image alone", "model", answers)
    assert (image.n, sum(map(sum, image.confusion))) == (48, 48)
    fused = score("fused", "model", answers)
    assert fused.n == 60
    right = sum(fused.confusion[k][k] for k in range(3))
    assert fused.figures["accuracy"].value == pytest.approx(right / 60)
    assert all(f.low <= f.high for f in fused.figures.values())
    assert [c.support for c in fused.classes] == [sum(row) for row in fused.confusion]


def test_a_system_without_probabilities_gets_label_metrics_only():
    scores = score("fused", "floor", PredictionTable.of(drawn_answers(), "sentiment"), probabilistic=False)
    assert "accuracy" in scores.figures
    assert not {"ece", "brier", "nll", "aurc"} & set(scores.figures)
    assert scores.reliability is None


def test_sides_part_the_posts_by_their_unimodal_labels():
    parts = sides(PredictionTable.of(drawn_answers(), "sentiment"))
    assert [int(rows.sum()) for rows in parts.values()] == [30, 30]


def test_synergy_compares_on_shared_posts():
    found = {(c.second, c.subset): c for c in compare(PredictionTable.of(drawn_answers(), "sentiment"))}
    against_image = found["image alone", "all posts"]
    assert against_image.n == 48
    assert against_image.accuracy.value > 0
    assert against_image.p_value < 0.05
    agreeing = found["text alone", "text and picture labels agree"]
    assert agreeing.n == 24, "of 30 posts, the 6 without a picture have nothing to fuse"


def test_mistakes_are_wrong_and_the_surest_come_first():
    found = mistakes(PredictionTable.of(drawn_answers(), "sentiment"), most=5)
    assert found
    assert all(m.gold != m.predicted for m in found)
    assert [m.confidence for m in found] == sorted((m.confidence for m in found), reverse=True)


def test_the_clean_part_leaves_out_posts_with_a_twin_in_train():
    measured = measure(drawn_answers(), "sentiment", leaked=frozenset({"p0", "p1", "elsewhere"}))
    assert (measured.subsets[0].name, measured.subsets[0].n) == ("without near-duplicates of train", 58)


def test_groups_are_scored_by_themselves():
    groups = {f"p{i}": "even" for i in range(0, 60, 2)} | {"elsewhere": "unseen"}
    measured = measure(drawn_answers(), "sentiment", groups=groups)
    by_name = {part.name: part for part in measured.subsets}
    assert by_name["even"].n == 30
    assert "unseen" not in by_name


def test_any_label_that_is_allowed_counts_as_right():
    """Of three posts that must only not be negative, one is called positive, one neutral and one negative."""
    rows = [(0.1, 0.2, 0.7), (0.1, 0.7, 0.2), (0.7, 0.2, 0.1), (0.1, 0.2, 0.7)]
    answers = [
        PredictionRow(
            id=str(i),
            gold=1,
            has_text=True,
            has_image=True,
            probabilities={"fused": row, "text alone": rows[2], "image alone": rows[2]},
        )
        for i, row in enumerate(rows)
    ]
    allowed = {str(i): ("neutral", "positive") for i in range(3)}
    measured = measure(answers, "sentiment", groups={"1": "one"}, allowed=allowed)
    fused = measured.systems[0]
    assert fused.figures["accuracy"].value == 0.5
    assert fused.confusion == ((0, 0, 0), (1, 1, 1), (0, 0, 1))
    assert [mistake.id for mistake in measured.mistakes] == ["2", "3"]
    everywhere = measured.synergy[0]
    assert (everywhere.first_only, everywhere.second_only) == (2, 0)
    parts = {part.name: part.figures["fused"]["accuracy"].value for part in measured.subsets}
    assert parts["one"] == 1.0


def test_measuring_nothing_is_refused():
    with pytest.raises(InputError, match="no labelled post"):
        measure([], "sentiment")
    silent = [answer.model_copy(update={"probabilities": {}, "gold": 1}) for answer in drawn_answers(3)]
    with pytest.raises(InputError, match="gives no sarcasm"):
        measure(silent, "sarcasm")


def test_floors_without_a_train_part_never_saw_the_words_they_judge():
    """Each text stands there five times, its label in no other text: whoever had seen it would know."""
    texts = [f"{word} stone" for word in ("red", "blue", "grey", "pale", "dark", "cold", "warm", "flat", "high", "wet")]
    samples = [Sample(text=text) for text in texts for _ in range(5)]
    gold = [place % 2 for place in range(len(texts)) for _ in range(5)]
    found = out_of_fold_probabilities(samples, gold, 3)
    assert {name: p.shape for name, p in found.items()} == dict.fromkeys(
        ("majority class", "TF-IDF + LR", "VADER"), (50, 3)
    )
    assert all(np.allclose(p.sum(1), 1) for p in found.values())
    assert np.allclose(found["TF-IDF + LR"][:, 2], 0)
    assert np.allclose(found["majority class"], [0.5, 0.5, 0.0])
    folded = found["TF-IDF + LR"].reshape(10, 5, 3)
    assert np.allclose(folded, folded[:, :1])
    assert (found["TF-IDF + LR"].argmax(1) == gold).mean() <= 0.5
    with pytest.raises(InputError, match="posts of different words"):
        out_of_fold_probabilities(samples[:5], gold[:5], 3)


def test_floors_learn_from_train_and_know_three_labels():
    train = [
        Sample(text=t) for t in ("good good day", "bad bad day", "a plain day", "good win", "bad loss", "plain bus") * 4
    ]
    test = [Sample(text="good"), Sample(text="bad"), Sample(text="plain bus"), Sample(text=None)]
    found = floor_probabilities(train, [2, 0, 1, 2, 0, 1] * 4, test, 3)
    assert found["TF-IDF + LR"][:3].argmax(1).tolist() == [2, 0, 1]
    np.testing.assert_allclose(found["majority class"], 1 / 3)
    for probabilities in found.values():
        np.testing.assert_allclose(probabilities.sum(1), 1)
    assert "VADER" not in floor_probabilities(train, [0, 1] * 12, test, 2)


def test_a_class_train_lacks_gets_no_probability():
    found = tfidf(["good day", "bad day"] * 3, np.array([2, 0] * 3), ["good day"], 3)
    assert found[0, 1] == 0
    assert found[0].argmax() == 2


def test_vader_reads_plain_cases():
    assert vader(["I love this!", "I hate this.", "The bus is at nine."]).argmax(1).tolist() == [2, 0, 1]


def test_floors_read_the_target_after_the_words():
    assert words(Sample(text="Nice @you", target="Lydia")) == "Nice @user Lydia"


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vaderSentiment", None)
    with pytest.raises(MissingExtraError, match=r"hybrid-mmsa\[eval\]"):
        needs_eval_extra()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_bundled_protocols_fit_their_split_and_metric(name):
    protocol = load_protocol(name)
    assert protocol.name == name
    assert protocol.manifest().corpus == protocol.corpus
    assert protocol.corpus in CORPORA
    known = {"accuracy", "macro_f1", "macro_recall", "weighted_f1", "sarcastic_f1"}
    assert protocol.metric in known
    for row in published_figures(name):
        assert set(row.figures) <= known
        assert all(1 < figure < 100 for figure in row.figures.values())
        assert row.source
        assert row.setting


def test_published_figures_belong_to_protocols_there_are():
    text = Path(load_protocol.__code__.co_filename).with_name("published.toml").read_text()
    assert set(re.findall(r"^\[\[(\w+)\]\]", text, re.MULTILINE)) <= set(PROTOCOLS)


def test_protocols_refuse_what_they_do_not_know(tmp_path):
    source = bundled_path("eval", "protocols", "mvsa_single.toml").read_text()
    for old, new, words_ in (
        ('part = "test"', 'part = "test"\nfolds = 3', "folds"),
        ('corpus = "mvsa_single"', 'corpus = "mvsa"', "no corpus 'mvsa'"),
        ("name =", "name", "is not TOML"),
    ):
        path = tmp_path / "p.toml"
        path.write_text(source.replace(old, new, 1))
        with pytest.raises(InputError, match=words_):
            load_protocol(path)
    with pytest.raises(InputError, match="there are airline, arts"):
        load_protocol("mvsa")
    with pytest.raises(InputError, match="no protocol file"):
        load_protocol(tmp_path / "gone.toml")


def test_a_protocol_written_for_another_split_is_refused(tmp_path):
    source = bundled_path("eval", "protocols", "mvsa_single.toml").read_text()
    path = tmp_path / "p.toml"
    path.write_text(re.sub(r'split_sha256 = "\w+"', 'split_sha256 = "0"', source))
    with pytest.raises(ArtefactError, match="another split"):
        load_protocol(path).manifest()


def test_results_round_trip_and_hold_no_words(tmp_path):
    result = drawn_result()
    save_result(result, tmp_path / "r.json")
    read = load_result(tmp_path / "r.json")
    assert read.system("fused").figures["accuracy"].value == pytest.approx(
        result.system("fused").figures["accuracy"].value
    )
    save_result(read, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "r.json").read_text()


def test_files_that_are_no_results_are_refused(tmp_path):
    (tmp_path / "r.json").write_text('{"title": "x"}')
    with pytest.raises(InputError, match=r"r.json is not a result file"):
        load_result(tmp_path / "r.json")
    with pytest.raises(InputError, match="no result file"):
        load_result(tmp_path / "gone.json")


def test_the_committed_page_of_results_is_what_its_files_say():
    root = bundled_path("eval", "protocols").parent
    page = root / "RESULTS.md"
    results = load_results(root / "results")
    assert page.read_text(encoding="utf-8") == render_results(results)


def test_a_figure_made_without_pictures_says_so_wherever_it_stands():
    blind = drawn_result(n_image=0, text_only=True)
    assert "text only" in summary(blind).splitlines()[0]
    assert "text only, n = 60" in render_results([blind])
    page = render_report([blind])
    assert "text only: no pictures were at hand" in page
    assert "text only" not in summary(drawn_result())


def test_summary_and_markdown_hold_every_system_with_its_interval():
    result = drawn_result()
    figure = result.system("fused").figures["accuracy"]
    wanted = f"{100 * figure.value:.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
    for text in (summary(result), render_results([result]), render_report([result])):
        assert wanted in text
        assert "majority class" in text
        assert "image alone" in text
        assert "McNemar p" in text


def test_models_of_several_seeds_are_summed_up():
    page = render_results([drawn_result(seed=seed) for seed in range(3)])
    accuracy = 100 * drawn_result().system("fused").figures["accuracy"].value
    assert f"Over 3 training seeds (mean ± standard deviation): accuracy {accuracy:.1f} ± 0.0" in page
    assert "training seeds" not in render_results([drawn_result()])


class Page(HTMLParser):
    """Collects tags, and checks that each one opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_stands_alone_and_is_well_formed():
    page = render_report([drawn_result(), drawn_result(title="Second")], {"p1": "<script>alert(1)</script>"})
    parsed = Page()
    parsed.feed(page)
    assert parsed.open == []
    tags = {tag for tag, _ in parsed.seen}
    assert not {"script", "link", "img", "iframe"} & tags
    assert not re.search(r"https?:", page)
    assert not [attributes for _, attributes in parsed.seen if "style" in attributes]  # the policy allows none
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    drawings = [attributes for tag, attributes in parsed.seen if tag == "svg"]
    assert len(drawings) == 8
    assert all(d["role"] == "img" and d["aria-label"] for d in drawings)


def test_words_of_posts_stand_in_the_report_only_when_given():
    result = drawn_result()
    worst = result.mistakes[0].id
    assert worst in render_report([result])
    assert "my own words &lt;b&gt;" in render_report([result], {worst: "my own words <b>"})


def test_forest_chart_places_figures_in_order():
    drawing = forest_chart([("low", "s-floor", Figure(value=0.2, low=0.1, high=0.3)),
                            ("high", "s-fused", Figure(value=0.8, low=0.7, high=0.9))], "accuracy")  # fmt: skip
    first, second = (float(x) for x in re.findall(r'cx="([\d.]+)"', drawing))
    assert first < second


def test_predictions_go_on_where_they_stopped(tmp_path):
    path, header = tmp_path / "p.jsonl", {"protocol": "x", "fold": None}
    answers = drawn_answers(3)
    with Predictions(path, header) as kept:
        for answer in answers:
            kept.add(answer)
    whole = path.read_text()
    path.write_text(whole[:-40])  # broken off while the third answer was written
    with Predictions(path, header) as kept:
        assert list(kept.rows) == ["p0", "p1"]
        kept.add(answers[2])
    assert path.read_text() == whole
    with pytest.raises(InputError, match="predictions of another run"):
        Predictions(path, {"protocol": "y"})
    assert path.read_text() == whole


@pytest.mark.parametrize("content", ["my notes", "my notes\nand more\n", '{"protocol": "x"}\n{"id": 7}\n'])
def test_a_file_that_is_not_of_predictions_is_left_alone(tmp_path, content):
    path = tmp_path / "p.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match="not a file of predictions"):
        Predictions(path, {"protocol": "x"})
    assert path.read_text() == content
