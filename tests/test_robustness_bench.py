"""The robustness benchmark: changes keep the words, the draw is fixed, and a label that turns is counted."""

import json
import unicodedata
from types import SimpleNamespace

import ftfy
import pytest

from eval.bench.robustness import robustness
from eval.bench.robustness.changes import CHANGES, mojibake, stretch
from hybrid_mmsa.types import LABELS, prediction

TEXT = "I don't like the terrible soup"


class Marks:
    """Positive where there is an exclamation mark, else neutral: what it will answer is known beforehand."""

    def analyze_batch(self, samples, **options):
        provenance = SimpleNamespace(model="marks", model_hash="0")
        shares = [(0.0, 0.0, 1.0) if "!" in sample.text else (0.0, 1.0, 0.0) for sample in samples]
        return [SimpleNamespace(sentiment=prediction(row), provenance=provenance) for row in shares]


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_changes_the_text_and_keeps_its_letters(name):
    changed = CHANGES[name](TEXT)
    assert changed != TEXT
    if name not in {"Cyrillic look-alikes", "mojibake", "no apostrophes"} and not name.startswith("elongation"):
        assert TEXT.lower() in unicodedata.normalize("NFKC", changed).lower()


def test_letters_are_stretched_and_mojibake_can_be_mended():
    assert stretch(TEXT, 5) == "I don't like the terrible souuuuup"
    assert stretch("a b c", 3) == "a b c"
    assert mojibake("don't 😍") == "donâ€™t ðŸ˜\x8d"
    assert ftfy.fix_text(mojibake("don't 😍"), uncurl_quotes=False) == "don’t 😍"


def test_the_posts_drawn_are_the_same_each_time_and_as_many_of_each_label():
    texts = robustness.drawn_posts()
    assert texts == robustness.drawn_posts()
    assert len(set(texts)) == robustness.A_LABEL * len(LABELS)


def test_emoji_have_one_feeling_each():
    emoji = [one for own in robustness.EMOJI.values() for one in own.split()]
    assert len(emoji) == len(set(emoji)) == 82


def test_a_turned_label_is_counted_once_and_unchanged_posts_not_at_all():
    found = robustness.flips(Marks(), ["Fine by me", "Is it?", "Great!"])
    assert found["final !"] == pytest.approx({"n": 1, "share": 1.0, "low": 0.2065, "high": 1.0}, abs=1e-4)
    assert found["1/2"]["n"] == 3
    assert found["1/2"]["share"] == 0
    assert "no apostrophes" not in found


def test_the_record_holds_every_change_every_emoji_and_the_invariance_tests(tmp_path):
    path = tmp_path / "inv.jsonl"
    rows = [
        {"text": "We land at six.", "variants": ["We land at six!", "We land at 6."], "type": "INV", "test": "marks"},
        {"text": "We land.", "variants": ["We land @x"], "type": "INV", "test": "handles"},
        {"text": "We land.", "variants": ["We land!"], "type": "DIR", "test": "direction"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    record = robustness.measured(Marks(), path)
    assert set(record["flips"]) == set(CHANGES)
    assert record["emoji"]["all"]["n"] == 82 * len(robustness.CARRIERS)
    assert {name: cell["share"] for name, cell in record["invariance"].items()} == {
        "all": 0.5,
        "marks": 1,
        "handles": 0,
    }
    assert json.loads(json.dumps(record)) == record
    assert robustness.table(record).row_count == len(CHANGES) + 1 + 3
