"""The review loop: answers to a labelling program, labels back, an adapter from them."""

import base64
import io
import json
from types import SimpleNamespace

import pytest
import tiny
from PIL import Image

from hybrid_mmsa import InputError
from hybrid_mmsa.cli import run
from hybrid_mmsa.data import read_posts, to_review
from hybrid_mmsa.types import LABELS


@pytest.fixture(scope="module")
def answered(tiny_model, tmp_path_factory):
    """A folder with posts and the answers to them, all of which are deferred."""
    folder = tmp_path_factory.mktemp("review")
    rows = [{"id": f"p{n}", "text": f"{word} monday, =1+{n}"} for n, word in enumerate(tiny.WORDS)]
    (folder / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["batch", str(folder / "posts.jsonl"), "-o", str(folder / "answers.jsonl"), "--model", str(tiny_model)]
    assert run([*command, "--policy", "always"]) == 0
    return folder


def exported(folder, to, name, *options):
    out = folder / name
    command = ["review", "export", str(folder / "answers.jsonl"), "--posts", str(folder / "posts.jsonl")]
    assert run([*command, "--to", to, "-o", str(out), "--force", *options]) == 0
    return out


def label_of(number):
    return LABELS[number % 3]


def labelled_in_studio(tasks):
    """What Label Studio exports once somebody has chosen a label for each task."""
    for number, task in enumerate(tasks):
        (suggestion,) = task.pop("predictions")
        (result,) = suggestion["result"]
        chosen = result | {"value": {"choices": [label_of(number)]}, "id": f"r{number}", "origin": "manual"}
        task |= {"id": number + 1, "annotations": [{"id": number, "was_cancelled": False, "result": [chosen]}]}
    return tasks


def labelled_in_argilla(records):
    for number, record in enumerate(records):
        record["responses"] = {"label": [{"value": label_of(number), "user_id": "u", "status": "submitted"}]}
    return records


@pytest.mark.parametrize(("to", "label"), [("label-studio", labelled_in_studio), ("argilla", labelled_in_argilla)])
def test_what_goes_out_labelled_comes_back(answered, to, label):
    out = exported(answered, to, f"{to}.json")
    posts = json.loads(out.read_text())
    assert len(posts) == len(tiny.WORDS)
    back = answered / f"{to}-labelled.json"
    back.write_text(json.dumps(label(posts)))
    rows = answered / f"{to}.jsonl"
    assert run(["review", "import", str(back), "-o", str(rows), "--force"]) == 0
    texts = {row.id: row.text for _, row in read_posts(answered / "posts.jsonl")}
    read = [row for _, row in read_posts(rows)]
    assert [row.label for row in read] == [label_of(number) for number in range(len(posts))]
    assert {row.id: row.text for row in read} == texts


@pytest.fixture(scope="module")
def pictured(tiny_model, tmp_path_factory):
    """A folder with two posts, one of them with a large picture, and the answers to them."""
    folder = tmp_path_factory.mktemp("pictured")
    noise = Image.effect_noise((1500, 900), 80).convert("RGB")
    noise.save(folder / "fog.png")
    rows = [{"id": "a", "text": "a foggy day", "image": "fog.png"}, {"id": "b", "text": "no picture"}]
    (folder / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["batch", str(folder / "posts.jsonl"), "-o", str(folder / "answers.jsonl"), "--model", str(tiny_model)]
    assert run([*command, "--policy", "always"]) == 0
    return folder


def picture_of(uri):
    """The picture of a `data:` URI."""
    head, _, content = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize(("to", "label"), [("label-studio", labelled_in_studio), ("argilla", labelled_in_argilla)])
def test_some_posts_are_drawn_from_all_and_come_back_marked(answered, to, label):
    out = exported(answered, to, f"{to}-some.json", "--most", "10", "--random", "0.5")
    back = answered / f"{to}-back.json"
    back.write_text(json.dumps(label(json.loads(out.read_text()))))
    rows = answered / f"{to}-some.jsonl"
    assert run(["review", "import", str(back), "-o", str(rows), "--force"]) == 0
    chosen = [json.loads(line)["chosen"] for line in rows.read_text().splitlines()]
    assert sorted(chosen) == ["doubt"] * 5 + ["random"] * 5
    assert {"doubt", "random"} == set(chosen[:4]), "who stops early has seen some of both"


def test_a_draw_is_of_all_posts_whatever_the_model_thinks():
    """So that a model is judged on what it meets."""
    answers = [
        SimpleNamespace(id=str(n), needs_review=n < 300, route=SimpleNamespace(decision="keep", p_error=1 - n / 1000))
        for n in range(1000)
    ]
    chosen = to_review([(None, answer) for answer in answers], most=400, drawn=0.5)
    drawn = [int(post.answer.id) for post in chosen if post.chosen == "random"]
    assert len(drawn) == 200
    assert 40 < sum(n < 300 for n in drawn) < 80, "as many of the doubtful as there are among all"
    assert [n for n in map(int, (p.answer.id for p in chosen if p.chosen == "doubt"))] == sorted(
        set(range(300)) - set(drawn)
    )[:200]
    assert {post.chosen for post in to_review([(None, a) for a in answers], everything=True)} == {"random"}
    with pytest.raises(InputError, match="wanted a share"):
        to_review([], drawn=1)


def test_argilla_is_given_copies_of_the_pictures_and_gives_back_their_paths(pictured):
    """Argilla serves no files; a copy is small and bears no metadata."""
    out = exported(pictured, "argilla", "records.json")
    records = {record["id"]: record for record in json.loads(out.read_text())}
    copy = picture_of(records["a"]["fields"]["image"])
    assert max(copy.size) <= 640
    assert not copy.getexif()
    assert len(records["a"]["fields"]["image"]) < 85_000
    assert "image" not in records["b"]["fields"]
    back = pictured / "back.json"
    back.write_text(json.dumps(labelled_in_argilla([*records.values()])))
    assert run(["review", "import", str(back), "-o", str(pictured / "labelled.jsonl"), "--force"]) == 0
    rows = [json.loads(line) for line in (pictured / "labelled.jsonl").read_text().splitlines()]
    assert [row.get("image") for row in sorted(rows, key=lambda row: row["id"])] == ["fog.png", None]


def test_a_copy_serves_where_no_path_comes_back(pictured):
    records = json.loads(exported(pictured, "argilla", "records.json").read_text())
    for record in records:
        record["metadata"] = {}
    back = pictured / "without.json"
    back.write_text(json.dumps(labelled_in_argilla(records)))
    assert run(["review", "import", str(back), "-o", str(pictured / "copies.jsonl"), "--force"]) == 0
    rows = {row["id"]: row for row in map(json.loads, (pictured / "copies.jsonl").read_text().splitlines())}
    assert picture_of(rows["a"]["image"]).size[0] <= 640


def test_argilla_is_told_what_the_records_hold(pictured):
    """Every field, question and metadata of a record is in the settings, and one field is in every record."""
    records = json.loads(exported(pictured, "argilla", "records.json").read_text())
    settings = json.loads((pictured / "records.settings.json").read_text())
    named = {kind: {each["name"] for each in settings[kind]} for kind in ("fields", "questions", "metadata")}
    for record in records:
        assert set(record["fields"]) <= named["fields"]
        assert set(record["suggestions"]) <= named["questions"]
        assert set(record["metadata"]) <= named["metadata"]
        assert all(record["fields"][field["name"]] for field in settings["fields"] if field["required"])
    (question,) = settings["questions"]
    assert [option["value"] for option in question["settings"]["options"]] == list(LABELS)


def test_label_studio_has_links_or_copies(pictured):
    linked = json.loads(exported(pictured, "label-studio", "linked.json").read_text())
    assert {task["data"]["image"] for task in linked} == {"/data/local-files/?d=fog.png", ""}
    copied = json.loads(exported(pictured, "label-studio", "copied.json", "--pictures", "embed").read_text())
    by_id = {task["data"]["id"]: task["data"] for task in copied}
    assert picture_of(by_id["a"]["image"]).size[0] <= 640
    assert (by_id["a"]["picture"], by_id["b"]["image"]) == ("fog.png", "")


def test_the_short_export_of_label_studio_keeps_ids_and_pictures(pictured):
    """JSON-MIN: one flat object a task, the task's own number as `id`."""
    tasks = json.loads(exported(pictured, "label-studio", "tasks.json").read_text())
    added = {"annotator": 1, "annotation_id": 1, "label": "positive", "lead_time": None}
    short = [{**task["data"], "id": number, **added} for number, task in enumerate(tasks, 1)]
    back = pictured / "short.json"
    back.write_text(json.dumps(short))
    assert run(["review", "import", str(back), "-o", str(pictured / "short.jsonl"), "--force"]) == 0
    rows = [json.loads(line) for line in (pictured / "short.jsonl").read_text().splitlines()]
    assert {row["id"]: row.get("image") for row in rows} == {"a": "fog.png", "b": None}


def test_the_likeliest_mistakes_come_first(answered):
    tasks = json.loads(exported(answered, "label-studio", "few.json", "--most", "3", "--random", "0").read_text())
    errors = {
        answer["id"]: answer["route"]["p_error"]
        for answer in map(json.loads, (answered / "answers.jsonl").read_text().splitlines())
    }
    assert [errors[task["data"]["id"]] for task in tasks] == sorted(errors.values(), reverse=True)[:3]
    assert all("P(error)" in task["data"]["evidence"] for task in tasks)
    assert "<Choices" in (answered / "few.xml").read_text()


def test_a_table_is_labelled_in_its_own_column(answered, capsys):
    table = exported(answered, "csv", "table.csv")
    text = table.read_text()
    header, *lines = text.splitlines()
    assert header.startswith("id,label,text,image,answer,evidence")
    table.write_text("\n".join([header, *(line.replace(",,", ",pos,", 1) for line in lines[:4]), *lines[4:]]))
    assert run(["review", "import", str(table), "-o", str(answered / "from-table.jsonl")]) == 0
    assert "4 labelled posts" in capsys.readouterr().err
    assert {row.label for _, row in read_posts(answered / "from-table.jsonl")} == {"positive"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["answers.jsonl", "--posts", "posts.jsonl", "-o", "out.txt"], "ends in .json"),
        (
            ["answers.jsonl", "--posts", "posts.jsonl", "-o", "out.json", "--to", "argilla", "--pictures", "link"],
            "Argilla shows no local files",
        ),
        (["answers.jsonl", "--posts", "posts.jsonl", "-o", "answers.jsonl"], "must not replace"),
        (["posts.jsonl", "--posts", "posts.jsonl", "-o", "out.json"], "no file of answers"),
        (["answers.jsonl", "--posts", "other.jsonl", "-o", "out.json"], "answers post 'p0', which is not there"),
    ],
)
def test_what_makes_no_sense_is_refused(answered, monkeypatch, capsys, words, told):
    monkeypatch.chdir(answered)
    (answered / "other.jsonl").write_text('{"id": "x", "text": "something else"}\n')
    assert run(["review", "export", *words]) == 2
    assert told in capsys.readouterr().err
    assert not (answered / "out.json").exists()
