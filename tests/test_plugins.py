"""Encoders, reasoners and corpora of other packages: really installed, used by name, and held to their contract."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_mmsa import Analyzer, ArtefactError, InputError, MissingExtraError, PluginError, Sample
from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.commands import doctor
from hybrid_mmsa.data import LoadReport, load_corpus
from hybrid_mmsa.encoders import CompactEncoder, open_encoder
from hybrid_mmsa.evaluation.protocol import load_protocol
from hybrid_mmsa.plugins import GROUPS, find_plugin, installed_plugins
from hybrid_mmsa.reasoning import open_reasoner
from hybrid_mmsa.testing import tiny_adapter

EXAMPLE = Path(__file__).with_name("example_plugin")
POSTS = [
    Sample(text="zzz", label="negative"),
    Sample(text="ooo", label="neutral"),
    Sample(text="aaa", label="positive"),
]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder of installed packages that holds the example."""
    source = tmp_path_factory.mktemp("source") / "example"
    shutil.copytree(EXAMPLE, source)
    target = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def example(site, monkeypatch):
    """The example, installed for one test."""
    monkeypatch.syspath_prepend(str(site))
    yield "hybrid_mmsa_example"
    sys.modules.pop("hybrid_mmsa_example", None)


def install(folder, name, entry_points, modules=(), version="1.0"):
    """A package as an installer leaves it: its modules, and its metadata beside them."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"[hybrid_mmsa.{group}]\n{key} = {value}\n" for group, key, value in entry_points]
    (info / "entry_points.txt").write_text("".join(lines))
    for module, source in dict(modules).items():
        (folder / f"{module}.py").write_text(source)


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Installs a package with one plugin, and forgets its module afterwards."""

    def install_one(group, name, source, value="broken_module:offer"):
        install(tmp_path, "broken-package", [(group, name, value)], {"broken_module": source})
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install_one
    sys.modules.pop("broken_module", None)


def test_plugins_are_listed_without_importing_them(example):
    offered = [plugin for group in GROUPS for plugin in installed_plugins(group)]
    assert [(p.group, p.name, p.package) for p in offered] == [
        ("encoders", "letters", "hybrid-mmsa-example 0.3"),
        ("reasoners", "rules", "hybrid-mmsa-example 0.3"),
        ("corpora", "reviews", "hybrid-mmsa-example 0.3"),
    ]
    assert find_plugin("encoders", "rules") is None
    assert example not in sys.modules


def test_nothing_is_imported_until_it_is_named(site):
    program = (
        "import sys, hybrid_mmsa, hybrid_mmsa.cli, hybrid_mmsa.data; hybrid_mmsa.analyze('What a day!');"
        "sys.exit('hybrid_mmsa_example' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {program}"])
    assert done.returncode == 0


def test_an_encoder_is_opened_by_its_name_and_adapters_open_it_again(example, tmp_path):
    encoder = open_encoder("letters:3", tmp_path)
    assert (type(encoder).__name__, encoder.cut) == ("LettersEncoder", 3)
    tiny_adapter(encoder, POSTS).save(tmp_path / "mine")
    analyzer = Analyzer.from_pretrained(tmp_path / "mine")
    assert [analyzer.analyze(post.text).sentiment.label for post in POSTS] == [post.label for post in POSTS]
    assert analyzer.analyze("aaa").provenance.encoder == "letters:3"
    tiny_adapter(open_encoder("letters", tmp_path), POSTS).save(tmp_path / "other")
    manifest = json.loads((tmp_path / "other" / "adapter.json").read_text())
    assert manifest["encoder"] == "letters"


def test_an_adapter_is_trained_on_a_plugin_s_encoder(example, tmp_path, monkeypatch):
    words, rng = {"negative": "zz z zzz", "neutral": "oo o ooo", "positive": "aa a aaa"}, np.random.default_rng(0)
    rows = []
    for number, (label, text) in enumerate([*words.items()] * 60):
        noise = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
        rows.append({"text": f"{text} {number}", "image": f"{number}.png", "label": label})
    (tmp_path / "posts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    monkeypatch.chdir(tmp_path)
    assert run(["adapter", "train", "posts.jsonl", "--fast", "--encoder", "letters:8", "-o", "mine"]) == 0
    answers = Analyzer.from_pretrained(tmp_path / "mine").analyze_batch([Sample(text="z"), Sample(text="aaaa")])
    assert [answer.sentiment.label for answer in answers] == ["negative", "positive"]
    assert answers[0].provenance.encoder == "letters:8"


def test_a_reasoner_is_opened_by_its_name(example, capsys):
    analyzer = Analyzer.from_pretrained(reasoner="rules:negative")
    answer = analyzer.analyze("What a lovely day", mode="deep")
    assert (answer.sentiment.label, answer.route.answered_by) == ("negative", "rules")
    assert answer.rationale == "The rules say negative."
    assert run(["analyze", "this is positive", "--reasoner", "rules", "--mode", "deep", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["label"] == "positive"


def test_a_corpus_is_loaded_by_its_name_and_named_by_protocols(example, tmp_path):
    lines = ["positive\tgood", "no label", "negative\tbad", "neutral\tfine"]
    (tmp_path / "reviews.tsv").write_text("\n".join(lines))
    report = LoadReport()
    records = list(load_corpus("reviews", tmp_path, report))
    assert [(r.sample.id, r.sample.label, r.split) for r in records] == [
        ("1", "positive", "train"),
        ("3", "negative", "train"),
        ("4", "neutral", "test"),
    ]
    assert report.lines() == ["1 × broken line (such as 2)"]
    protocol = 'name = "mine"\ntitle = "Mine"\ncorpus = "reviews"\nsplit = "mine.json"\nsplit_sha256 = ""\n'
    (tmp_path / "mine.toml").write_text(protocol)
    assert len(load_protocol(tmp_path / "mine.toml").records(tmp_path, LoadReport())) == 3
    with pytest.raises(InputError, match=r"no folder .*https://example\.org/reviews"):
        load_corpus("reviews", tmp_path / "elsewhere")


def looked_at(monkeypatch):
    """What `doctor` says of plugins; extras are left out."""
    monkeypatch.setattr(doctor, "requirements", lambda: None)
    return {check.found: check.state for check in doctor.checks() if check.name == "plugin"}


def test_doctor_names_each_plugin_and_its_package(example, site, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    plugins = looked_at(monkeypatch)
    assert plugins["the reasoner 'rules' of the package hybrid-mmsa-example 0.3"] == "ok"
    assert len(plugins) == 3


OPENERS = {
    "encoders": lambda: open_encoder("mine:3", Path.cwd()),
    "reasoners": lambda: open_reasoner("mine:3"),
    "corpora": lambda: list(load_corpus("mine", Path.cwd())),
}
NOT_AN_ENCODER = "def offer(name, root, *, threads): return 'an encoder'"
ANOTHER_NAME = """
from hybrid_mmsa.testing import TinyEncoder
def offer(name, root, *, threads): return TinyEncoder("yours")
"""
CORPUS = """
from hybrid_mmsa.data import Corpus
def load(root, report):
    {body}
offer = Corpus("Mine", "nowhere", load)
"""
FAULTS = [
    ("encoders", "import no_such_library", r"cannot be imported \(ModuleNotFoundError: No module named 'no_such"),
    ("reasoners", "raise SystemError('bad wheel')", r"cannot be imported \(SystemError: bad wheel\)"),
    ("corpora", "other = 1", r"cannot be imported \(AttributeError: .*has no attribute 'offer'"),
    ("encoders", "def offer(name, root, *, threads): 1 / 0", r"cannot open 'mine:3' \(ZeroDivisionError"),
    ("encoders", "def offer(name): pass", r"cannot open 'mine:3' \(TypeError: .*unexpected keyword argument 'threads'"),
    ("encoders", NOT_AN_ENCODER, r"returned a str, which is not an encoder"),
    ("encoders", ANOTHER_NAME, r"was opened as 'mine:3' and calls itself 'yours'"),
    ("encoders", "offer = 3", r"cannot open 'mine:3' \(TypeError: 'int' object is not callable"),
    ("reasoners", "def offer(name): return 7", r"returned what cannot answer posts: a int is not a reasoner"),
    ("corpora", "offer = 'a folder'", r"is a str, not a `hybrid_mmsa\.data\.Corpus`"),
    ("corpora", CORPUS.format(body="yield 'a post'"), r"yields a str, not a `hybrid_mmsa\.data\.Record`"),
    ("corpora", CORPUS.format(body="raise KeyError('text')"), r"cannot read .* \(KeyError: 'text'\)"),
]


@pytest.mark.parametrize(("group", "source", "fault"), FAULTS, ids=[fault[:24] for _, _, fault in FAULTS])
def test_a_broken_plugin_is_one_error_that_names_its_package(broken, group, source, fault):
    broken(group, "mine", source)
    with pytest.raises(PluginError, match=rf"of the package broken-package 1\.0 {fault}") as caught:
        OPENERS[group]()
    assert caught.value.package == "broken-package 1.0"


def test_errors_of_ours_that_a_plugin_raises_stay_what_they_are(broken):
    broken("reasoners", "mine", "from hybrid_mmsa import MissingExtraError\nraise MissingExtraError('mine', 'vlm')")
    with pytest.raises(MissingExtraError, match="mine needs the extra 'vlm'"):
        open_reasoner("mine")


def test_a_broken_plugin_is_one_line_on_the_command_line(broken, capsys):
    broken("reasoners", "mine", "import no_such_library")
    assert run(["analyze", "fine", "--reasoner", "mine"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the reasoner 'mine' of the package broken-package 1.0 cannot be imported")


@pytest.mark.parametrize(
    ("group", "name"), [("encoders", "compact"), ("reasoners", "smol"), ("corpora", "mvsa_single")]
)
def test_a_plugin_cannot_take_a_built_in_name(broken, tmp_path, monkeypatch, group, name):
    broken(group, name, "raise SystemExit('was imported')")
    if group == "encoders":
        assert isinstance(open_encoder(name, tmp_path), CompactEncoder)
    elif group == "corpora":
        with pytest.raises(InputError, match="MVSA-Single"):
            load_corpus(name, tmp_path / "none")
    ((found, state),) = looked_at(monkeypatch).items()
    assert state == "failed"
    assert found.endswith("of the package broken-package 1.0 has the name of a built-in one and is never used")


def test_two_packages_of_one_name_are_refused(tmp_path, monkeypatch):
    for package in ("one", "two"):
        install(tmp_path / package, package, [("encoders", "mine", "nowhere:offer")])
        monkeypatch.syspath_prepend(str(tmp_path / package))
    with pytest.raises(PluginError, match=r"'mine' is offered by two packages, one 1\.0 and two 1\.0"):
        open_encoder("mine", tmp_path)


def test_an_unknown_name_is_answered_with_the_known_ones(example, tmp_path):
    with pytest.raises(ArtefactError, match=r"no encoder 'other'; known are 'compact'.*; plugins offer letters"):
        open_encoder("other", tmp_path)
    with pytest.raises(InputError, match=r"no reasoner 'other'.*; plugins offer rules"):
        open_reasoner("other")
    with pytest.raises(InputError, match=r"no corpus 'other'; there are mvsa_single, .*, reviews"):
        load_corpus("other", tmp_path)
