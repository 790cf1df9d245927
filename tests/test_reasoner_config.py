"""A reasoner is opened by what names it; nothing is fetched unasked, and what was pulled is checked file by file."""

import hashlib
import http.server
import json
import os
import threading
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from hybrid_mmsa import ArtefactError, InputError, MissingExtraError, ReasonerConfig, Verdict
from hybrid_mmsa.cli import run
from hybrid_mmsa.reasoning import RecordedReasoner, open_reasoner, presets
from hybrid_mmsa.reasoning.models import opening
from hybrid_mmsa.reasoning.models.store import (
    Pulled,
    check_files,
    file_hashes,
    model_folder,
    read_manifest,
    write_manifest,
)

NAME = "smolvlm-500m"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_MMSA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def opened(monkeypatch):
    """The configurations that reach a backend, instead of its packages."""
    seen = []

    def keep(config):
        seen.append(config)
        return RecordedReasoner({}, config.id)

    monkeypatch.setattr(opening, "_backend", keep)
    return seen


def model(folder):
    """The files of a model, as far as this room looks at them."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def pulled(name=NAME):
    folder = model(model_folder(name))
    preset = presets()[name]
    files = file_hashes(folder)
    write_manifest(folder, Pulled(name=name, repository=preset.repository, revision=preset.revision, files=files))
    return folder


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_reasoner_is_named_after_its_model():
    assert ReasonerConfig(backend="transformers", model="/models/tiny").id == "tiny"
    assert ReasonerConfig(backend="llama_cpp", model="a/tiny-q4.gguf").id == "tiny-q4"
    assert ReasonerConfig(backend="openai_server", model="org/tiny", url="http://127.0.0.1:1/v1").id == "tiny"
    assert ReasonerConfig(backend="transformers", model="x", id="mine").id == "mine"


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"backend": "magic"}, "backend"),
        ({"device_map": "auto"}, "device_map"),
        ({"batch_size": 0}, "batch_size"),
        ({"timeout": 0}, "timeout"),
        ({"model": ""}, "model"),
        ({"backend": "openai_server"}, "needs `url`"),
        ({"backend": "llama_cpp", "quantise": "4bit"}, "is for transformers"),
        ({"backend": "openai_server", "url": "http://a/v1", "lora": "smol"}, "start the server with it"),
    ],
)
def test_a_wrong_setting_is_refused(values, cause):
    with pytest.raises(ValueError, match=cause):
        ReasonerConfig(**{"backend": "transformers", "model": "x", **values})


def test_a_file_configures_a_reasoner_and_its_paths_start_from_it(tmp_path):
    for name in ("tiny.gguf", "mmproj.gguf", "own.toml"):
        (tmp_path / name).touch()
    path = written(
        tmp_path / "reasoner.toml",
        "backend = 'llama_cpp'\nmodel = 'tiny.gguf'\nmmproj = 'mmproj.gguf'\nprompt = 'own.toml'\ncontext = 2048\n",
    )
    config = ReasonerConfig.from_file(path)
    assert (config.model, config.mmproj) == (str(tmp_path / "tiny.gguf"), tmp_path / "mmproj.gguf")
    assert Path(config.prompt) == tmp_path / "own.toml"
    assert (config.id, config.context) == ("tiny", 2048)


def test_a_server_s_model_is_a_name_even_where_a_file_has_it(tmp_path):
    (tmp_path / "tiny").mkdir()
    path = written(tmp_path / "r.toml", "backend = 'openai_server'\nmodel = 'tiny'\nurl = 'http://127.0.0.1:1/v1'\n")
    assert ReasonerConfig.from_file(path).model == "tiny"


@pytest.mark.parametrize("text", ["backend = magic", "backend = 'transformers'", "backend = 'transformers'\nmodel = 3"])
def test_a_wrong_file_is_refused_and_named(tmp_path, text):
    with pytest.raises(InputError, match=r"r\.toml configures no reasoner"):
        open_reasoner(written(tmp_path / "r.toml", text))


def test_a_reasoner_is_opened_as_it_is(tmp_path):
    reasoner = RecordedReasoner({})
    assert open_reasoner(reasoner) is reasoner
    with pytest.raises(InputError, match="a int is not a reasoner"):
        open_reasoner(3)


def test_recorded_verdicts_are_opened_by_their_file(tmp_path):
    sure = Verdict(label="negative", probabilities={"negative": 1, "neutral": 0, "positive": 0}, reasoner="vlm")
    line = json.dumps({"id": "a", **sure.model_dump(mode="json")})
    assert open_reasoner(written(tmp_path / "known.jsonl", line)).verdicts == {"a": sure}


def test_a_folder_is_opened_by_its_path(tmp_path, opened):
    open_reasoner(model(tmp_path / "tiny"))
    assert (opened[0].backend, opened[0].model, opened[0].id) == ("transformers", str(tmp_path / "tiny"), "tiny")


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        ("nobody", "no reasoner 'nobody'; presets are smol, smol-llama, smolvlm-500m, "),
        ("model.gguf", r"does not say which file holds the picture side.*llama_cpp"),
        (".", r"is no model folder \(it has no config.json\)"),
    ],
)
def test_what_is_no_reasoner_is_refused_with_advice(what, cause, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=cause):
        open_reasoner(what)


@pytest.mark.parametrize("name", [*presets()])
def test_nothing_is_fetched_unasked(name, home):
    with pytest.raises(ArtefactError, match=f"is not on this machine.*`hybrid-mmsa models pull {name}`"):
        open_reasoner(name)
    assert not home.exists()


def test_a_pulled_preset_is_checked_and_opened(home, opened):
    folder = pulled("qwen3-vl-4b")
    open_reasoner("qwen3-vl-4b")
    assert (opened[0].model, opened[0].id, opened[0].image_size) == (str(folder), "qwen3-vl-4b", 768)
    assert opened[0].revision == presets()["qwen3-vl-4b"].revision
    open_reasoner(ReasonerConfig(backend="transformers", model="qwen3-vl-4b", quantise="4bit", image_size=400))
    assert (opened[1].model, opened[1].quantise, opened[1].image_size) == (str(folder), "4bit", 400)


def test_a_preset_is_opened_by_its_own_backend(home, opened):
    folder = model(model_folder("smol-llama"))
    preset = presets()["smol-llama"]
    file = folder / Path(preset.package.file).name
    file.write_bytes(b"weights")
    files = file_hashes(folder)
    write_manifest(folder, Pulled(name=preset.name, repository="x", revision=preset.revision, files=files))
    open_reasoner(ReasonerConfig(backend="llama_cpp", model="smol-llama"))
    assert (opened[0].model, opened[0].revision) == (str(file), preset.revision)
    with pytest.raises(InputError, match="smol-llama is for the backend llama_cpp, not for transformers"):
        open_reasoner(ReasonerConfig(backend="transformers", model="smol-llama"))
    file.write_bytes(b"weight5")
    with pytest.raises(ArtefactError, match="is not as it was pulled"):
        open_reasoner(ReasonerConfig(backend="llama_cpp", model=str(file)))


def test_two_presets_of_one_file_answer_by_one_name_and_lora():
    for_torch, for_llama = (presets()[name] for name in ("smol", "smol-llama"))
    assert (for_llama.id, for_llama.package, for_llama.lora) == (for_torch.name, for_torch.package, for_torch.lora)
    assert for_llama.revision == for_torch.revision, "so that LoRA and pooling hold for both"


def change(folder):
    (folder / "model.safetensors").write_bytes(b"weight5")


def remove(folder):
    (folder / "config.json").unlink()


def add(folder):
    (folder / "other.safetensors").touch()


@pytest.mark.parametrize("harm", [change, remove, add])
@pytest.mark.parametrize("by_path", [False, True])
def test_a_pulled_model_that_was_touched_is_refused(home, opened, harm, by_path):
    folder = pulled()
    harm(folder)
    named = ReasonerConfig(backend="transformers", model=str(folder)) if by_path else NAME
    with pytest.raises(ArtefactError, match=r"is not as it was pulled.*models pull smolvlm-500m"):
        open_reasoner(named)
    assert opened == []


def test_hidden_files_of_the_downloader_are_not_the_model_s(home):
    folder = pulled()
    (folder / ".cache").mkdir()
    (folder / ".cache" / "leftover").touch()
    check_files(folder, read_manifest(folder))


def test_a_damaged_manifest_is_no_silence(home):
    (pulled() / "hybrid_mmsa.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtefactError, match="is damaged; pull the model again"):
        open_reasoner(NAME)


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    def gone(name, package):
        raise ModuleNotFoundError(f"No module named {name}", name="torch")

    monkeypatch.setattr(opening, "import_module", gone)
    with pytest.raises(MissingExtraError, match=r"the transformers reasoner needs the extra 'vlm'"):
        open_reasoner(model(tmp_path / "tiny"))


def test_the_page_on_larger_models_has_the_figures_of_the_presets():
    page = (Path(__file__).resolve().parent.parent / "docs" / "larger-models.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")]
    told = {row[0].strip("`"): (*map(float, row[1:4]), row[5]) for row in rows}
    known = {
        p.name: (p.parameters, p.memory, p.memory_4bit, p.licence) for p in presets().values() if p.package is None
    }
    assert told == known


def test_the_sizes_of_presets_agree_with_each_other():
    for preset in presets().values():
        assert preset.memory_4bit < preset.memory
        assert preset.memory == pytest.approx(2 * preset.parameters * 1.2, rel=0.05), "weights in bf16 and a fifth more"


# What follows speaks to a small hub on this machine, in the hub's own words.


class Hub(http.server.BaseHTTPRequestHandler):
    """Lists and serves a repository's files the way the hub does, as far as a pull asks."""

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body):
        hub = self.server
        path, _, revision = self.path.partition("?")[0], None, presets()[NAME].revision
        hub.asked.append((self.command, path))
        if path == f"/api/models/{presets()[NAME].repository}/tree/{revision}":
            self.send(200, json.dumps(listing(hub.files)).encode(), with_body, {"Content-Type": "application/json"})
        elif (
            path.startswith(f"/{presets()[NAME].repository}/resolve/{revision}/")
            and path.split("/")[-1] in set(hub.files) - hub.gone
        ):
            self.send_file(path.split("/")[-1], revision, with_body)
        else:
            self.send(404, b"", with_body, {})

    def send_file(self, name, revision, with_body):
        body = self.server.served.get(name, self.server.files[name])
        headers = {"X-Repo-Commit": revision, "ETag": f'"{blob_id(self.server.files[name])}"'}
        self.send(200, body, with_body, headers)

    def send(self, status, body, with_body, headers):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def blob_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def listing(files):
    entries = [{"type": "file", "path": n, "size": len(c), "oid": blob_id(c)} for n, c in files.items()]
    for entry in entries:
        if entry["path"].endswith((".safetensors", ".bin")):
            sha256 = hashlib.sha256(files[entry["path"]]).hexdigest()
            entry["lfs"] = {"oid": sha256, "size": entry["size"], "pointerSize": 130}
    return entries


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    server.files = {
        "config.json": b'{"model_type": "smolvlm"}',
        "model.safetensors": os.urandom(40_000),
        "pytorch_model.bin": b"a pickle",
        "README.md": b"# A model",
    }
    server.served = {}
    server.gone = set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def online(hub, home, monkeypatch):
    """The hub's client may speak, to this hub alone."""
    address = f"http://127.0.0.1:{hub.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    yield
    close_session()


def pull(name=NAME):
    return run(["models", "pull", name])


def test_pull_fetches_what_is_needed_and_checks_it(hub, online, opened):
    assert pull() == 0
    folder = model_folder(NAME)
    assert sorted(file_hashes(folder)) == ["config.json", "model.safetensors"], "no pickle and no page is fetched"
    manifest = read_manifest(folder)
    assert manifest.revision == presets()[NAME].revision
    assert manifest.files["model.safetensors"] == hashlib.sha256(hub.files["model.safetensors"]).hexdigest()
    open_reasoner(NAME)
    assert opened[0].model == str(folder)

    hub.asked.clear()
    assert pull() == 0
    assert not [path for method, path in hub.asked if method == "GET" and "/resolve/" in path], "what is whole is kept"


def test_a_file_that_is_not_the_listed_one_is_refused_and_fetched_again(hub, online, capsys):
    true = hub.files["model.safetensors"]
    hub.served["model.safetensors"] = bytes(len(true))
    assert pull() == 2
    assert "is not the file that the hub lists; it was removed: pull again" in capsys.readouterr().err
    assert read_manifest(model_folder(NAME)) is None
    hub.served.clear()
    assert pull() == 0
    assert (model_folder(NAME) / "model.safetensors").read_bytes() == true


def test_a_pull_that_broke_off_goes_on(hub, online, capsys):
    """The server fails at one file; the next pull fetches that one and leaves the others as they are."""
    hub.files["model-2.safetensors"] = b"more weights"
    hub.gone.add("model-2.safetensors")
    assert pull() == 2
    assert "run the command again to go on" in capsys.readouterr().err
    assert read_manifest(model_folder(NAME)) is None
    hub.gone.clear()
    hub.asked.clear()
    assert pull() == 0
    fetched = [path.split("/")[-1] for method, path in hub.asked if method == "GET" and "/resolve/" in path]
    assert fetched == ["model-2.safetensors"]
    assert set(read_manifest(model_folder(NAME)).files) == {"config.json", "model.safetensors", "model-2.safetensors"}


def test_a_file_of_an_older_revision_does_not_stay(hub, online, opened):
    hub.files["model-2.safetensors"] = b"more weights"
    assert pull() == 0
    del hub.files["model-2.safetensors"]
    assert pull() == 0
    assert "model-2.safetensors" not in file_hashes(model_folder(NAME))
    open_reasoner(NAME)


def test_a_damaged_manifest_does_not_keep_others_from_being_listed(home, capsys):
    (folder := model_folder(NAME)).mkdir(parents=True)
    (folder / "hybrid_mmsa.json").write_text("{")
    assert run(["models", "list"]) == 0
    assert NAME in capsys.readouterr().out


def test_a_repository_without_weights_is_no_model(hub, online, capsys):
    del hub.files["model.safetensors"]
    assert pull() == 2
    assert "lists no weights (.safetensors)" in capsys.readouterr().err
    assert read_manifest(model_folder(NAME)) is None


def test_pull_respects_the_offline_switch(hub, online, home, capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    assert (pull(), hub.asked) == (2, [])
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
    assert not home.exists()


def test_pull_of_an_unknown_name_lists_the_known(hub, online, capsys):
    assert (pull("nobody"), hub.asked) == (2, [])
    assert "no preset 'nobody'; known are smol, smol-llama, smolvlm-500m, " in capsys.readouterr().err


def test_models_are_listed_with_what_is_pulled(home, capsys):
    pulled()
    assert run(["models", "list", "--json"]) == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {fact["name"]: fact["pulled"] for fact in facts if fact["kind"] == "preset"} == {
        name: name == NAME for name in presets()
    }
