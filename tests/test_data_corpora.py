"""Every loader reads its corpus's official layout, drawn here in small; what is broken is counted, the rest kept."""

import json
from collections import Counter

import pytest
from PIL import Image

from hybrid_mmsa.data import CORPORA, LoadReport, joint_label, load_corpus
from hybrid_mmsa.data.mvsa import vote
from hybrid_mmsa.errors import InputError

EVERYDAY_SHARES = {"negative": 0.4, "neutral": 0.25, "positive": 0.35}


def load(name, root):
    report = LoadReport()
    return list(load_corpus(name, root, report)), report


def picture(path, colour="orange"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)


@pytest.fixture
def mvsa(tmp_path):
    """Four pairs: agreeing, one side neutral, opposed, both neutral; texts in three encodings."""
    rows = [
        "ID\ttext,image",
        "1\tpositive,positive",
        "2\tneutral,negative",
        "3\tpositive,negative",
        "4\tneutral,neutral",
    ]
    texts = ["so happy", "雨 rain", "a café".encode("latin-1") + b"\xff", "plain"]
    for number, text in enumerate(texts, 1):
        picture(tmp_path / "data" / f"{number}.jpg")
        raw = text if isinstance(text, bytes) else text.encode("gb18030" if "rain" in text else "utf-8")
        (tmp_path / "data" / f"{number}.txt").write_bytes(raw)
    (tmp_path / "labelResultAll.txt").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_mvsa_single(mvsa):
    records, report = load("mvsa_single", mvsa)
    assert [r.sample.id for r in records] == ["1", "2", "3", "4"]
    assert [r.sample.label for r in records] == ["positive", "negative", None, "neutral"]
    assert (records[2].sample.text_label, records[2].sample.image_label) == ("positive", "negative")
    assert records[0].sample.image == mvsa / "data" / "1.jpg"
    assert records[0].split is None
    assert report.counts["opposed labels"] == 1
    assert (report.records, report.lost) == (4, 0)


def test_encodings_are_tried_strictly_in_order_and_counted(mvsa):
    records, report = load("mvsa_single", mvsa)
    assert records[1].sample.text == "雨 rain"
    assert records[2].sample.text == "a caféÿ"
    assert report.examples["text read as gb18030"] == ["2"]
    assert report.examples["text read as latin-1"] == ["3"]


def test_missing_text_and_missing_picture_are_counted_and_the_pair_kept(mvsa):
    (mvsa / "data" / "1.txt").unlink()
    (mvsa / "data" / "4.jpg").unlink()
    records, report = load("mvsa_single", mvsa)
    assert (records[0].sample.text, records[3].sample.image) == (None, None)
    assert report.counts["missing text"] == report.counts["missing picture"] == 1
    assert len(records) == 4


def test_a_pair_with_neither_text_nor_picture_is_counted_and_left_out(mvsa):
    (mvsa / "data" / "1.txt").write_text(" \n")
    (mvsa / "data" / "1.jpg").unlink()
    records, report = load("mvsa_single", mvsa)
    assert [r.sample.id for r in records] == ["2", "3", "4"]
    assert report.examples["neither text nor picture"] == ["1"]


def test_a_truncated_label_file_loses_only_what_it_lacks(mvsa):
    (mvsa / "labelResultAll.txt").write_text("ID\ttext,image\n1\tpositive,positive\n2\tneutral,nega")
    records, report = load("mvsa_single", mvsa)
    assert [r.sample.id for r in records] == ["1"]
    assert report.examples["unknown label"] == ["2"]
    assert sorted(report.examples["no label row"]) == ["3", "4"]
    assert report.lost == 3


def test_unknown_label_broken_line_and_duplicate_id_cost_one_row_each(mvsa):
    with (mvsa / "labelResultAll.txt").open("a") as file:
        file.write("1\tnegative,negative\n5\tangry,positive\n6\tpositive\n")
    records, report = load("mvsa_single", mvsa)
    assert records[0].sample.label == "positive"
    assert len(records) == 4
    assert report.examples["duplicate id"] == ["1"]
    assert report.examples["unknown label"] == ["5"]
    assert report.examples["broken line"] == ["6"]
    assert any("duplicate id" in line for line in report.lines())


def test_mvsa_multiple_takes_the_vote_of_three(mvsa):
    rows = [
        "ID\ttext,image\ttext,image\ttext,image",
        "1\tpositive,neutral\tpositive,positive\tneutral,neutral",
        "2\tpositive,positive\tneutral,positive\tnegative,positive",
        "3\tpositive,positive\tpositive,positive",
    ]
    (mvsa / "labelResultAll.txt").write_text("\n".join(rows))
    records, report = load("mvsa_multiple", mvsa)
    assert [r.sample.label for r in records] == ["positive", None]
    assert (records[0].sample.text_label, records[0].sample.image_label) == ("positive", "neutral")
    assert report.examples["no majority label"] == ["2"]
    assert report.examples["broken line"] == ["3"]


def test_mvsa_multiple_packed(tmp_path):
    row = {"id": "7", "text": "hi", "label": "positive", "text_label": "positive", "image_label": "neutral"}
    rows = [row | {"image_name": "7.jpg", "split": "train"}, row | {"id": "8", "label": "fine"}]
    lines = [json.dumps(row) for row in rows] + ["{cut"]
    (tmp_path / "texts_and_labels.jsonl").write_text("\n".join(lines))
    records, report = load("mvsa_multiple", tmp_path)
    assert [(r.sample.id, r.split, r.sample.image_label) for r in records] == [("7", "train", "neutral")]
    assert report.counts == {"missing picture": 1, "unknown label": 1, "broken line": 1}


def test_vote_needs_more_than_half():
    assert vote(["neutral", "positive", "neutral"]) == "neutral"
    assert vote(["neutral", "positive", "negative"]) is None


@pytest.mark.parametrize(
    ("text", "image", "label"),
    [
        ("positive", "positive", "positive"),
        ("positive", "neutral", "positive"),
        ("neutral", "negative", "negative"),
        ("neutral", "neutral", "neutral"),
        ("positive", "negative", None),
        ("negative", "positive", None),
    ],
)
def test_joint_label_is_the_rule_of_the_field(text, image, label):
    assert joint_label(text, image) == label


def tombert(root, images="twitter2015_images"):
    heading = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String\n"
    for split in ("train", "dev"):
        (root / f"{split}.tsv").write_text(heading + "1\t2\t10.jpg\tRT @ x : $T$ is everything\tChuck Bass\n")
    (root / "test.tsv").write_text("index\t#1 ImageID\t#2 String\t#2 String\n1\t0\t11.jpg\tpoor $T$ !\tLydia\n")
    picture(root / images / "10.jpg")


@pytest.mark.parametrize("year", ["2015", "2017"])
def test_twitter_puts_the_target_in_its_place(tmp_path, year):
    tombert(tmp_path, f"twitter{year}_images")
    records, report = load(f"twitter{year}", tmp_path)
    assert [(r.sample.id, r.split, r.sample.label) for r in records] == [
        ("train-1", "train", "positive"),
        ("dev-1", "dev", "positive"),
        ("test-1", "test", "negative"),
    ]
    assert (records[0].sample.text, records[0].sample.target) == ("RT @ x : Chuck Bass is everything", "Chuck Bass")
    assert records[0].sample.image is not None
    assert report.examples["missing picture"] == ["test-1"]


def test_twitter_counts_rows_it_cannot_use(tmp_path):
    tombert(tmp_path)
    with (tmp_path / "train.tsv").open("a") as file:
        file.write("2\t7\t10.jpg\t$T$ here\tAnn\n3\t1\t10.jpg\tno mark\tAnn\n4\t1\t10.jpg\t$T$ cut o")
    records, report = load("twitter2015", tmp_path)
    assert len(records) == 3
    assert report.examples["unknown label"] == ["train-2"]
    assert report.examples["broken line"] == ["train.tsv:4", "train.tsv:5"]


def test_mmsd2(tmp_path):
    folder = tmp_path / "text_json_final"
    folder.mkdir()
    rows = [{"image_id": 5, "text": "so awesome .", "label": 1}, {"image_id": 6, "text": "", "label": 0}, {"text": "x"}]
    (folder / "train.json").write_text(json.dumps([*rows, {"image_id": 8, "text": "y", "label": 3}]))
    for name in ("valid", "test"):
        (folder / f"{name}.json").write_text("[]")
    picture(tmp_path / "dataset_image" / "6.jpg")
    records, report = load("mmsd2", tmp_path)
    assert [(r.sample.id, r.sample.sarcastic, r.split) for r in records] == [
        ("5", True, "train"),
        ("6", False, "train"),
    ]
    assert report.counts == {"missing picture": 1, "missing text": 1, "broken line": 1, "unknown label": 1}


def test_mmsd2_cut_off_is_one_clear_error(tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.json").write_text('[{"image_id": 5, "te')
    with pytest.raises(InputError, match=r"train.json is cut off or damaged.*MMSD2"):
        load("mmsd2", tmp_path)


def test_memotion_official_csv(tmp_path):
    (tmp_path / "labels.csv").write_text(
        ",image_name,text_ocr,text_corrected,humour,sarcasm,offensive,motivational,overall_sentiment\n"
        '0,image_1.jpg,"OCR, WORDS","Corrected, words",funny,not_sarcastic,not_offensive,motivational,very_positive\n'
        "1,image_2.jpg,ONLY OCR,,funny,general,slight,not_motivational,neutral\n"
        "2,image_3.jpg,x,x,funny,general,slight,not_motivational,unsure\n"
        "3,image_4.jpg,cut"
    )
    picture(tmp_path / "images" / "image_1.jpg")
    records, report = load("memotion", tmp_path)
    first, second = (r.sample for r in records)
    assert (first.id, first.text, first.label, first.sarcastic) == ("image_1", "Corrected, words", "positive", False)
    assert (second.text, second.label, second.sarcastic, second.image) == ("ONLY OCR", "neutral", True, None)
    assert report.counts == {"missing picture": 1, "unknown label": 1, "broken line": 1}


def test_memotion_without_a_column_says_which(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.csv").write_text("image_name,text_ocr\na.jpg,hi\n")
    with pytest.raises(InputError, match=r"no column text_corrected, sarcasm, overall_sentiment"):
        load("memotion", tmp_path)


def test_twitter1269_packed(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    row = {
        "id": "a",
        "text": "",
        "image": "images/a.jpg",
        "label": "positive",
        "image_label": "positive",
        "split": "test",
    }
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row))
    [record], _ = load("twitter1269", tmp_path)
    assert record.sample.image == tmp_path / "images" / "a.jpg"
    assert (record.sample.text, record.sample.image_label, record.split) == (None, "positive", "test")


def test_packed_rows_of_the_wrong_types_are_counted(tmp_path):
    rows = [{"id": 0, "text": "a", "split": "train"}, {"text": "b", "label": ["x"]}, {"text": "c", "sarcastic": []}]
    rows += [{"text": "d", "image": 5}, {"text": "e", "emotion": "pride"}, {"text": "f", "sarcastic": "yes"}]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    records, report = load("memotion", tmp_path)
    assert [(r.sample.id, r.split) for r in records] == [("0", "train")]
    assert report.counts == {"unknown label": 3, "broken line": 2}


def test_csv_cells_may_hold_any_line_separator(tmp_path):
    (tmp_path / "train.En.csv").write_text("tweet,sarcastic\none\u2028two\x85three,1\n", encoding="utf-8")
    (tmp_path / "task_A_En_test.csv").write_text("text,sarcastic\n")
    [record], report = load("isarcasm", tmp_path)
    assert record.sample.text == "one\u2028two\x85three"
    assert report.counts == {}


def test_semeval_official_files(tmp_path):
    folder = tmp_path / "GOLD" / "Subtask_A"
    folder.mkdir(parents=True)
    (folder / "twitter-2013train-A.txt").write_text("1\tpositive\tGreat day\n2\tneutral\ttoday\n")
    (folder / "twitter-2016train-A.txt").write_text("2\tneutral\ttoday\n3\toff topic\twhat\n")
    (folder / "twitter-2016devtest-A.txt").write_text("4\tnegative\tbad\t\n")
    (folder / "SemEval2017-task4-test.subtask-A.english.txt").write_text('5\tnegative\t"worse"\n6\tnegative')
    records, report = load("semeval2017", tmp_path)
    assert {r.sample.id: (r.split, r.sample.label) for r in records} == {
        "1": ("train", "positive"),
        "2": ("train", "neutral"),
        "4": ("dev", "negative"),
        "5": ("test", "negative"),
    }
    assert report.counts == {"duplicate id": 1, "unknown label": 1, "broken line": 1}


def tweeteval(root, labels):
    for name in ("train", "val", "test"):
        (root / f"{name}_text.txt").write_text("first\nsecond\x85still second\n", encoding="utf-8")
        (root / f"{name}_labels.txt").write_text(labels)


def test_tweeteval_emotion_gives_no_sentiment(tmp_path):
    tweeteval(tmp_path, "3\n1\n")
    records, _ = load("tweeteval_emotion", tmp_path)
    assert [(r.split, r.emotion) for r in records[:3]] == [("train", "sadness"), ("train", "joy"), ("dev", "sadness")]
    assert {r.sample.label for r in records} == {None}


def test_tweeteval_irony_and_unknown_codes(tmp_path):
    tweeteval(tmp_path, "1\n9\n")
    records, report = load("tweeteval_irony", tmp_path)
    assert [r.sample.sarcastic for r in records] == [True] * 3
    assert report.counts["unknown label"] == 3


def test_tweeteval_with_a_cut_label_file_is_refused(tmp_path):
    tweeteval(tmp_path, "1\n")
    with pytest.raises(InputError, match=r"2 lines, train_labels.txt 1"):
        load("tweeteval_irony", tmp_path)


def test_isarcasm_official_csv(tmp_path):
    (tmp_path / "train.En.csv").write_text(',tweet,sarcastic,rephrase\n0,"I love, mondays",1,no\n1,,0,\n')
    (tmp_path / "task_A_En_test.csv").write_text("text,sarcastic\nhello,0\nwhat,maybe\n")
    records, report = load("isarcasm", tmp_path)
    assert [(r.sample.text, r.sample.sarcastic, r.split) for r in records] == [
        ("I love, mondays", True, "train"),
        ("hello", False, "test"),
    ]
    assert report.counts == {"neither text nor picture": 1, "unknown label": 1}


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_a_wrong_folder_says_what_is_missing_and_where_it_is_had(tmp_path, name):
    with pytest.raises(InputError) as caught:
        load(name, tmp_path)
    message = str(caught.value)
    assert CORPORA[name].home in message
    assert any(mark in message for mark in (".txt", ".tsv", ".json", ".jsonl", ".csv"))


def test_an_absent_folder_and_an_unknown_corpus_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"MVSA-Single is had from https"):
        load("mvsa_single", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no corpus 'mvsa'; there are mvsa_single"):
        load("mvsa", tmp_path)


def packed(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")


def test_sentences_keep_target_split_group_and_what_is_allowed(tmp_path):
    packed(
        tmp_path / "checklist_mft.jsonl",
        {"id": "1", "text": "It is bad.", "label": "negative", "split": "test", "test": "plain"},
        {"id": "2", "text": "Not bad.", "label": "not_negative", "allowed": ["neutral", "positive"], "split": "test"},
        {"id": "3", "text": "Odd.", "label": "not_negative", "allowed": ["fine"], "split": "test"},
    )
    packed(
        tmp_path / "target_mams.jsonl",
        {"id": "1", "text": "Nice soup, rude waiter", "target": "soup", "label": "positive", "split": "all"},
        {"id": "2", "text": "Nice soup", "target": "soup", "label": "positive", "split": "dev", "two_sided": True},
    )
    (plain, allowed), report = load("checklist", tmp_path)
    assert (plain.sample.label, plain.group, plain.split) == ("negative", "plain", "test")
    assert (allowed.sample.label, allowed.allowed, allowed.group) == (None, ("neutral", "positive"), None)
    assert report.counts == {"unknown label": 1}
    (soup, dev), _ = load("mams", tmp_path / "target_mams.jsonl")
    assert (soup.sample.target, soup.split, soup.group) == ("soup", None, None)
    assert (dev.split, dev.group) == ("dev", "two_sided")


def test_a_corpus_without_a_train_part_takes_that_of_its_sister_corpora(tmp_path):
    row = {"id": "0", "text": "fine soup", "target": "soup", "label": "positive"}
    packed(tmp_path / "target_arts.jsonl", row | {"split": "test", "source": "ARTS-R"})
    files = [tmp_path / f"target_semeval14_{name}.jsonl" for name in ("restaurants", "laptops")]
    packed(files[0], row | {"split": "train"}, row | {"id": "1", "split": "test"})
    records, _ = load("arts", tmp_path)
    assert [(r.sample.id, r.split) for r in records] == [
        ("0", "test"),
        ("target_semeval14_restaurants:0", "train"),
    ]
    files[0].unlink()
    assert len(load("arts", tmp_path)[0]) == 1


def test_the_bundled_posts_need_no_folder_and_others_do():
    posts = list(load_corpus("everyday"))
    assert {record.split for record in posts} == {"test"}
    assert len(posts) >= 650
    with pytest.raises(InputError, match="MAMS is not bundled: name its folder"):
        load_corpus("mams")


def test_everyday_posts_are_of_every_label_and_kind_and_every_picture_and_target_is_there():
    posts = list(load_corpus("everyday"))
    shares = Counter(record.sample.label for record in posts)
    assert all(wanted - 0.05 < shares[label] / len(posts) < wanted + 0.05 for label, wanted in EVERYDAY_SHARES.items())
    assert len({record.group for record in posts}) >= 30
    assert {r.sample.image is not None for r in posts if r.group == "picture"} == {True}
    assert {r.sample.target in r.sample.text for r in posts if r.group == "two_targets"} == {True}
    assert {r.sample.sarcastic for r in posts if r.group.startswith("ironic")} == {True}
    assert {r.sample.sarcastic for r in posts if r.group == "sincere"} == {False}
    assert len({(r.sample.text.lower(), r.sample.target) for r in posts}) == len(posts)


def test_crossed_puts_each_plain_text_beside_every_picture():
    records = list(load_corpus("crossed"))
    texts, pictures = {r.sample.text for r in records}, {r.sample.image.name for r in records}
    assert len(records) == len(texts) * len(pictures) == len({r.sample.id for r in records})
    assert len(pictures) == 8
    assert {r.group == r.sample.label for r in records} == {True}


def test_loading_streams(mvsa):
    records = load_corpus("mvsa_single", mvsa)
    assert next(records).sample.id == "1"
    (mvsa / "data" / "2.txt").write_text("changed")
    assert next(records).sample.text == "changed"
