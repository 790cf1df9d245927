"""The files of `docs/deploy` fit the program: the dashboard's metrics exist, the container's steps can be done."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from tiny_server import GOOD, client_of, tiny_analyzer

from hybrid_mmsa import ReasonerConfig
from hybrid_mmsa.cli import run

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "docs" / "deploy"


def instructions():
    """The steps of the container file: their names and what follows."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_dashboard_asks_for_metrics_and_labels_that_exist():
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) > 8
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    with client_of(tiny_analyzer(lambda _: "neutral", policy="always")) as client:
        client.post("/v1/analyze/batch", json={"posts": [{"text": GOOD}] * 60})
        client.post("/v1/analyze/batch", json={"posts": [{"text": GOOD}] * 60})
        client.post("/v1/analyze", json={})
        text = client.get("/metrics").text
    exposed = {re.match(r"\w+", line)[0] for line in text.splitlines() if line.startswith("hybrid_mmsa_")}
    named = {name for expression in asked for name in re.findall(r"hybrid_mmsa_\w+", expression)}
    assert named <= exposed
    labels = set(re.findall(r'[{,](\w+)="', text))
    grouped = {
        name.strip() for each in asked for names in re.findall(r"by \(([^)]*)\)", each) for name in names.split(",")
    }
    assert grouped <= labels
    families = {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in exposed}
    shown = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in named}
    assert families - shown <= {f"hybrid_mmsa_batch_{part}" for part in ("tokens", "pixels", "seconds")}


def test_the_container_runs_as_nobody_and_copies_what_there_is():
    steps = instructions()
    last = steps[max(place for place, (name, _) in enumerate(steps) if name == "FROM") :]
    assert {"USER", "HEALTHCHECK", "ENTRYPOINT"} <= {name for name, _ in last}
    assert int(dict(last)["USER"]) > 0
    for name, words in steps:
        if name == "COPY" and "--from" not in words:
            assert all((ROOT / source).exists() for source in words.split()[:-1]), words
    sources = set(
        re.findall(r'"([\w/]+)"', re.search(r"only-include = \[(.*)\]", (ROOT / "pyproject.toml").read_text())[1])
    )
    assert sources <= {words.split()[0] for name, words in steps if name == "COPY"}, "all that the wheel is made from"
    entry = json.loads(dict(last)["ENTRYPOINT"])
    assert entry[:2] == ["hybrid-mmsa", "serve"]


def test_what_the_container_starts_refuses_to_listen_without_keys(capfd, monkeypatch):
    monkeypatch.delenv("HYBRID_MMSA_KEYS", raising=False)
    assert run(json.loads(dict(instructions())["ENTRYPOINT"])[1:]) == 2
    assert "needs --keys" in capfd.readouterr().err


def test_compose_and_prometheus_name_files_and_services_that_exist():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    server, prometheus = compose["services"]["server"], compose["services"]["prometheus"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert (DEPLOY / server["build"]["context"] / server["build"]["dockerfile"]).is_file()
    for service in (server, prometheus):
        for volume in service["volumes"]:
            assert (DEPLOY / volume.split(":")[0]).is_file()
        assert set(service["secrets"]) <= set(compose["secrets"])
    scrape = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"][0]
    host, port = scrape["static_configs"][0]["targets"][0].split(":")
    assert host in compose["services"]
    assert port == dict(instructions())["EXPOSE"]
    assert all(each["ports"][0].startswith("127.0.0.1:") for each in (server, prometheus))
    assert shlex.join(server["command"]) == "--keys /run/secrets/keys --reasoner /etc/hybrid-mmsa/reasoner.toml"


def test_the_reasoner_is_configured_as_the_program_reads_it():
    config = ReasonerConfig.from_file(DEPLOY / "reasoner.toml")
    assert (config.backend, config.url) == ("openai_server", "http://reasoner:8000/v1")
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    assert config.model in compose["services"]["reasoner"]["command"]


@pytest.mark.parametrize("name", ["full", "serve"])
def test_no_lock_of_the_container_names_torch_unless_it_is_asked_for(name):
    pinned = re.findall(r"^torch==", (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert bool(pinned) == (name == "full")
