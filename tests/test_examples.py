"""The examples do what a user of that kind wants: each is run as it stands, and what it prints is judged."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from documents import program_output
from PIL import Image


def printed(name):
    """The lines an example prints."""
    return program_output(f"eval/examples/{name}.py").splitlines()


def shares(lines, unit):
    """The shares an example prints, in percent, by what they are of, in its order."""
    found = [re.fullmatch(rf"(.+): (\d+)% {unit} \((\d+)% to (\d+)%\)", line) for line in lines]
    return {match[1]: tuple(int(n) for n in match.groups()[1:]) for match in found if match}


def test_brand_monitoring_finds_the_bad_week():
    lines = printed("brand_monitoring")
    found = shares(lines, "negative")
    assert list(found) == ["Aster week 1", "Aster week 2", "Birch week 1", "Birch week 2"]
    assert found["Aster week 2"][1] > found["Aster week 1"][2]
    assert [line for line in lines if line.startswith("ALARM")] == [
        "ALARM: Aster is worse than last week by more than chance"
    ]
    assert any("ate my files" in line and "sarcasm" in line for line in lines if line.startswith("read: "))
    assert next(line for line in lines if line.startswith("not read: ")).startswith("not read: broken: found no file")


def test_the_moments_of_a_call_are_those_that_it_was_made_with():
    found = [
        re.match(r" *[\d.]+ to +[\d.]+ s  (\w+)(?: \((\w+)\))?(?:  (.*))?", line) for line in printed("service_call")
    ]
    assert [(match[1], match[2]) for match in found] == [
        ("negative", "customer"),
        ("words_and_face_disagree", "customer"),
        ("words_and_picture_disagree", "customer"),
        ("interruption", "customer"),
        ("non_talk", None),
        ("positive", "agent"),
        ("positive", "customer"),
    ]
    assert {match[3] for match in found[:3]} == {"It came broken, and I am really angry about it!"}


def test_nearest_posts_are_alike_in_what_was_asked_for():
    ranked = {name: items.split(", ") for name, _, items in (line.partition(": ") for line in printed("nearest_posts"))}
    assert list(ranked) == ["about", "both", "feeling"]
    assert all("grief" in item for item in ranked["feeling"][:2]), "who grieves is near, whatever about"
    assert not any("joy" in item for item in ranked["feeling"][:3])


def figure(lines, name):
    """The adapter's and the default model's figure in the table that an example prints."""
    cells = next(line for line in lines if line.startswith(f"| {name} |")).split("|")
    return float(cells[2]), float(cells[3])


def test_reviews_teach_an_adapter_that_says_what_hurts():
    lines = printed("product_reviews")
    adapter, default = figure(lines, "accuracy")
    assert 0.5 < default < adapter, "the bundled model is no straw man, and the adapter beats it"
    assert "It is better than 'default' by more than chance." in lines
    assert figure(lines, "accuracy, picture alone")[0] < 0.6, "the photos do not show the label"
    found = shares(lines, "unhappy")
    assert list(found) == ["lid", "cord", "spout"], "the part that hurts most comes first"
    assert found["lid"][1] > found["spout"][2]


def test_reviews_are_read_from_files_as_amazon_exports_them(tmp_path):
    """The rows of 2018, of which few have a photo; drawn here."""
    moods = ((1.0, "It broke, I hate it"), (3.0, "It is a kettle"), (5.0, "I love it, so good"))
    pictures = np.random.default_rng(0).integers(0, 255, (5, 40, 60, 3), dtype=np.uint8)
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    rows = []
    for number in range(60):
        stars, words = moods[number % 3]
        row = {"overall": stars, "reviewText": f"The {('lid', 'cord', 'spout')[number // 3 % 3]}: {words} {number}."}
        rows.append({**row, "summary": f"Review {number}", "asin": "B1", "unixReviewTime": 1_500_000_000 + number})
    for number, row in enumerate(rows[:5]):
        row["photo"] = f"{number}.png"
    (tmp_path / "reviews.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "comments.jsonl").write_text("\n".join(json.dumps({**row, "overall": None}) for row in rows))
    program = Path(__file__).parent.parent / "eval" / "examples" / "product_reviews.py"
    command = [sys.executable, program, "reviews.jsonl", "comments.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("| on 60 test posts |")
    assert figure(lines, "accuracy")[0] > 0.8
    assert set(shares(lines, "unhappy")) == {"lid", "cord", "spout"}


def test_service_chats_hand_over_the_one_that_turns_bad():
    lines = {re.search(r"  (\w+):", line)[1]: line for line in printed("service_chats")}
    assert next(name for name, line in lines.items() if "ESCALATE" in line) == "delivery"
    assert next(iter(lines)) == "delivery", "the most urgent comes first"
    assert "ESCALATE" not in lines["thanks"] + lines["question"], "what was bad and is good now needs nobody"
    assert "message 2: words against picture" in lines["smile"]


def test_recommendations_feel_like_what_was_liked():
    ranked = [line.split("  ")[1] for line in printed("recommendation")]
    assert set(ranked[:2]) == {"lost love", "funeral march"}, "sad songs for one who likes sad posts"
    assert ranked.index("rage room") < ranked.index("launch party"), "anger is nearer to sadness than joy is"
