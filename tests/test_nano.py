"""nano as a reasoner: a folder that `train nano` wrote opens by itself and is refused once changed; the bundled one."""

import json
import shutil
import subprocess
import sys

import pytest
from drawn_posts import draw_posts
from tiny_nano import config

from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import Adapter, resolve_adapter
from hybrid_mmsa.cli.commands.demo import SAMPLES
from hybrid_mmsa.data import read_posts
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.reasoning import ReasonerConfig, load_prompt, open_reasoner
from hybrid_mmsa.reasoning.models.lora_base import misfit
from hybrid_mmsa.reasoning.models.own import BUNDLED, bundled_folder, bundled_reasoner
from hybrid_mmsa.reasoning.models.store import check_files, file_hashes, read_manifest
from hybrid_mmsa.training.nano.folder import _card
from hybrid_mmsa.training.nano.train import train_nano
from hybrid_mmsa.types import LABELS, Sample

MOST_MB = 30
# What tuning, quantising, measuring and the fast tier need, and one who only asks does not.
NOT_ASKED_FOR = {
    *("bitsandbytes", "datasets", "llama_cpp", "matplotlib", "onnx", "onnxruntime", "open_clip", "pandas", "peft"),
    *("pyarrow", "sentence_transformers", "sklearn", "tensorflow", "timm", "trl"),
}
# Runs in a fresh interpreter.
ASKED = """
import json, sys
from pathlib import Path
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.reasoning import open_reasoner
from hybrid_mmsa.types import Sample

reasoner = open_reasoner("nano")
held = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "safetensors" in line]
(verdict,) = reasoner.reason([read_sample(Sample(text="What a day!", image=sys.argv[1]))], rationale=True)
print(json.dumps({
    "rationale": verdict.rationale,
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
    "held": [name for name in held if name.endswith(".safetensors")],
}))
"""


def check_verdict(verdict, sample):
    """What every verdict with a rationale must be, whatever the model makes of the post."""
    assert sum(verdict.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert verdict.label == max(LABELS, key=lambda label: verdict.probabilities[label])
    assert verdict.rationale
    assert 0 <= verdict.sarcasm <= 1
    sides = {"text": bool(sample.text), "image": sample.image is not None}
    assert (verdict.text_says is None) >= (not sides["text"])
    assert (verdict.picture_says is None) >= (not sides["image"])
    assert all(sides[cue.side] for cue in verdict.cues)


@pytest.fixture(scope="module")
def reasoner(tiny_nano):
    return open_reasoner(tiny_nano.folder)


def test_a_folder_says_itself_how_it_is_opened(reasoner, tiny_nano):
    """Posts of every kind, with a rationale and without."""
    posts = [read_sample(post.sample) for post in draw_posts(5, seed=77)]
    posts.append(read_sample(Sample(text="The match was lovely", image=posts[0].image, target="The match")))
    for verdict, post in zip(reasoner.reason(posts, rationale=True), posts, strict=True):
        check_verdict(verdict, post)
        asked = load_prompt("nano").for_sample(post)
        assert (verdict.reasoner, verdict.prompt) == (BUNDLED, asked.id)
    plain = reasoner.reason(posts)
    assert all(verdict.rationale is None and verdict.probabilities for verdict in plain)
    assert json.loads((tiny_nano.folder / "made_with.json").read_text())["prompt_id"] == load_prompt("nano").id


def test_its_card_tells_what_it_was_made_of(tiny_nano):
    card = (tiny_nano.folder / "card.md").read_text(encoding="utf-8")
    made = json.loads((tiny_nano.folder / "made_with.json").read_text(encoding="utf-8"))
    assert f"{made['parameters'] / 1e6:.1f} million" in card
    assert f"| mvsa_single | {made['rows']['mvsa_single']:,} |" in card
    assert made["lessons"] <= sum(made["rows"].values())
    assert made["config"]["shape"]["width"] == 64


def test_its_card_tells_whose_opinions_it_learnt(tiny_nano):
    made = json.loads((tiny_nano.folder / "made_with.json").read_text(encoding="utf-8"))
    default = Adapter.load(resolve_adapter("default"))
    assert made["fast"] == {"name": "default", "hash": default.hash}
    told = f"50 % of what is learnt of a label is what the fast tier `default` ({default.hash[:12]}) says of the post."
    assert told in (tiny_nano.folder / "card.md").read_text(encoding="utf-8")
    assert "fast tier `" not in _card(made | {"fast": None})


def test_a_revision_is_of_the_weights_and_not_of_what_is_said_of_them(tiny_nano, tmp_path):
    """LoRA adapters go by it: a card worded anew makes no other model."""
    runs = shutil.copytree(tiny_nano.runs, tmp_path / "runs")
    record = json.loads((runs / "reasons" / "record.json").read_text(encoding="utf-8"))
    (runs / "reasons" / "record.json").write_text(json.dumps(record | {"seconds": 1e6}), encoding="utf-8")
    train_nano(tiny_nano.data, tiny_nano.start, runs, tmp_path / "again", config())
    one, again = (read_manifest(folder) for folder in (tiny_nano.folder, tmp_path / "again"))
    assert one.files["made_with.json"] != again.files["made_with.json"]
    assert one.revision == again.revision


def test_the_bundled_lora_is_for_the_bundled_one(tiny_nano):
    """By its weights, not by its name: no other nano answers with it."""
    lora = Adapter.load(resolve_adapter("memes")).lora
    assert misfit(lora, open_reasoner(BUNDLED)) is None
    assert misfit(lora, open_reasoner(bundled_folder())) is None
    assert "answered without it" in misfit(lora, open_reasoner(tiny_nano.folder))


def test_it_answers_deferred_posts(tiny_nano):
    answer = Analyzer.from_pretrained(reasoner=tiny_nano.folder).analyze("So awful: the train, again", mode="deep")
    assert answer.route.answered_by == answer.verdict.reasoner == BUNDLED
    assert answer.rationale
    assert answer.sentiment.probabilities == answer.verdict.probabilities


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "chat_template.jinja", "card.md", "new.json"])
def test_a_changed_folder_is_refused(tiny_nano, tmp_path, file):
    folder = shutil.copytree(tiny_nano.folder, tmp_path / "nano")
    path = folder / file
    path.write_bytes(path.read_bytes()[:-1] + b"\x00" if path.is_file() else b"{}")
    with pytest.raises(ArtefactError, match=rf"{file} is not as it was written .* train nano`"):
        open_reasoner(folder)
    with pytest.raises(ArtefactError, match="is not as it was written"):
        open_reasoner(ReasonerConfig(backend="transformers", model=str(folder), prompt="nano"))


@pytest.mark.parametrize(
    "lines",
    [
        'backend = "openai_server"\nmodel = "x"\nurl = "http://198.51.100.1/v1"',
        'backend = "transformers"\nmodel = ".."',
        'backend = "llama_cpp"\nmodel = "."',
    ],
)
def test_a_folder_cannot_send_posts_elsewhere(tiny_nano, tmp_path, lines):
    folder = shutil.copytree(tiny_nano.folder, tmp_path / "nano")
    (folder / "reasoner.toml").write_text(lines)
    with pytest.raises(ArtefactError, match="configures another model than the one it stands with"):
        open_reasoner(folder)


def test_the_bundled_one_is_whole_and_small():
    folder = bundled_folder()
    check_files(folder, bundled_reasoner())
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= MOST_MB * 1e6
    assert {"config.json", "model.safetensors", "reasoner.toml", "card.md"} <= file_hashes(folder).keys()
    assert not {path.suffix for path in folder.rglob("*")} & {".py", ".pkl", ".bin", ".pt"}


def test_the_bundled_one_was_trained_on_the_bundled_question():
    made = json.loads((bundled_folder() / "made_with.json").read_text(encoding="utf-8"))
    assert made["prompt_id"] == load_prompt(made["prompt"]).id
    assert 6e6 <= made["parameters"] <= 20e6


def test_the_bundled_one_answers_the_sample_posts():
    """By its name alone, and the same at every call."""
    samples = {sample.id: read_sample(sample) for _, sample in read_posts(SAMPLES / "posts.jsonl")}
    chosen = [samples[id_] for id_ in ("plain-positive", "plain-negative", "text-only", "picture-only")]
    bundled = open_reasoner(BUNDLED)
    verdicts = bundled.reason(chosen, rationale=True)
    for verdict, sample in zip(verdicts, chosen, strict=True):
        check_verdict(verdict, sample)
        assert (verdict.reasoner, verdict.prompt) == (BUNDLED, load_prompt("nano").id)
    again = bundled.reason(chosen, rationale=True)
    assert [verdict.rationale for verdict in again] == [verdict.rationale for verdict in verdicts]


def test_the_bundled_one_tells_plain_words_apart():
    plain = {
        "I hate this, worst day ever": "negative",
        "The meeting is on Tuesday at 6 pm": "neutral",
        "What a lovely day, thank you all!": "positive",
    }
    verdicts = open_reasoner(BUNDLED).reason([read_sample(Sample(text=words)) for words in plain])
    assert [verdict.label for verdict in verdicts] == list(plain.values())


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_asking_the_bundled_one_holds_no_more_than_it_needs():
    """A process that asks about one post has neither read the packages of other work nor kept the weights' file."""
    command = [sys.executable, "-c", ASKED, str(SAMPLES / "cat.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["rationale"]
    assert not NOT_ASKED_FOR & set(seen["modules"])
    assert seen["held"] == [], "its weights were converted: the file they came from is needed no more"
