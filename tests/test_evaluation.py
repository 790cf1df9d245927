"""Evaluation from end to end: a drawn corpus and posts, a very small analyzer, and the commands on top of them."""

import json
from collections import Counter

import numpy as np
import pytest
import tiny
from PIL import Image

from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.cli import run
from hybrid_mmsa.data import SplitManifest, read_posts
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.evaluation import Protocol, Result, evaluate_posts, load_protocol, load_result, run_protocol
from hybrid_mmsa.evaluation.predictions import PredictionRow, collect
from hybrid_mmsa.inputs import read_row
from hybrid_mmsa.types import Analysis, Provenance, RouteDecision, RowError, Sample, prediction

GOOD = frozenset({"good", "great", "love"})
BAD = frozenset({"bad", "hate", "awful"})
MISSING = np.full(3, np.nan, dtype=np.float32)
SHADES = {"positive": "white", "neutral": "grey", "negative": "black"}


def posterior(score):
    powers = np.exp(np.array([-score, 0.2, score]))
    return (powers / powers.sum()).astype(np.float32)


class CountingAnalyzer:
    """Counts a few words and reads the picture's brightness; answers as `Analyzer` does, computable by hand."""

    def __init__(self, name="counting"):
        self.provenance = Provenance(
            package="0", model=name, model_hash="0" * 64, encoder="none", encoder_hash="1" * 64
        )
        self.served = 0

    def stream(self, rows, *, adapter=None):
        for line, raw in rows:
            row = read_row(line, raw)
            if isinstance(row, RowError):
                yield row
            elif row.text == "unanswerable":
                yield RowError(line=line, id=row.id, field="text", error="this one defeats the model")
            else:
                self.served += row.text != "Which model answers here?"
                yield self.analysis(row)

    def sides(self, sample):
        words = (sample.text or "").lower().split()
        text = posterior(2.0 * (len(GOOD & set(words)) - len(BAD & set(words)))) if sample.text else MISSING
        image = MISSING
        if sample.image is not None:
            image = posterior((np.asarray(sample.image.convert("L")).mean() - 128) / 64)
        known = [p for p in (text, image) if np.isfinite(p).all()]
        fused = np.prod(known, axis=0)
        return fused / fused.sum(), text, image

    def analysis(self, sample):
        fused, text, image = self.sides(sample)
        answer = prediction(fused)
        return Analysis(
            id=sample.id,
            sentiment=answer,
            fast=answer,
            text_alone=None if sample.text is None else prediction(text),
            image_alone=None if sample.image is None else prediction(image),
            sarcasm=None if sample.text is None else 0.9 if "sure" in sample.text else 0.1,
            route=RouteDecision(decision="defer" if answer.confidence < 0.6 else "keep", answered_by="fast"),
            timings={"encode": 2.0, "decide": 1.0},
            provenance=self.provenance,
        )


@pytest.fixture
def posts(tmp_path):
    """Six labelled posts the analyzer gets right but for the last, one without a label, and two that fail."""
    for label, shade in SHADES.items():
        Image.new("RGB", (16, 16), shade).save(tmp_path / f"{label}.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "neutral.png").read_bytes()[:40])
    rows = [
        {"id": "a", "text": "good day", "label": "positive", "text_label": "positive", "image_label": "positive"},
        {"id": "b", "text": "bad day", "label": "negative", "text_label": "negative", "image_label": "neutral"},
        {"id": "c", "text": "a day", "image": "positive.png", "label": "positive", "text_label": "neutral"},
        {"id": "d", "image": "negative.png", "label": "negative"},
        {"id": "e", "text": "the bus", "image": "neutral.png", "label": "neutral"},
        {"id": "f", "text": "great, awful love", "label": "negative"},
        {"id": "g", "text": "nobody labelled me"},
        {"id": "h", "text": "good", "image": "torn.png", "label": "positive"},
        {"id": "i", "text": "unanswerable", "label": "positive"},
    ]
    path = tmp_path / "posts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_own_posts_are_scored_fused_and_by_each_side(posts):
    result = evaluate_posts(posts, CountingAnalyzer())
    assert (result.n, result.n_text, result.n_image, result.text_only) == (6, 5, 3, False)
    assert {s.name: s.n for s in result.systems} == {"fused": 6, "text alone": 5, "image alone": 3}
    assert result.system("fused").figures["accuracy"].value == pytest.approx(5 / 6)
    assert result.system("image alone").figures["accuracy"].value == 1.0
    assert [m.id for m in result.mistakes] == ["f"]
    assert result.deferral_rate.value == pytest.approx(2 / 6)  # the bus, and the post whose words cancel out
    assert result.latency.p50_ms == 3.0
    assert result.answered_by == {"fast": 6}
    assert result.model.model == "counting"


def test_rows_that_fail_are_counted_and_named_and_the_others_kept(posts):
    result = evaluate_posts(posts, CountingAnalyzer())
    assert result.failed == 2
    assert result.errors[0].startswith("line 8 (h): image: ")
    assert result.errors[1] == "line 9 (i): text: this one defeats the model"
    assert result.notes == ("1 rows without a gold label were left out",)


class CountingEncoder:
    """Passes posts on to an encoder and counts them."""

    def __init__(self, encoder):
        self.name, self.hash, self.encoder, self.posts = encoder.name, encoder.hash, encoder, []

    def encode(self, samples):
        self.posts += [sample.id for sample in samples]
        return self.encoder.encode(samples)


def test_every_post_is_encoded_once(posts, tiny_model):
    loaded = Analyzer.from_pretrained(tiny_model)
    encoder = CountingEncoder(loaded.encoder)
    result = evaluate_posts(posts, Analyzer(encoder, [*loaded.adapters.values()]))
    measured = sorted(id_ for id_ in encoder.posts if id_ is not None)
    assert measured == sorted("abcdefi")
    assert result.n == len(measured)


def test_a_side_alone_is_what_the_answer_would_be_without_the_other(posts, tiny_model):
    analyzer = Analyzer.from_pretrained(tiny_model)
    words, both = (next(collect(analyzer, [row])) for row in [read_posts_of(posts)["a"], read_posts_of(posts)["c"]])
    assert words.probabilities["text alone"] == words.probabilities["fused"]
    answer = analyzer.analyze_batch([read_posts_of(posts)["c"][1]])[0]
    assert both.probabilities["text alone"] == pytest.approx([*answer.text_alone.probabilities.values()], abs=1e-5)
    assert both.probabilities["image alone"] == pytest.approx([*answer.image_alone.probabilities.values()], abs=1e-5)


def read_posts_of(path):
    return {row.id: (line, row) for line, row in read_posts(path)}


def test_no_synergy_is_claimed_where_no_post_has_both_sides(posts, tiny_model):
    kept = [line for line in posts.read_text().splitlines() if "image" not in json.loads(line)]
    posts.write_text("\n".join(kept))
    result = evaluate_posts(posts, Analyzer.from_pretrained(tiny_model))
    assert result.text_only
    assert result.synergy == ()
    assert result.system("text alone").figures["accuracy"] == result.system("fused").figures["accuracy"]


def test_results_hold_ids_and_numbers_but_no_words(posts):
    text = evaluate_posts(posts, CountingAnalyzer()).model_dump_json()
    assert "bus" not in text
    assert "good day" not in text


def test_posts_without_any_label_are_refused(tmp_path):
    path = tmp_path / "posts.jsonl"
    path.write_text('{"text": "hi"}\n')
    with pytest.raises(InputError, match="has a 'label'"):
        evaluate_posts(path, CountingAnalyzer())


def test_sarcasm_is_scored_on_its_own_labels(tmp_path):
    path = tmp_path / "posts.csv"
    path.write_text("text,sarcastic\nsure thing,1\na day,0\nsure,0\nfine,0\n")
    result = evaluate_posts(path, CountingAnalyzer(), "sarcasm")
    fused = result.system("fused")
    assert fused.confusion == ((2, 1), (0, 1))
    assert fused.figures["sarcastic_f1"].value == pytest.approx(2 / 3)
    assert result.labels == ("not sarcastic", "sarcastic")


def test_answers_keep_their_order_across_batches():
    samples = [Sample(text="good" if i % 3 else " ", id=str(i), label="positive") for i in range(150)]
    answers = list(collect(CountingAnalyzer(), enumerate(samples, 1)))
    assert [a.id for a in answers] == [str(i) for i in range(150)]
    assert Counter(type(a) for a in answers) == {PredictionRow: 100, RowError: 50}
    assert [a.line for a in answers if isinstance(a, RowError)][:2] == [1, 4]


@pytest.fixture
def corpus(tmp_path):
    """MVSA-Single in small: 24 pairs in three labels, of which one picture is torn and one pair opposed."""
    root = tmp_path / "MVSA"
    (root / "data").mkdir(parents=True)
    words = {"positive": "good day out", "neutral": "a day out", "negative": "bad day out"}
    rows = ["ID\ttext,image"]
    for i in range(24):
        label = ("positive", "neutral", "negative")[i % 3]
        (root / "data" / f"{i}.txt").write_text(f"{words[label]} number {i}")
        Image.new("RGB", (16, 16), SHADES[label]).save(root / "data" / f"{i}.jpg")
        rows.append(f"{i}\t{label},{label}" if i != 23 else "23\tpositive,negative")
    (root / "data" / "22.jpg").write_bytes(b"\xff\xd8\xff torn")
    (root / "labelResultAll.txt").write_text("\n".join(rows))
    return root


def written(tmp_path, manifest, **changes):
    """A protocol over a manifest of its own."""
    path = tmp_path / f"{manifest.name}.json"
    manifest.save(path)
    values = {"name": "drawn", "title": "Drawn", "corpus": "mvsa_single", "cleaning": "joint_label"} | changes
    return Protocol(**values, split=str(path), split_sha256=manifest.sha256)


@pytest.fixture
def protocol(tmp_path):
    parts = {
        "train": tuple(str(i) for i in range(15)),
        "dev": ("15", "16", "17"),
        "test": tuple(str(i) for i in range(18, 24)),
    }
    return written(tmp_path, SplitManifest("drawn", "mvsa_single", "drawn", parts, {"text": ("18",)}))


def test_a_protocol_measures_model_and_floors_on_the_same_posts(protocol, corpus):
    seen = []
    result = run_protocol(protocol, corpus, lambda fold: CountingAnalyzer(), progress=lambda *at: seen.append(at))
    assert (result.n_train, result.n, result.failed) == (15, 4, 1)
    assert result.errors[0].startswith("line 5 (22): image: ")
    assert {s.name: (s.kind, s.n) for s in result.systems} == {
        "fused": ("model", 4),
        "text alone": ("model", 4),
        "image alone": ("model", 4),
        "majority class": ("floor", 4),
        "TF-IDF + LR": ("floor", 4),
        "VADER": ("floor", 4),
    }
    assert result.system("fused").figures["accuracy"].value == 1.0
    assert result.subsets[0].name == "without near-duplicates of train"
    assert result.subsets[0].n == 3
    assert seen[-1] == (5, 5)
    assert any("opposed labels" in note for note in result.notes)
    assert "1 of the posts measured have a near-duplicate in train by text" in result.notes
    assert result.model.model == "counting"


def test_a_bundled_corpus_needs_no_folder_and_its_floors_are_fitted_out_of_fold():
    result = run_protocol(load_protocol("everyday"), None, lambda fold: CountingAnalyzer())
    assert (result.n_train, result.failed) == (None, 0)
    assert {s.name for s in result.systems if s.kind == "floor"} == {"majority class", "TF-IDF + LR", "VADER"}
    assert {"negation", "emoji_only", "two_targets"} <= {part.name for part in result.subsets}
    assert any("out of fold" in note for note in result.notes)


def test_floors_can_be_fitted_on_the_dev_part(tmp_path, corpus):
    parts = {"dev": tuple(str(i) for i in range(15)), "test": ("18", "19", "20")}
    manifest = SplitManifest("no_train", "mvsa_single", "drawn", parts, {})
    assert run_protocol(written(tmp_path, manifest, floors="dev"), corpus, None).n_train == 15
    with pytest.raises(InputError, match="holds no posts of the split no_train"):
        run_protocol(written(tmp_path, manifest), corpus, None)


def test_labels_that_are_allowed_count_as_right(tmp_path):
    rows = [
        {"id": "1", "text": "a day", "label": "not_negative", "allowed": ["neutral", "positive"], "test": "not bad"},
        {"id": "2", "text": "a great day", "label": "not_negative", "allowed": ["neutral", "positive"]},
        {"id": "3", "text": "a bad day", "label": "not_negative", "allowed": ["neutral", "positive"]},
        {"id": "4", "text": "awful", "label": "negative", "test": "words"},
    ]
    (tmp_path / "checklist_mft.jsonl").write_text("\n".join(json.dumps(row | {"split": "test"}) for row in rows))
    learned = [{"id": str(i), "text": f"good day {i % 2}", "label": "positive", "split": "train"} for i in range(4)]
    learned += [{"id": "9", "text": "bad day", "label": "negative", "split": "train"}]
    (tmp_path / "sst5_sentences.jsonl").write_text("\n".join(map(json.dumps, learned)))
    result = run_protocol(load_protocol("checklist"), tmp_path, lambda fold: CountingAnalyzer())
    assert (result.n, result.n_train) == (4, 5)
    assert result.system("fused").figures["accuracy"].value == 0.75
    assert {part.name: part.n for part in result.subsets} == {"not bad": 1, "words": 1}


def test_a_run_that_broke_off_goes_on(protocol, corpus, tmp_path):
    path = tmp_path / "partial.jsonl"
    first = run_protocol(protocol, corpus, lambda fold: CountingAnalyzer(), path)
    path.write_text("\n".join(path.read_text().splitlines()[:3]) + "\n")
    analyzer = CountingAnalyzer()
    again = run_protocol(protocol, corpus, lambda fold: analyzer, path)
    assert analyzer.served == 2
    assert again.systems == first.systems
    assert again.latency.posts_per_second is None
    with pytest.raises(InputError, match="another run"):
        run_protocol(protocol, corpus, lambda fold: CountingAnalyzer("other"), path)


def test_without_a_model_only_floors_are_measured(protocol, corpus):
    result = run_protocol(protocol, corpus, None)
    assert {s.kind for s in result.systems} == {"floor"}
    assert (result.n, result.deferral_rate, result.latency, result.synergy) == (5, None, None, ())


def test_folds_test_every_post_once_with_the_model_of_its_fold(tmp_path, corpus):
    folds = {f"fold_{k}": tuple(str(i) for i in range(22) if i % 4 == k) for k in range(4)}
    protocol = written(tmp_path, SplitManifest("folds", "mvsa_single", "drawn", folds, {}))
    asked = {}
    result = run_protocol(protocol, corpus, lambda fold: asked.setdefault(fold, CountingAnalyzer()))
    assert (result.n, result.part) == (22, "4 folds")
    assert [asked[fold].served for fold in range(4)] == [6, 6, 5, 5]


def test_agreeing_posts_alone_can_be_asked_for(tmp_path, corpus):
    rows = (corpus / "labelResultAll.txt").read_text().replace("18\tpositive,positive", "18\tpositive,neutral")
    (corpus / "labelResultAll.txt").write_text(rows)
    parts = {"train": tuple(str(i) for i in range(15)), "test": ("18", "19", "20")}
    manifest = SplitManifest("agreeing", "mvsa_single", "drawn", parts, {})
    assert run_protocol(written(tmp_path, manifest, cleaning="agreeing"), corpus, None).n == 2
    assert run_protocol(written(tmp_path, manifest), corpus, None).n == 3


def test_a_corpus_without_the_posts_of_the_split_is_refused(tmp_path, corpus):
    manifest = SplitManifest("elsewhere", "mvsa_single", "drawn", {"train": ("900",), "test": ("901",)}, {})
    with pytest.raises(InputError, match="holds no posts of the split elsewhere"):
        run_protocol(written(tmp_path, manifest), corpus, None)


@pytest.fixture
def counting(monkeypatch):
    """The commands load the small analyzer instead of a trained one."""
    monkeypatch.setattr(
        "hybrid_mmsa.cli.commands.evaluate.Analyzer.from_pretrained", lambda name, **_: CountingAnalyzer(name)
    )


@pytest.fixture
def second(tiny_model, tmp_path):
    """Another adapter fitted to the small model's towers."""
    adapter = tiny.adapter(encoder_hash=Adapter.load(tiny_model).encoder_hash, name="second", seed=11)
    adapter.save(tmp_path / "second")
    return tmp_path / "second"


def test_eval_opens_the_model_and_the_adapter_that_answers_in_its_place(posts, tiny_model, second, capsys):
    def measured(*options):
        assert run(["eval", "posts", str(posts), "--json", *options]) == 1
        return Result.model_validate_json(capsys.readouterr().out)

    own = measured("--model", str(tiny_model))
    other = measured("--model", str(tiny_model), "--adapter", str(second))
    assert (own.model.model, other.model.model) == ("tiny", "second")
    assert own.model.encoder_hash == other.model.encoder_hash
    assert own.system("fused") != other.system("fused")
    assert run(["eval", "posts", str(posts), "--adapter", str(second)]) == 2
    assert "adapter 'second' was fitted to encoder compact:towers" in capsys.readouterr().err


def test_seeds_and_folds_are_filled_into_the_names_of_model_and_adapter(tmp_path, corpus, monkeypatch):
    folds = {f"fold_{k}": tuple(str(i) for i in range(22) if i % 4 == k) for k in range(4)}
    protocol = written(tmp_path, SplitManifest("folds", "mvsa_single", "drawn", folds, {}), seeds=(3, 5))
    opened = []

    def pretrained(name, *, adapters, reasoner):
        opened.append((name, adapters))
        counting = CountingAnalyzer(name)
        counting.adapters = {"own": None, adapters[0]: None}
        return counting

    monkeypatch.setattr("hybrid_mmsa.cli.commands.evaluate.Analyzer.from_pretrained", pretrained)
    values = protocol.model_dump(exclude={"notes"})
    toml = tmp_path / "folds.toml"
    toml.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    options = ["--model", "base", "--adapter", "mine-{seed}/{fold}", "-o", str(tmp_path / "out")]
    assert run(["eval", "run", str(toml), "--data", str(corpus), *options]) == 0
    assert opened == [("base", (f"mine-{seed}/{fold}",)) for seed in (3, 5) for fold in range(4)]


@pytest.mark.usefixtures("counting")
def test_eval_posts_prints_a_table_and_says_by_its_exit_code_that_rows_failed(posts, capsys):
    assert run(["eval", "posts", str(posts), "-o", str(posts.with_suffix(".result.json"))]) == 1
    out = capsys.readouterr().out
    assert "fused" in out
    assert "2 rows failed" in out
    assert load_result(posts.with_suffix(".result.json")).n == 6
    kept = [line for line in posts.read_text().splitlines() if '"h"' not in line and '"i"' not in line]
    posts.write_text("\n".join(kept))
    assert run(["eval", "posts", str(posts), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 6


@pytest.mark.usefixtures("counting")
def test_eval_run_then_report_then_results(tmp_path, corpus, protocol, capsys):
    values = protocol.model_dump(exclude={"seeds", "notes"})
    toml = tmp_path / "drawn.toml"
    toml.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    out = tmp_path / "results"
    assert run(["eval", "run", str(toml), "--data", str(corpus), "-o", str(out)]) == 1
    assert "floor: VADER" in capsys.readouterr().out
    [result] = out.glob("*_drawn_default.json")
    assert result.with_suffix(".predictions.jsonl").is_file()
    assert run(["eval", "run", str(toml), "--data", str(corpus), "-o", str(out), "--floors-only"]) == 0
    page = tmp_path / "page.html"
    assert run(["eval", "report", str(out), "-o", str(page)]) == 0
    assert page.read_text().count("<section") == 2
    capsys.readouterr()
    assert run(["eval", "report", str(out), "-o", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": [str(page)], "results": 2}
    assert run(["eval", "results", str(out), "-o", str(tmp_path / "RESULTS.md")]) == 0
    assert "## Drawn" in (tmp_path / "RESULTS.md").read_text()


@pytest.mark.usefixtures("counting")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["posts", "gone.jsonl"], "there is no file"),
        (["run", "mvsa", "--data", "."], "no protocol 'mvsa'"),
        (["run", "mvsa_single", "--data", "gone"], "MVSA-Single is had from"),
        (["report", "gone.json", "-o", "page.html"], "no result file"),
        (["report", "gone.json", "-o", "no/page.html"], "there is no folder no"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["eval", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1


def test_the_bundled_model_is_measured_on_drawn_posts(posts, analyzer):
    result = evaluate_posts(posts, analyzer)
    assert (result.n, result.failed) == (7, 1)
    assert {s.name: s.n for s in result.systems} == {"fused": 7, "text alone": 6, "image alone": 3}
    assert result.model.model == "default"
