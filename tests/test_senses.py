"""Words and faces in pictures: read where they are, they join the answer as they should and change nothing else."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from hybrid_mmsa import Analysis, Analyzer, ArtefactError, InputError, MissingExtraError, Sample
from hybrid_mmsa.adapters import SENSES, Adapter
from hybrid_mmsa.cli import run
from hybrid_mmsa.pooling import SourcePooling, fit_pooling, pool
from hybrid_mmsa.senses import FaceReader, PictureWordReader
from hybrid_mmsa.senses.expression import sentiment_of
from hybrid_mmsa.senses.face_detector import apart
from hybrid_mmsa.types import EXPRESSIONS

BAD = "I hate this, worst day ever"
WEIGHTS = {
    "picture_words": SourcePooling(with_text=(0.9, 0.2), picture_only=(0.2, 1.0)),
    "faces": SourcePooling(with_text=(0.9, 0.3), picture_only=(0.7, 0.5)),
}


def written(text, size=(900, 300), place=(40, 100), font=48):
    """Black words on white."""
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).text(place, text, "black", ImageFont.load_default(font))
    return picture


def sample(name):
    with resources.as_file(resources.files("hybrid_mmsa") / "samples" / name) as path:
        return Image.open(path).convert("RGB")


def unread(answer):
    """An answer without what the senses added: what it would be without them."""
    provenance = answer.provenance.model_copy(update={"senses": {}})
    return answer.model_copy(update={"picture": None, "provenance": provenance})


@pytest.fixture(scope="module")
def words():
    return PictureWordReader()


@pytest.fixture(scope="module")
def faces():
    return FaceReader()


@pytest.fixture(scope="module")
def plain():
    return Analyzer.from_pretrained()


@pytest.fixture(scope="module")
def sensing(plain):
    adapter = replace(plain.adapters["default"], senses=WEIGHTS)
    return Analyzer(plain.encoder, [adapter], senses=("ocr", "faces"))


def test_words_are_read_where_they_stand(words):
    (line,) = words.read(written(BAD))
    assert line.text.lower().replace(" ", "") == BAD.lower().replace(" ", "")
    assert line.confidence > 0.8
    left, top, right, bottom = line.box
    assert 20 <= left <= 50
    assert 90 <= top < bottom <= 170
    assert right > 500


@pytest.mark.parametrize(
    "picture", [Image.new("RGB", (300, 200), "grey"), Image.new("RGB", (1, 1)), sample("bricks.jpg")]
)
def test_a_picture_without_words_is_stopped_at_the_gate(words, picture):
    assert not words.has_text(picture)
    assert words.read(picture) == ()


def test_the_gate_lets_small_words_through(words):
    assert words.has_text(written("see you at nine", size=(1000, 1400), font=28))


def test_a_face_is_found_with_what_it_looks_like(faces):
    found = faces.read(sample("astronaut.jpg"))
    assert len(found) == 1
    assert found[0].confidence > 0.7
    assert found[0].expression.keys() == set(EXPRESSIONS)
    assert sum(found[0].expression.values()) == pytest.approx(1, abs=1e-5)
    assert max(found[0].expression, key=found[0].expression.get) == "happy"
    assert found[0].sentiment.label == "positive"


def test_the_box_of_a_face_moves_with_the_picture(faces):
    picture = sample("astronaut.jpg")
    (face,) = faces.read(picture)
    wider = Image.new("RGB", (picture.width + 200, picture.height + 100))
    wider.paste(picture, (200, 100))
    (moved,) = faces.read(wider)
    assert np.abs(np.array(moved.box) - np.array(face.box) - [200, 100, 200, 100]).max() < picture.width / 20


def test_a_face_is_found_however_the_picture_is_held(faces, tmp_path):
    """A phone writes pictures lying down and says how to turn them; cut-out people stand on nothing."""
    upright = sample("astronaut.jpg")
    (face,) = faces.read(upright)
    lying, clear = tmp_path / "lying.jpg", tmp_path / "clear.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(lying, exif=exif, quality=95)
    upright.convert("RGBA").save(clear)
    for held in (
        tmp_path / "lying.jpg",
        Image.open(tmp_path / "lying.jpg"),
        tmp_path / "clear.png",
        np.asarray(upright),
    ):
        (found,) = faces.read(held)
        assert np.abs(np.array(found.box) - np.array(face.box)).max() <= 4


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (60_000, 1)])
def test_the_smallest_and_thinnest_pictures_are_read(words, faces, size):
    assert faces.read(Image.new("RGB", size, "white")) == words.read(Image.new("RGB", size, "white")) == ()


def test_a_banner_is_read_where_it_stands(words):
    (line,) = words.read(written("see you at nine", size=(1200, 60), place=(600, 5), font=40))
    assert "nine" in line.text
    assert 550 < line.box[0] < 650 < line.box[2] < 1100
    assert 0 <= line.box[1] < line.box[3] <= 60


@pytest.mark.parametrize("nothing", [np.zeros((0, 0, 3), np.uint8), Image.new("RGB", (0, 0)), b"", b"no picture"])
def test_what_is_no_picture_is_refused(words, faces, nothing):
    for reader in (words, faces):
        with pytest.raises(InputError, match="image"):
            reader.read(nothing)


@pytest.mark.parametrize("name", ["bricks.jpg", "cat.jpg", "espresso.jpg", "galaxies.jpg", "rocket.jpg"])
def test_where_there_is_no_face_none_is_found(faces, name):
    assert faces.read(sample(name)) == ()


def test_of_boxes_that_overlap_the_best_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 100, 100]], float)
    assert apart(boxes, np.array([0.8, 0.9, 0.7, 0.6])) == [1, 2, 3]
    assert apart(np.zeros((0, 4)), np.zeros(0)) == []


def test_expressions_say_a_sentiment():
    rows = sentiment_of(np.eye(len(EXPRESSIONS), dtype=np.float32))
    assert rows.sum(1).tolist() == [1] * len(EXPRESSIONS)
    assert rows[EXPRESSIONS.index("happy")].tolist() == [0, 0, 1]
    assert rows[EXPRESSIONS.index("sad")].tolist() == [1, 0, 0]


POSTS = [
    Sample(text="What a lovely day"),
    Sample(text="What a lovely day", image=sample("espresso.jpg")),
    Sample(image=sample("galaxies.jpg")),
]


def test_posts_without_words_or_faces_are_answered_as_without_senses(plain, sensing):
    for post in POSTS:
        (before,), (answer,) = (a.analyze_batch([post], explain="full") for a in (plain, sensing))
        assert unread(answer) == before
        assert (answer.picture is None) == (post.image is None)
        assert answer.picture is None or (answer.picture.words, answer.picture.faces) == ((), ())


def test_without_weights_faces_are_evidence_and_move_no_answer(plain):
    post = Sample(text="This is awful, I want my money back", image=sample("astronaut.jpg"))
    unfitted = replace(plain.adapters["default"], senses={})
    analyzer = Analyzer(plain.encoder, [unfitted], senses=("faces",))
    (answer,), (before,) = analyzer.analyze_batch([post]), plain.analyze_batch([post])
    explanation = before.explanation.model_copy(update={"text": answer.explanation.text})
    assert unread(answer) == before.model_copy(update={"explanation": explanation})
    assert answer.picture.words is None
    assert answer.picture.faces_sentiment.label == "positive"
    assert answer.picture.faces_conflict > 0.5
    assert not answer.picture.faces_count
    assert "face in the picture looks positive" in answer.explanation.text
    assert "but the words say negative" in answer.explanation.text


@pytest.mark.parametrize("text", [None, "This is awful, I want my money back"])
def test_faces_with_weights_are_a_source_of_their_own(plain, sensing, text):
    picture = sample("astronaut.jpg")
    before, answer = plain.analyze(text, picture), sensing.analyze(text, picture, explain="full")
    assert answer.picture.faces_count
    assert answer.fast.probabilities["positive"] > before.fast.probabilities["positive"]
    assert (answer.text_sentiment, answer.image_sentiment) == (before.text_sentiment, before.image_sentiment)
    shares = answer.explanation.shares
    assert shares.keys() == {"image", "faces", *(["text"] if text else [])}
    total = answer.explanation.baseline + sum(shares.values())
    assert total == pytest.approx(answer.fast.probabilities[answer.fast.label], abs=1e-5)
    assert f"it counts {shares['faces']:+.2f}" in answer.explanation.text
    assert Analysis.model_validate_json(answer.model_dump_json()) == answer


def test_words_and_faces_of_one_picture_share_the_answer(sensing):
    picture = written(BAD, size=(900, 900), place=(40, 20))
    picture.paste(sample("astronaut.jpg").resize((600, 600)), (150, 250))
    answer = sensing.analyze("look at this", picture)
    shares = answer.explanation.shares
    assert shares.keys() == {"text", "image", "picture_words", "faces"}
    total = answer.explanation.baseline + sum(shares.values())
    assert total == pytest.approx(answer.fast.probabilities[answer.fast.label], abs=1e-5)


def test_a_face_that_is_seen_badly_is_less_reliable(faces):
    picture = sample("astronaut.jpg")
    (face,) = faces.read(picture)
    small = picture.resize((picture.width // 2, picture.height // 2))
    (blurred,) = faces.read(small.filter(ImageFilter.GaussianBlur(1.5)))
    assert 0 < blurred.reliability < face.reliability < 1


def test_what_is_read_badly_counts_less():
    fast, said = np.array([[0.2, 0.3, 0.5]]), np.array([[0.8, 0.1, 0.1]])
    weights = np.array([0.6, 1.2, 0, 0, 0])
    pooled = [pool(fast, said, weights, np.array([r]))[0, 0] for r in (0.0, 0.4, 1.0)]
    assert pooled[0] == pytest.approx(0.2)
    assert pooled == sorted(pooled)
    assert pooled[2] == pool(fast, said, weights)[0, 0]


def test_a_source_that_is_right_where_it_is_reliable_gets_more_weight_by_knowing_so():
    chance = np.random.default_rng(7)
    gold, reliability = chance.integers(0, 3, 600), chance.random(600)
    seen = np.where(chance.random(600) < reliability, gold, chance.integers(0, 3, 600))
    fast, said = np.full((600, 3), 1 / 3), np.eye(3)[seen] * 0.7 + 0.1
    loss = {}
    for r in (None, reliability):
        pooled = pool(fast, said, fit_pooling(fast, said, gold, reliability=r, biased=False), r)
        loss[r is None] = -np.log(pooled[np.arange(600), gold]).mean()
    assert loss[False] < loss[True] - 0.01


def test_the_words_of_a_screenshot_decide_it(plain, sensing):
    picture = written(BAD)
    before, answer = plain.analyze(image=picture), sensing.analyze(image=picture, explain="full")
    assert answer.sentiment.label == "negative" == answer.picture.words_sentiment.label
    assert answer.picture.words_count
    assert answer.sentiment.probabilities["negative"] > before.sentiment.probabilities["negative"]
    assert answer.image_sentiment == before.image_sentiment
    assert answer.prediction_set is None
    assert "ocr" in answer.provenance.senses
    assert Analysis.model_validate_json(answer.model_dump_json()) == answer


@pytest.mark.parametrize("text", [None, "look at this"])
def test_sets_are_as_wide_as_what_was_read_needs_them(plain, text):
    def answered(threshold):
        weights = {source: replace(pooling, set_threshold=threshold) for source, pooling in WEIGHTS.items()}
        adapter = replace(plain.adapters["default"], senses=weights)
        return Analyzer(plain.encoder, [adapter], senses=("ocr",)).analyze(text, written(BAD)).prediction_set

    assert answered(None) is None
    assert set(answered(0.0)) == {"negative", "neutral", "positive"}
    assert set(answered(1.0)) <= set(answered(0.1))


@pytest.mark.parametrize("text", [None, "look at this"])
def test_shares_of_all_sources_sum_to_the_answer(sensing, text):
    answer = sensing.analyze(text, written(BAD))
    shares = answer.explanation.shares
    assert shares.keys() == {"image", "picture_words", *(["text"] if text else [])}
    total = answer.explanation.baseline + sum(shares.values())
    assert total == pytest.approx(answer.fast.probabilities[answer.fast.label], abs=1e-5)
    assert f"count {shares['picture_words']:+.2f}" in answer.explanation.text


@pytest.mark.parametrize("picture", [written(BAD), sample("astronaut.jpg")])
def test_an_answer_about_a_target_is_the_words_own(plain, sensing, picture):
    post = Sample(text="The soup was great", target="soup", image=picture)
    (answer,), (before,) = sensing.analyze_batch([post]), plain.analyze_batch([post])
    assert answer.sentiment == before.sentiment
    assert not answer.picture.words_count
    assert not answer.picture.faces_count


def test_without_weights_the_words_are_evidence_alone(plain):
    analyzer = Analyzer(plain.encoder, [replace(plain.adapters["default"], senses={})], senses=("ocr",))
    answer, before = analyzer.analyze(image=written(BAD)), plain.analyze(image=written(BAD))
    assert answer.sentiment == before.sentiment
    assert answer.picture.words_sentiment.label == "negative"
    assert not answer.picture.words_count
    assert any("no weights" in warning for warning in answer.warnings)


def test_words_of_another_language_do_not_count(sensing):
    answer = sensing.analyze(
        image=written("Heute war ein sehr schlechter Tag und es regnet", font=36, size=(1000, 300))
    )
    assert not answer.picture.words_count
    assert any("English" in warning for warning in answer.warnings)


def test_weights_go_through_a_folder(plain, tmp_path):
    folder = tmp_path / "mine"
    replace(plain.adapters["default"], name="mine", senses=WEIGHTS).save(folder)
    assert Adapter.load(folder).senses == WEIGHTS
    values = json.loads((folder / SENSES).read_text())
    values["faces"]["with_text"]["fast_weight"] = -1
    (folder / SENSES).write_text(json.dumps(values))
    with pytest.raises(ArtefactError, match=SENSES):
        Adapter.load(folder)


def test_an_analyzer_takes_its_senses_along():
    with Analyzer.from_pretrained(senses=["faces"]) as analyzer, pickle.loads(pickle.dumps(analyzer)) as again:
        assert again.senses == analyzer.senses == ("faces",)


@pytest.mark.parametrize("senses", ["ocr", ("smell",), (1,), None, 3])
def test_senses_are_a_list_of_known_names(plain, senses):
    with pytest.raises(InputError, match="senses"):
        Analyzer(plain.encoder, [plain.adapters["default"]], senses=senses)


def test_the_command_line_names_senses(capsys):
    assert run(["analyze", "What a day", "--senses", "ocr,smell"]) == 2
    assert capsys.readouterr().err == "error: --senses: no sense 'smell'; there are ocr, faces\n"
    assert run(["analyze", "What a day", "--senses", "faces", "--json"]) == 0
    assert Analysis.model_validate_json(capsys.readouterr().out).provenance.senses.keys() == {"faces"}


def test_a_missing_extra_is_one_error_at_the_door(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(MissingExtraError, match="reading the words in pictures needs the extra 'ocr'"):
        PictureWordReader()


PROGRAM = """
import sys
events = []
calls = {"socket.connect", "socket.getaddrinfo"}
sys.addaudithook(lambda event, args: events.append(event) if event in calls else None)
from PIL import Image, ImageDraw, ImageFont
import hybrid_mmsa
before = {"cv2", "rapidocr"} & set(sys.modules)
picture = Image.new("RGB", (500, 200), "white")
ImageDraw.Draw(picture).text((20, 60), "so sad today", "black", ImageFont.load_default(40))
answer = hybrid_mmsa.Analyzer.from_pretrained(senses=("ocr", "faces")).analyze(image=picture)
print(sorted(before), events, answer.picture.words[0].text)
"""


def test_senses_open_no_connection_write_nothing_and_are_loaded_when_asked_for(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] [] so sad today\n"
    assert list(tmp_path.rglob("*")) == []
